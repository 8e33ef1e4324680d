"""Ids that look like those of product systems, made column by column from numbers.

Everything is a function of a number and a salt, so that a sign-up can name a visitor that clicked many events ago
without anything being remembered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

U64 = npt.NDArray[np.uint64]
Text = np.ndarray[Any, np.dtype[np.uint8]]
"""A column of texts of one width: a row of ASCII codes each."""

_CROCKFORD = np.frombuffer(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", dtype=np.uint8)
_LOWER = np.frombuffer(b"0123456789abcdefghjkmnpqrstvwxyz", dtype=np.uint8)
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def mixed(numbers: npt.NDArray[Any], salt: int) -> U64:
    """64 well-mixed bits for each number (splitmix64's finalizer)."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt * 0xD1342543DE82EF95 % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(numbers: npt.NDArray[Any], salt: int) -> npt.NDArray[np.float64]:
    """A number in (0, 1) for each number."""
    return ((mixed(numbers, salt) >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53


def digits(numbers: U64, count: int, bits: int, alphabet: Text) -> Text:
    """The lowest ``count`` digits of ``bits`` bits each, most significant first."""
    shifts = np.arange(count - 1, -1, -1, dtype=np.uint64) * np.uint64(bits)
    return alphabet[((numbers[:, None] >> shifts) & np.uint64(2**bits - 1)).astype(np.intp)]


def texts(columns: Text, prefix: bytes = b"") -> pa.StringArray:
    """The rows of codes as Arrow texts, each after the prefix."""
    if prefix:
        head = np.broadcast_to(np.frombuffer(prefix, dtype=np.uint8), (len(columns), len(prefix)))
        columns = np.hstack([head, columns])
    count, width = columns.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(columns)))


def ulids(at_ms: npt.NDArray[np.int64], numbers: npt.NDArray[Any], salt: int) -> pa.StringArray:
    """ULIDs: ten digits of time, sixteen of chance. Event ids, such as ``01K9A3V0G8Q2N7ZC4E5T6W8XYB``."""
    high, low = mixed(numbers, 2 * salt), mixed(numbers, 2 * salt + 1)
    time = digits(at_ms.astype(np.uint64), 10, 5, _CROCKFORD)
    return texts(np.hstack([time, digits(high, 8, 5, _CROCKFORD), digits(low, 8, 5, _CROCKFORD)]))


def visitor_ids(numbers: npt.NDArray[Any]) -> pa.StringArray:
    """Sixteen base32 digits of chance, as a first-party cookie has them."""
    high, low = mixed(numbers, 101), mixed(numbers, 102)
    return texts(np.hstack([digits(high, 8, 5, _LOWER), digits(low, 8, 5, _LOWER)]))


def customer_ids(numbers: npt.NDArray[Any]) -> pa.StringArray:
    """``cus_`` and twelve base32 digits."""
    return texts(digits(mixed(numbers, 103), 12, 5, _LOWER), b"cus_")


def order_ids(numbers: npt.NDArray[Any]) -> pa.StringArray:
    """``ord_`` and ten base32 digits."""
    return texts(digits(mixed(numbers, 104), 10, 5, _LOWER), b"ord_")


def hashes(numbers: npt.NDArray[Any]) -> pa.StringArray:
    """64 hex digits, as of a SHA-256."""
    return texts(np.hstack([digits(mixed(numbers, 105 + part), 16, 4, _HEX) for part in range(4)]))
