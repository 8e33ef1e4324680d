"""What the store on disk does besides the contract of all stores (tests/contracts/test_store.py)."""

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
