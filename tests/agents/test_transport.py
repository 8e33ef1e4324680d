"""The batch transport on a real broker, in one process: what is delivered, when, and what is committed."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import pytest
from aiokafka.consumer.fetcher import PartitionRecords  # type: ignore[import-untyped]  # it has no types
from confluent_kafka import Producer
from faust.types import TP

from pipeline.agents.faust_app import StepApp, TopicsError, make_app
from pipeline.agents.transport import BatchLimits
from tests.agents.live import build, committed, create, produce, producer, running, until
from tests.kafka.shared_broker import unique


def numbers(count: int, first: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


def test_records_come_as_columns_in_order_and_are_committed(broker: str) -> None:
    topic, group = unique("columns"), unique("group")
    create(broker, topic)
    sending = producer(broker)
    sending.produce(topic, b"one", key=b"k", timestamp=1_000, headers=[("trace", b"\x01"), ("empty", None)])
    sending.produce(topic, None, key=b"gone", timestamp=2_000)
    sending.produce(topic, b"keyless", timestamp=3_000)
    sending.flush(10)

    async def scenario() -> None:
        app, noted = build(broker, group, topic)
        async with running(app):
            await until(lambda: len(noted) == 3)
        columns = [
            [item for batch in noted.batches for item in getattr(batch, name)]
            for name in ("offsets", "keys", "values", "timestamps_ms", "headers")
        ]
        assert columns == [
            [0, 1, 2], [b"k", b"gone", None], [b"one", None, b"keyless"], [1_000, 2_000, 3_000],
            [(("trace", b"\x01"), ("empty", b"")), (), ()],
        ]  # fmt: skip

    asyncio.run(scenario())
    assert committed(broker, group, topic) == {0: 3}


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_compression_is_read(broker: str, codec: str) -> None:
    topic = unique(codec)
    create(broker, topic)
    produce(broker, topic, 3_000, partition=0, compression_type=codec)

    async def scenario() -> None:
        app, noted = build(broker, unique("group"), topic, limits=BatchLimits(batch_records=700))
        async with running(app):
            await until(lambda: len(noted) >= 3_000)
        assert noted.values() == numbers(3_000)
        assert max(map(len, noted.batches)) <= 700

    asyncio.run(scenario())


def test_batches_are_bounded_in_bytes(broker: str) -> None:
    topic = unique("bytes")
    create(broker, topic)
    sending = producer(broker)
    for number in range(400):
        sending.produce(topic, b"x" * 1_000, key=b"%d" % number)
    sending.flush(10)

    async def scenario() -> None:
        app, noted = build(broker, unique("group"), topic, limits=BatchLimits(batch_bytes=100_000))
        async with running(app):
            await until(lambda: len(noted) >= 400)
        assert len(noted) == 400
        assert max(sum(len(value or b"") for value in batch.values) for batch in noted.batches) <= 102_000

    asyncio.run(scenario())


def test_aborted_transactions_are_invisible_and_their_gaps_are_passed(broker: str) -> None:
    topic, group = unique("transactions"), unique("group")
    create(broker, topic)
    sending = Producer({"bootstrap.servers": broker, "transactional.id": unique("t")})
    sending.init_transactions(20)
    for turn in range(6):
        sending.begin_transaction()
        for number in range(50):
            sending.produce(topic, b"%d %d" % (turn, number), partition=0)
        sending.flush(10)  # else an abort drops what was never sent
        if turn % 2:
            sending.abort_transaction(20)
        else:
            sending.commit_transaction(20)
    produce(broker, topic, 1, partition=0)

    async def scenario() -> None:
        app, noted = build(broker, group, topic, limits=BatchLimits(batch_records=30))
        async with running(app):
            await until(lambda: b"0" in noted.values())
        assert noted.values() == [b"%d %d" % (t, n) for t in (0, 2, 4) for n in range(50)] + [b"0"]
        assert noted.offsets()[-1] == 6 * 51  # each transaction ends with a record of the broker's

    asyncio.run(scenario())
    assert committed(broker, group, topic) == {0: 6 * 51 + 1}


def test_a_transactions_end_at_the_end_of_the_log_does_not_seem_to_lag(broker: str) -> None:
    topic, group = unique("transaction-ends"), unique("group")
    create(broker, topic)
    sending = Producer({"bootstrap.servers": broker, "transactional.id": unique("t")})
    sending.init_transactions(20)
    sending.begin_transaction()
    for number in range(50):
        sending.produce(topic, b"%d" % number, partition=0)
    sending.commit_transaction(20)

    async def scenario() -> None:
        app, noted = build(broker, group, topic)
        async with running(app):
            await until(lambda: len(noted.values()) == 50)
            await asyncio.sleep(0.5)  # the end comes with a fetch of its own

    asyncio.run(scenario())
    assert committed(broker, group, topic) == {0: 51}


def test_gaps_of_compaction_are_passed(broker: str) -> None:
    topic = unique("compacted")
    create(
        broker, topic, cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.001",
        min_compaction_lag_ms="0", max_compaction_lag_ms="100",
    )  # fmt: skip
    sending = producer(broker)
    for turn in range(30):
        for key in range(20):
            sending.produce(topic, b"%d" % turn, key=b"%d" % key, partition=0)
        sending.flush(10)
        time.sleep(0.02)

    async def scenario(expected_below: int) -> bool:
        app, noted = build(broker, unique("group"), topic)
        async with running(app):
            await until(lambda: bool(noted.offsets()) and noted.offsets()[-1] == 599)
        offsets = noted.offsets()
        assert offsets == sorted(set(offsets))
        newest = {key: value for batch in noted.batches for key, value in zip(batch.keys, batch.values, strict=True)}
        assert newest == {b"%d" % key: b"29" for key in range(20)}
        return len(offsets) < expected_below

    for _ in range(6):  # the broker's cleaner comes round every few seconds; until then the topic has no gaps
        if asyncio.run(scenario(600)):
            return
        time.sleep(2.5)
    pytest.skip("the broker has not compacted the topic in time")


def test_nothing_is_committed_beyond_the_safe_offset(broker: str) -> None:
    """Faust believes every batch to be acknowledged here, with the one at the head still under way: it would commit."""
    topic, group = unique("safe"), unique("group")
    create(broker, topic)
    produce(broker, topic, 2_000, partition=0)

    async def scenario() -> None:
        async def never_safe(app: StepApp, event: Any) -> None:
            if event.message.value.offsets[0] == 0:
                app.batches.set_safe_offset(event.message.tp, 7)

        app, noted = build(broker, group, topic, handle=never_safe, limits=BatchLimits(batch_records=100))
        async with running(app):
            await until(lambda: len(noted) == 2_000)
            await until(lambda: committed(broker, group, topic) == {0: 7})
            tp = TP(topic, 0)
            assert app.batches.set_safe_offset(tp, 3)  # never backwards
            assert app.batches.safe_offset(tp) == 7
            assert not app.batches.set_safe_offset(tp, 1_000, generation=-5)
            assert not app.batches.set_safe_offset(TP("another", 0), 1_000)
            await app.batches.commit()
        assert committed(broker, group, topic) == {0: 7}
        again, repeated = build(broker, group, topic)
        async with running(again):
            await until(lambda: len(repeated) == 1_993)
        assert repeated.offsets()[0] == 7
        assert committed(broker, group, topic) == {0: 2_000}

    asyncio.run(scenario())


def test_a_gap_of_offsets_before_a_batch_under_way_is_not_committed_over(broker: str) -> None:
    """Faust's ``_add_gap`` counts the delivered offset to the gap before it, and commits past it."""
    topic, group = unique("gap"), unique("group")
    create(broker, topic)
    produce(broker, topic, 20, partition=0)

    async def scenario() -> None:
        async def handle(app: StepApp, event: Any) -> None:
            first = event.message.value.offsets[0]
            if first < 10:
                app.batches.set_safe_offset(event.message.tp, event.message.value.next_offset)
            if first == 5:
                await app.batches.seek(event.message.tp, 15)  # 10 to 14 are the gap; 15 stays under way

        app, noted = build(broker, group, topic, handle=handle, limits=BatchLimits(batch_records=5))
        async with running(app):
            await until(lambda: noted.offsets()[-1:] == [19])
            await app.batches.commit()
        assert noted.offsets() == [*range(10), *range(15, 20)]

    asyncio.run(scenario())
    assert committed(broker, group, topic) == {0: 10}


def test_paused_partitions_wait_and_the_others_go_on(broker: str) -> None:
    topic = unique("pause")
    create(broker, topic, partitions=2)
    for partition in (0, 1):
        produce(broker, topic, 1_000, partition=partition)

    async def scenario() -> None:
        app, noted = build(broker, unique("group"), topic, limits=BatchLimits(batch_records=100))
        first, second = TP(topic, 0), TP(topic, 1)

        async def assigned(_: Any, tps: set[TP], **__: Any) -> None:
            await asyncio.sleep(0.3)  # time in which stock Faust delivers already
            app.batches.pause([first])
            await app.batches.seek(second, 400)

        app.on_partitions_assigned.connect(assigned)
        async with running(app):
            await until(lambda: noted.offsets(1)[-1:] == [999])
            assert noted.offsets(1) == list(range(400, 1_000))
            await asyncio.sleep(0.3)
            assert noted.offsets(0) == []
            assert app.batches.held == {first}
            await app.batches.seek(first, 250)
            app.batches.resume([first])
            await until(lambda: noted.offsets(0)[-1:] == [999])
            assert noted.offsets(0) == list(range(250, 1_000))
            app.batches.pause([first, second])
            produce(broker, topic, 10, partition=0)
            await asyncio.sleep(0.3)
            assert len(noted.offsets(0)) == 750
            app.batches.resume([first, second])
            await until(lambda: len(noted.offsets(0)) == 760)

    asyncio.run(scenario())


def test_a_revoked_batch_may_be_finished(broker: str) -> None:
    topic, group = unique("revoked"), unique("group")
    create(broker, topic, partitions=2)
    for partition in (0, 1):
        produce(broker, topic, 300, partition=partition)

    async def scenario() -> None:
        begun = asyncio.Event()

        async def slowly(app: StepApp, event: Any) -> None:
            begun.set()
            await asyncio.sleep(0.8)
            app.batches.set_safe_offset(event.message.tp, event.message.value.next_offset, event.message.generation_id)

        limits = BatchLimits(batch_records=100)
        app, noted = build(broker, group, topic, handle=slowly, limits=limits)
        async with running(app):
            await begun.wait()
            in_hand = noted.batches[0]
            other, others = build(broker, group, topic)
            async with running(other):
                await until(lambda: bool(len(others)))
                assert committed(broker, group, topic, 2)[in_hand.partition] >= 100
                await until(lambda: sum(committed(broker, group, topic, 2).values()) == 600)
            assert app.failure is None
            for partition in (0, 1):
                assert set(noted.offsets(partition)) | set(others.offsets(partition)) == set(range(300))

    asyncio.run(scenario())


def test_a_batch_that_takes_too_long_is_given_up_and_comes_again(broker: str) -> None:
    topic, group = unique("too-long"), unique("group")
    create(broker, topic)
    produce(broker, topic, 100, partition=0)

    async def scenario() -> None:
        release = asyncio.Event()
        reported: list[bool] = []

        async def stuck(app: StepApp, event: Any) -> None:
            await release.wait()
            message = event.message
            reported.append(app.batches.set_safe_offset(message.tp, message.value.next_offset, message.generation_id))

        limits = BatchLimits(finish_s=0.5, commit_s=2.0)
        app, noted = build(broker, group, topic, handle=stuck, limits=limits)
        async with running(app):
            await until(lambda: len(noted) == 100)
            other, others = build(broker, group, topic)
            async with running(other):
                await asyncio.sleep(1.5)
                assert committed(broker, group, topic) == {} or others.offsets() == list(range(100))
                release.set()
                await until(lambda: bool(reported))
            await until(lambda: committed(broker, group, topic) == {0: 100})
        assert reported[0] is False  # of an assignment that is over
        assert noted.offsets().count(0) + others.offsets().count(0) == 2

    asyncio.run(scenario())


def test_a_slow_agent_does_not_fill_the_memory(broker: str) -> None:
    topic = unique("slow")
    create(broker, topic, partitions=4)
    for partition in range(4):
        sending = producer(broker, compression_type="lz4")
        for _ in range(30_000):
            sending.produce(topic, b"x" * 200, partition=partition)
        sending.flush(20)

    async def scenario() -> None:
        async def slowly(app: StepApp, event: Any) -> None:
            await asyncio.sleep(0.05)

        limits = BatchLimits(batch_records=1_000, waiting_bytes=700_000)
        app, noted = build(broker, unique("group"), topic, handle=slowly, limits=limits)
        most = 0
        async with running(app):
            for _ in range(60):
                await asyncio.sleep(0.02)
                most = max(most, app.batches.waiting_bytes)
            assert 5 < len(noted.batches) < 40
            assert 0 < most <= 700_000 + 4 * 360_000

    asyncio.run(scenario())


def test_what_was_fetched_and_used_up_leaves_memory_at_once(broker: str) -> None:
    """A worker collects cycles rarely, so nothing that holds a response's bytes may be part of one."""
    topic = unique("used-up")
    create(broker, topic)

    async def scenario() -> None:
        app, noted = build(broker, unique("group"), topic, limits=BatchLimits(batch_records=30))
        async with running(app):
            for turn in range(20):  # each a fetch of its own, at least
                produce(broker, topic, 100, partition=0, first=100 * turn)
                await until(lambda turn=turn: len(noted) >= 100 * (turn + 1))
            kept = sum(isinstance(each, PartitionRecords) for each in gc.get_objects())
        assert noted.values() == numbers(2_000)
        assert kept <= 2

    gc.collect()
    gc.disable()
    try:
        asyncio.run(scenario())
    finally:
        gc.enable()


def test_an_agent_that_raises_stops_its_app_and_skips_nothing(broker: str) -> None:
    topic, group = unique("raises"), unique("group")
    create(broker, topic)
    produce(broker, topic, 500, partition=0)

    async def scenario() -> None:
        async def fail(app: StepApp, event: Any) -> None:
            if event.message.value.offsets[0] >= 200:
                raise RuntimeError("a bug")
            app.batches.set_safe_offset(event.message.tp, event.message.value.next_offset)

        app, noted = build(broker, group, topic, handle=fail, limits=BatchLimits(batch_records=100))
        await app.start()
        await until(lambda: app.failure is not None)
        await asyncio.sleep(0.3)
        assert noted.offsets()[-1] == 299
        assert "a bug" in str(app.failure)
        await app.stop()

    asyncio.run(scenario())
    assert committed(broker, group, topic) == {0: 200}


def test_several_apps_share_a_loop_and_stop_within_seconds(broker: str) -> None:
    topics = [unique(f"several-{number}") for number in range(4)]
    create(broker, *topics, partitions=2)

    async def scenario() -> None:
        built = [build(broker, unique("group"), topic) for topic in topics]
        begun = time.monotonic()
        async with running(*(app for app, _ in built)):
            for topic in topics:
                await asyncio.to_thread(produce, broker, topic, 100)
            for _, noted in built:
                await until(lambda noted=noted: len(noted) == 100)
            ending = time.monotonic()
        assert time.monotonic() - ending < 5
        assert time.monotonic() - begun < 20
        assert all(app.failure is None for app, _ in built)

    asyncio.run(scenario())


def test_inputs_that_do_not_fit_are_told(broker: str) -> None:
    three, four = unique("three"), unique("four")
    create(broker, three, partitions=3)
    create(broker, four, partitions=4)

    async def scenario() -> None:
        missing, _ = build(broker, unique("group"), unique("nowhere"))
        with pytest.raises(TopicsError, match="missing"):
            await missing.start()
        uneven, _ = build(broker, unique("group"), three, four)
        with pytest.raises(TopicsError, match="same number of partitions"):
            await uneven.start()
        with pytest.raises(ValueError, match="rebalance_timeout_s"):
            make_app("test", broker, group="g", rebalance_timeout_s=5)

    asyncio.run(scenario())
