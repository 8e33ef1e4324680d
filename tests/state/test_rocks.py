"""What the store on disk does besides the contract of all stores (tests/contracts/test_store.py)."""

import time
from pathlib import Path

from pipeline.state.rocks import RocksStore, SharedMemory
from pipeline.state.store import WriteBatch


def test_marks_that_come_and_go_do_not_gather(tmp_path: Path) -> None:
    """A scan from the start passes over every deleted mark that is not compacted yet."""
    store = RocksStore(tmp_path)
    for number in range(60):
        marks = [b"brand\x00%06d" % (number * 1_000 + each) for each in range(1_000)]
        came, went = WriteBatch(), WriteBatch()
        for mark in marks:
            came.put("dirty", mark, b"")
            went.delete("dirty", mark)
        store.write(came)
        assert [key for key, _ in store.scan("dirty", b"")] == marks
        store.write(went)
    assert not list(store.scan("dirty", b""))
    gathered = store._tables["dirty"].property_int_value("rocksdb.num-entries-active-mem-table")
    assert gathered is not None
    assert gathered < 60_000  # of 120 000 written
    store.close()


def test_what_is_held_in_memory_has_a_limit_over_all_stores_that_share_it(tmp_path: Path) -> None:
    tables = ("clicks", "bindings", "facts", "emitted", "meta")
    memory = SharedMemory(8)
    stores = [
        RocksStore(tmp_path / str(number), memory=memory, write_buffer_mib=8, tables=tables) for number in range(3)
    ]

    def held() -> int:
        sizes = [
            store._tables[table].property_int_value("rocksdb.cur-size-all-mem-tables")
            for store in stores
            for table in tables
        ]
        return sum(size or 0 for size in sizes)

    most = 0
    for number in range(60):  # 18 MB in all; each table stays below its own eight
        batch = WriteBatch()
        for table in ("clicks", "bindings", "facts"):
            batch.table(table).update((b"%d-%d" % (number, row), bytes(1_000)) for row in range(100))
        stores[number % 3].write(batch)
        until = time.monotonic() + 10  # a write may make a table go to its file; it counts until it is there
        while held() > 5 << 20 and time.monotonic() < until:
            time.sleep(0.01)
        most = max(most, held())
    files = len(list(tmp_path.glob("*/*.sst")))
    for store in stores:
        store.close()
    assert 3 << 20 < most <= 5 << 20  # and not far below: small files cost as much as large ones
    assert files <= 45  # of 180, if each write of a table were one


def test_keys_that_are_known_to_be_absent_are_known_for_no_more_memory_than_given(tmp_path: Path) -> None:
    """Beyond it the table itself is asked, with the same answers."""
    store = RocksStore(tmp_path, absent_mib=0.005)  # 1 310 keys
    for number in range(3):
        batch = WriteBatch()
        batch.table("clicks").update((b"%d-%d" % (number, row), b"here") for row in range(500))
        store.write(batch)
        assert ("clicks" in store._absence) == (number < 2)
        asked = [b"0-7", b"%d-499" % number, b"%d-500" % number]
        assert store.get_many("clicks", asked) == [b"here", b"here", None]
    store.close()
