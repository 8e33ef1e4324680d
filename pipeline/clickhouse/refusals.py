"""Turns what the engine, the network and the disk say into our two errors, each with its remedy.

The question that decides: may the same call succeed later? Repeating is always safe, because rows are upserts.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError, SSLError, TimeoutError

from pipeline.clickhouse.errors import WarehouseError, WarehouseUnavailableError

_DISK_FULL: Final = 243

_BUSY_CODES: Final[Mapping[int, str]] = {
    159: "it took too long",
    201: "the user's quota is used up",
    202: "too many queries at once",
    209: "it waited too long for another server",
    210: "it has trouble with its network",
    225: "it has lost its Keeper",
    236: "it is shutting down",
    241: "it ran out of memory",
    242: "the table is read-only for now",
    _DISK_FULL: "the disk is full",
    252: "too many unmerged parts",
    285: "too few replicas are up",
    319: "it does not know whether the rows were stored",
    394: "the query was cancelled",
    439: "it has no thread free",
    999: "it has trouble with its Keeper",
}
"""ClickHouse's error codes after which the same call may succeed."""

_REMEDIES: Final[Mapping[int, str]] = {
    60: "Does the database have the tables of this version? Migrate it.",
    81: "Does the database exist? Migrate it.",
    **dict.fromkeys((192, 193, 194, 516), "Check the user and the password."),
    497: "Grant the user what is missing.",
}

_STATUS: Final = re.compile(r"HTTP status (\d{3})")
_BUSY_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})  # of a proxy; ClickHouse adds a code of its own


@contextmanager
def refused(what: str, who: str = "ClickHouse") -> Iterator[None]:
    """Translate errors within the block; ``what`` was asked of ``who``.

    :raises WarehouseError: a repeat will not help.
    :raises WarehouseUnavailableError: a repeat may help.
    """
    try:
        yield
    except OperationalError as error:
        if error.code is not None:
            raise _of_engine(what, who, error) from error
        raise _of_network(what, who, error) from error
    except ClickHouseError as error:
        raise _of_engine(what, who, error) from error
    except HTTPError as error:  # while an answer is streamed
        raise _of_network(what, who, error) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise WarehouseUnavailableError(
            f"{who} could not {what}: the disk is full. Free some space and try again."
        ) from error


def first_line(error: BaseException) -> str:
    """An engine's message without its stack trace and its envelope."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line[max(line.find("Code: "), 0) :][:500]


def _of_engine(what: str, who: str, error: ClickHouseError) -> WarehouseError:
    text = first_line(error)
    code: int | None = _DISK_FULL if "No space left on device" in str(error) else getattr(error, "code", None)
    if code is not None and code in _BUSY_CODES:
        remedy = "Free some space and try again." if code == _DISK_FULL else "Try again."
        return WarehouseUnavailableError(f"{who} could not {what}: {_BUSY_CODES[code]}. {remedy} It says: {text}")
    status = _STATUS.search(text)
    if code is None and status and int(status[1]) in _BUSY_STATUSES:
        return WarehouseUnavailableError(f"{who} could not {what}: it answered HTTP {status[1]}. Is it up? Try again.")
    remedy = f" {_REMEDIES[code]}" if code is not None and code in _REMEDIES else ""
    return WarehouseError(f"{who} refused to {what}: {text}{remedy}")


def _of_network(what: str, who: str, error: BaseException) -> WarehouseError:
    """The transport's own text names the request with its parameters, which may be personal: our words instead."""
    reason: BaseException | None = error
    while isinstance(reason, OperationalError | MaxRetryError):
        reason = reason.reason if isinstance(reason, MaxRetryError) else reason.__cause__
    if isinstance(reason, SSLError):
        return WarehouseError(f"{who} could not {what}: its certificate is not trusted ({reason}). Name its CA file.")
    if isinstance(reason, NewConnectionError):
        said = "nobody answers there"
    elif isinstance(reason, ConnectTimeoutError):
        said = "no connection within the time allowed"
    elif isinstance(reason, TimeoutError):
        said = "no answer within the time allowed"
    elif isinstance(reason, HTTPError):
        said = "the connection was cut"
    else:
        said = first_line(error)
    return WarehouseUnavailableError(f"{who} could not {what}: {said}. Is it up? Try again.")
