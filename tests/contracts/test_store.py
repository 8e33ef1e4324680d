"""What every state backend keeps to: the same test for each of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.state.memory import MemoryStore
from pipeline.state.rocks import RocksStore, StateError
from pipeline.state.store import TABLES, Store, WriteBatch

ROOT = Path(__file__).parents[2]
# In ascending order of bytes; among them the empty key, both lowest bytes, the highest, and prefixes of one another.
KEYS = (b"", b"\x00", b"\x00\x00", b"\x00\x01", b"\x01", b"\x01\x00", b"a", b"a\x00", b"a\x00b", b"a\x01", b"ab", b"b")
KEYS += (b"\x7f", b"\x80", b"\xfe\xff", b"\xff", b"\xff\xff")


@pytest.fixture(params=["memory", "rocks"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else RocksStore(tmp_path / "state")
    yield opened
    opened.close()


def put(store: Store, *keys: bytes, table: str = "facts", value: bytes = b"v") -> None:
    batch = WriteBatch()
    for key in keys:
        batch.put(table, key, value + key)
    store.write(batch)


def scanned(store: Store, prefix: bytes = b"", start: bytes = b"") -> list[bytes]:
    return [key for key, _ in store.scan("facts", prefix, start)]


# -- Reading and writing -----------------------------------------------------------------------------------------------


def test_a_new_store_holds_nothing(store: Store) -> None:
    for table in TABLES:
        assert store.get(table, b"k") is None
        assert store.get_many(table, [b"k", b"l"]) == [None, None]
        assert list(store.scan(table, b"")) == []


def test_what_was_written_is_read(store: Store) -> None:
    put(store, *KEYS)
    assert [store.get("facts", key) for key in KEYS] == [b"v" + key for key in KEYS]
    assert store.get("facts", b"absent") is None
    assert store.get("clicks", b"a") is None  # a table of its own


def test_get_many_answers_in_the_order_of_the_question(store: Store) -> None:
    put(store, b"a", b"b")
    assert store.get_many("facts", [b"b", b"x", b"a", b"b"]) == [b"vb", None, b"va", b"vb"]
    assert store.get_many("facts", []) == []


def test_values_may_be_empty_and_hold_any_byte(store: Store) -> None:
    batch = WriteBatch()
    every_byte = bytes(range(256))
    batch.put("facts", b"empty", b"")
    batch.put("facts", b"every", every_byte)
    store.write(batch)
    assert store.get_many("facts", [b"empty", b"every"]) == [b"", every_byte]


def test_a_later_write_replaces_an_earlier_one(store: Store) -> None:
    put(store, b"a", value=b"1")
    put(store, b"a", value=b"2")
    assert store.get("facts", b"a") == b"2a"
    assert scanned(store) == [b"a"]


def test_a_deleted_key_is_gone_and_may_come_back(store: Store) -> None:
    put(store, b"a", b"b")
    batch = WriteBatch()
    batch.delete("facts", b"a")
    batch.delete("facts", b"never-there")
    store.write(batch)
    assert store.get("facts", b"a") is None
    assert store.get_many("facts", [b"a", b"b"]) == [None, b"vb"]
    assert scanned(store) == [b"b"]
    put(store, b"a")
    assert scanned(store) == [b"a", b"b"]


def test_of_two_writes_of_one_key_in_a_batch_the_later_counts(store: Store) -> None:
    batch = WriteBatch()
    batch.put("facts", b"put-deleted", b"1")
    batch.delete("facts", b"put-deleted")
    batch.delete("facts", b"deleted-put")
    batch.put("facts", b"deleted-put", b"2")
    batch.put("facts", b"put-put", b"3")
    batch.put("facts", b"put-put", b"4")
    assert len(batch) == 3
    store.write(batch)
    assert dict(store.scan("facts", b"")) == {b"deleted-put": b"2", b"put-put": b"4"}


def test_an_empty_batch_changes_nothing(store: Store) -> None:
    """Also one that was asked for a table and then given nothing for it."""
    batch = WriteBatch()
    batch.table("facts")
    store.write(batch)
    assert store.get_many("facts", [b"a"]) == [None]
    put(store, b"a")
    store.write(batch)
    store.write(WriteBatch())
    assert store.get_many("facts", [b"a", b"b"]) == [b"va", None]


def test_a_misspelt_table_fails_at_once(store: Store) -> None:
    with pytest.raises(KeyError):
        store.get("fact", b"a")
    batch = WriteBatch()
    batch.put("fact", b"a", b"")
    with pytest.raises(KeyError):
        store.write(batch)


# -- Scans -------------------------------------------------------------------------------------------------------------


def test_a_scan_ascends_by_bytes(store: Store) -> None:
    put(store, *reversed(KEYS))
    assert scanned(store) == list(KEYS)


@pytest.mark.parametrize("prefix", KEYS)
@pytest.mark.parametrize("start", [b"", b"\x00", b"\x01", b"a\x00", b"a\x00b", b"aa", b"\xff"])
def test_a_scan_has_the_keys_of_the_prefix_from_the_start_on(store: Store, prefix: bytes, start: bytes) -> None:
    put(store, *KEYS)
    assert scanned(store, prefix, start) == [key for key in KEYS if key.startswith(prefix) and key >= start]


def test_a_scan_gives_values(store: Store) -> None:
    put(store, b"a", b"b")
    assert list(store.scan("facts", b"")) == [(b"a", b"va"), (b"b", b"vb")]


def test_scan_each_is_a_scan_for_each_prefix(store: Store) -> None:
    put(store, *KEYS)
    for prefixes in (KEYS, KEYS[::-1], (b"a", b"a", b"zz", b""), ()):
        assert list(store.scan_each("facts", prefixes)) == [list(store.scan("facts", prefix)) for prefix in prefixes]


def test_a_scan_survives_writes_behind_it(store: Store) -> None:
    """The keys scanned are deleted as they come, as a step does with what it has dealt with."""
    put(store, *KEYS)
    seen = []
    for key, _ in store.scan("facts", b""):
        batch = WriteBatch()
        batch.delete("facts", key)
        store.write(batch)
        seen.append(key)
    assert seen == list(KEYS)
    assert scanned(store) == []


def test_a_long_history_reads_like_a_dictionary(store: Store) -> None:
    chooser = random.Random(2026)
    known: dict[bytes, bytes] = {}
    alphabet = (b"\x00", b"\x01", b"\x02", b"a", b"\xff")
    for number in range(400):
        batch = WriteBatch()
        for _ in range(chooser.randint(0, 30)):
            key = b"".join(chooser.choices(alphabet, k=chooser.randint(1, 4)))
            if chooser.random() < 0.3:
                batch.delete("facts", key)
                known.pop(key, None)
            else:
                known[key] = b"%d" % number
                batch.put("facts", key, known[key])
        store.write(batch)
        asked = [b"".join(chooser.choices(alphabet, k=chooser.randint(1, 4))) for _ in range(20)]
        assert store.get_many("facts", asked) == [known.get(key) for key in asked]
        prefix = b"".join(chooser.choices(alphabet, k=chooser.randint(0, 2)))
        assert list(store.scan("facts", prefix)) == sorted(item for item in known.items() if item[0].startswith(prefix))


# -- On disk -----------------------------------------------------------------------------------------------------------


IMPORTS = """
import sys
from pathlib import Path
from pipeline.state.rocks import RocksStore, StateError
from pipeline.state.store import WriteBatch
"""


def child(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that can use the store."""
    command = [sys.executable, "-c", IMPORTS + script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_state_on_disk_outlasts_a_close(tmp_path: Path) -> None:
    first = RocksStore(tmp_path)
    put(first, *KEYS)
    first.close()
    again = RocksStore(tmp_path)
    assert scanned(again) == list(KEYS)
    assert again.get_many("facts", [b"a", b"absent"]) == [b"va", None]
    put(again, b"c")
    again.close()
    last = RocksStore(tmp_path)
    assert last.get("facts", b"c") == b"vc"
    last.close()


WRITES = """
store = RocksStore(Path(sys.argv[1]))
for number in range(1_000_000):
    batch = WriteBatch()
    for table in ("facts", "clicks"):
        for key in range(50):
            batch.put(table, b"%d" % key, b"%d" % number)
    store.write(batch)
    print(number, flush=True)
"""


def test_every_write_that_returned_outlasts_kill_9_and_none_is_torn(tmp_path: Path) -> None:
    process = child(WRITES, tmp_path)
    assert process.stdout is not None
    returned = 0
    for line in process.stdout:
        returned = int(line)
        if returned >= 200:
            break
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read()  # not communicate(): that would miss lines which are in the buffer already
    process.communicate()
    returned = max([returned, *(int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n"))])

    store = RocksStore(tmp_path)
    values = {value for table in ("facts", "clicks") for _, value in store.scan(table, b"")}
    counts = [len(list(store.scan(table, b""))) for table in ("facts", "clicks")]
    store.close()
    assert counts == [50, 50]
    assert len(values) == 1, "one batch, in both tables, or none of it"
    assert int(values.pop()) in (returned, returned + 1)  # the last may have returned without being told


OPENS = """
try:
    RocksStore(Path(sys.argv[1]))
except StateError as error:
    print(error)
"""


def test_a_second_process_is_refused_with_a_remedy(tmp_path: Path) -> None:
    store = RocksStore(tmp_path)
    put(store, b"a")
    said, _ = child(OPENS, tmp_path).communicate(timeout=60)
    assert "in use by another process" in said
    assert "Wait until" in said
    assert "--database" in said
    assert store.get("facts", b"a") == b"va"
    store.close()
    said, _ = child(OPENS, tmp_path).communicate(timeout=60)
    assert said == ""


def test_a_folder_that_cannot_be_a_folder_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StateError, match=r"cannot be opened.*Check that"):
        RocksStore(tmp_path / "state")


def test_a_folder_of_something_else_is_refused_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_text("not a database")
    with pytest.raises(StateError, match=r"cannot be opened.*Check that"):
        RocksStore(tmp_path)
    assert (tmp_path / "CURRENT").read_text() == "not a database"
