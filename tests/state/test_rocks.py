"""What the store on disk does besides the contract of all stores (tests/contracts/test_store.py)."""

import time
from pathlib import Path

from pipeline.state.rocks import RocksStore
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


def test_what_all_tables_hold_in_memory_has_a_limit(tmp_path: Path) -> None:
    tables = ("clicks", "bindings", "facts", "emitted", "meta")
    store = RocksStore(tmp_path, write_buffer_mib=8, all_buffers_mib=4, tables=tables)

    def held() -> int:
        sizes = [store._tables[table].property_int_value("rocksdb.cur-size-all-mem-tables") for table in tables]
        return sum(size or 0 for size in sizes)

    most = 0
    for number in range(60):  # 18 MB in all; each table stays below its own eight
        batch = WriteBatch()
        for table in ("clicks", "bindings", "facts"):
            batch.table(table).update((b"%d-%d" % (number, row), bytes(1_000)) for row in range(100))
        store.write(batch)
        until = time.monotonic() + 10  # a write may make a table go to its file; it counts until it is there
        while held() > 5 << 20 and time.monotonic() < until:
            time.sleep(0.01)
        most = max(most, held())
    files = len(list(tmp_path.glob("*.sst")))
    store.close()
    assert 3 << 20 < most <= 5 << 20  # and not far below: small files cost as much as large ones
    assert files <= 18
