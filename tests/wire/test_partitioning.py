"""Partitions as Kafka's Java clients choose them, one by one and in columns."""

from __future__ import annotations

import pyarrow as pa
import pytest
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from pipeline.wire.partitioning import partition_of, partitions_of
from tests.drawn import DRAWN

KEYS = st.lists(st.binary(max_size=40), max_size=30)


def expected(keys: list[bytes], partitions: int) -> list[int]:
    return [(murmur2(key) & 0x7FFFFFFF) % partitions for key in keys]


@given(KEYS, st.integers(1, 1000))
@DRAWN
def test_partitions_are_those_of_another_implementation(keys: list[bytes], partitions: int) -> None:
    assert [partition_of(key, partitions) for key in keys] == expected(keys, partitions)
    assert partitions_of(pa.array(keys, pa.binary()), partitions).tolist() == expected(keys, partitions)


@given(st.lists(st.text(max_size=12), min_size=3, max_size=20))
@DRAWN
def test_any_array_of_texts_will_do(texts: list[str]) -> None:
    keys = [text.encode() for text in texts]
    for kind in (pa.string(), pa.large_string()):
        array = pa.array(texts, kind)
        assert partitions_of(array, 16).tolist() == expected(keys, 16)
        assert partitions_of(array[1:], 16).tolist() == expected(keys[1:], 16)
        assert partitions_of(pa.chunked_array([array[:2], array[2:]]), 16).tolist() == expected(keys, 16)


def test_keys_of_the_documentation_of_kafka() -> None:
    # org.apache.kafka.common.utils.UtilsTest
    cases = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, b"abc": 479470107}  # fmt: skip  # noqa: E501  as its source has it
    for key, hashed in cases.items():
        assert partition_of(key, 1 << 31) == hashed & 0x7FFFFFFF


def test_a_record_without_a_key_belongs_nowhere() -> None:
    with pytest.raises(ValueError, match="leave nulls out"):
        partitions_of(pa.array(["a", None]), 16)
