"""Which partition a key belongs to: Kafka's default for keyed records, as the Java clients have it.

``toPositive(murmur2(key)) % partitions``. All inputs of a step are partitioned so, so that what belongs together meets;
a producer with another partitioner is noticed by comparing. A test holds this against aiokafka's.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_M: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
_MASK: Final = 0xFFFFFFFF
_POSITIVE: Final = 0x7FFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of one key."""
    return (_murmur2(key) & _POSITIVE) % partitions


def _murmur2(key: bytes) -> int:
    length = len(key)
    value = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * _M & _MASK
        word = (word ^ word >> 24) * _M & _MASK
        value = value * _M & _MASK ^ word
    if length > whole:
        value = (value ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    value = (value ^ value >> 13) * _M & _MASK
    return value ^ value >> 15


def partitions_of(keys: Any, partitions: int) -> npt.NDArray[np.int64]:
    """The partition of each key of a pyarrow string or binary array (or chunked array) without nulls.

    Keys of one length are hashed together.
    """
    if isinstance(keys, pa.ChunkedArray):
        keys = keys.combine_chunks()
    if keys.null_count:
        raise ValueError("a record without a key has no partition of its own; leave nulls out")
    offsets, data = _bytes_of(keys)
    starts, lengths = offsets[:-1], np.diff(offsets)
    hashes = np.empty(len(lengths), dtype=np.uint32)
    for length in np.flatnonzero(np.bincount(lengths)).tolist() if len(lengths) else ():
        rows = np.flatnonzero(lengths == length) if lengths.min() != lengths.max() else slice(None)
        hashes[rows] = _murmur2_of(data, starts[rows], length)
    return (hashes & np.uint32(_POSITIVE)).astype(np.int64) % partitions


def _bytes_of(keys: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Where each key begins and ends (one more than keys) in the bytes of all."""
    is_large = pa.types.is_large_string(keys.type) or pa.types.is_large_binary(keys.type)
    _, offsets, data = keys.buffers()
    width = np.dtype(np.int64 if is_large else np.int32)
    if not len(keys):
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    ends = np.frombuffer(offsets, dtype=width, count=len(keys) + 1, offset=keys.offset * width.itemsize)
    return ends.astype(np.int64), np.frombuffer(data if data is not None else b"", dtype=np.uint8)


def _murmur2_of(
    data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], length: int
) -> npt.NDArray[np.uint32]:  # fmt: skip
    """The hash of each key of ``length`` bytes that begins in ``data`` at ``starts``."""
    multiplier = np.uint32(_M)  # arrays of uint32 wrap, as Java's int does
    value = np.full(len(starts), (_SEED ^ length) & _MASK, dtype=np.uint32)
    words, rest = divmod(length, 4)
    if length:
        whole = np.zeros((len(starts), 4 * (words + 1)), dtype=np.uint8)  # the last word: what is left over, and zeros
        whole[:, :length] = np.lib.stride_tricks.sliding_window_view(data, length)[starts]
        columns = np.ascontiguousarray(whole.view("<u4").T)
        for column in columns[:words]:
            word = column * multiplier
            word ^= word >> np.uint32(24)
            word *= multiplier
            value *= multiplier
            value ^= word
        if rest:
            value ^= columns[words]
            value *= multiplier
    value ^= value >> np.uint32(13)
    value *= multiplier
    return value ^ (value >> np.uint32(15))
