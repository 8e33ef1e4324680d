"""RFC 3339 times by the thousand: what nearly all writers produce is read by columns of characters.

:func:`pipeline.domain.events.rfc3339_ms` says what a time is; here is only speed. Texts of one length in the usual
layout are checked and converted together. Whatever is unusual in any way (a leap second, a lower-case ``z``, a wrong
day) is left to that function, one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.domain.events import END_TIME_MS, FIRST_TIME_MS, rfc3339_ms

Ints = npt.NDArray[np.int64]

_DATE_AND_TIME: Final = len("2026-01-01T00:00:00")
_SEPARATORS: Final = ((4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"))
_FEWEST: Final = 16


def text_times(texts: Sequence[str]) -> list[int | None]:
    """Milliseconds of each text; None where it is no time in range."""
    if len(texts) < _FEWEST:
        return [rfc3339_ms(text) for text in texts]
    times = np.full(len(texts), -1, dtype=np.int64)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    for length in set(lengths.tolist()):
        rows = np.flatnonzero(lengths == length)
        alike = texts if len(rows) == len(texts) else [texts[row] for row in rows.tolist()]
        times[rows] = _of_one_length(alike, length)
    found: list[int | None] = list(times.tolist())
    for row in np.flatnonzero(times < 0).tolist():
        found[row] = rfc3339_ms(texts[row])
    return found


def _of_one_length(texts: Sequence[str], length: int) -> Ints:
    """Milliseconds; -1 where there is anything unusual."""
    unusual = np.full(len(texts), -1, dtype=np.int64)
    joined = "".join(texts)
    if length <= _DATE_AND_TIME or not joined.isascii():
        return unusual
    characters = np.frombuffer(joined.encode(), np.uint8).reshape(len(texts), length).T.copy()  # by place
    ok = np.ones(len(texts), dtype=np.bool_)
    for at, separator in _SEPARATORS:
        ok &= characters[at] == ord(separator)

    def number(start: int, stop: int) -> Ints:
        nonlocal ok
        value = np.zeros(len(texts), dtype=np.int64)
        for at in range(start, stop):
            digit = characters[at] - np.uint8(ord("0"))  # below "0" it wraps round, beyond 9
            ok &= digit <= 9
            value = value * 10 + digit
        return value

    zone_at = length - 1 if (characters[-1] == ord("Z")).all() else length - len("+00:00")
    if zone_at < _DATE_AND_TIME or zone_at == _DATE_AND_TIME + 1:
        return unusual
    year, month, day = number(0, 4), number(5, 7), number(8, 10)
    hour, minute, second = number(11, 13), number(14, 16), number(17, 19)
    ok &= (month >= 1) & (month <= 12) & (hour < 24) & (minute < 60) & (second < 60)
    months = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    ok &= days.astype("datetime64[M]") == months
    times: Ints = days.astype(np.int64) * 86_400_000 + hour * 3_600_000 + minute * 60_000 + second * 1000
    if zone_at > _DATE_AND_TIME:
        ok &= characters[_DATE_AND_TIME] == ord(".")
        number(_DATE_AND_TIME + 1, zone_at)
        digits = min(3, zone_at - _DATE_AND_TIME - 1)
        times += number(_DATE_AND_TIME + 1, _DATE_AND_TIME + 1 + digits) * 10 ** (3 - digits)
    if zone_at < length - 1:
        sign = np.where(characters[zone_at] == ord("-"), 1, -1)
        ok &= (characters[zone_at] == ord("-")) | (characters[zone_at] == ord("+"))
        ok &= characters[zone_at + 3] == ord(":")
        hours, minutes = number(zone_at + 1, zone_at + 3), number(zone_at + 4, zone_at + 6)
        ok &= (hours < 24) & (minutes < 60)
        times += sign * (hours * 3_600_000 + minutes * 60_000)
    ok &= (times >= FIRST_TIME_MS) & (times < END_TIME_MS)
    return np.where(ok, times, unusual)
