"""State on disk in RocksDB: the default of the embedded runner, and of the live workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rocksdict import AccessType, BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBufferManager
from rocksdict import WriteBatch as RocksBatch

from pipeline.state.absence import AbsenceFilter
from pipeline.state.store import TABLES, WriteBatch

KIBIBYTE, MEBIBYTE = 1 << 10, 1 << 20

# Read again at random, a key at a time, for as long as the pipeline runs. What a referral of long ago costs more than
# one still in memory is the opening of its block: small ones of LZ4 take less than half the time that larger ones of
# Zstandard do. Their files are nearly twice as large for it.
_REVISITED = frozenset({"contributions", "timeline"})

# Keys that come and soon go, and that are read from the first on: a scan passes over all that were deleted and not yet
# compacted, so no more than this may gather.
_PASSING = frozenset({"dirty", "due", "notices", "later"})
_PASSING_BUFFER_MIB = 1

# Those that are asked for many keys at once, nearly all of them new.
_ASKED = frozenset({"clicks", "bindings", "facts", "emitted", "contributions", "timeline"})


class StateError(Exception):
    """The state's folder cannot be used; the text says why and what to do."""


class SharedMemory:
    """What stores that share it hold of their disks in memory: blocks read, and what is written and not yet flushed."""

    def __init__(self, mib: int) -> None:
        """``mib`` in all, of which what is not yet flushed takes at most about half."""
        self.cache = Cache(mib * MEBIBYTE)
        self.buffers = WriteBufferManager.new_write_buffer_manager_with_cache(
            mib * MEBIBYTE // 2, allow_stall=False, cache=self.cache
        )


class RocksStore:
    """A :class:`~pipeline.state.store.Store` in a folder of its own, for one process at a time.

    A write reaches the operating system before it returns, so it survives a kill of the process (not a loss of power;
    the input or the topics then bring back what is missing).
    """

    def __init__(
        self, folder: Path, *, memory: SharedMemory | None = None, write_buffer_mib: int = 64,
        absent_mib: float = 1024, tables: Sequence[str] = TABLES,
    ) -> None:  # fmt: skip
        """By default a store has a cache of its own, of 96 MiB, and holds back ``write_buffer_mib`` a table at most.

        Of a table that is new, absent keys are known without a look-up until its keys' hashes take ``absent_mib``.
        """
        cache = memory.cache if memory else Cache(96 * MEBIBYTE)
        options = _options("default", cache, write_buffer_mib)
        if memory:
            options.set_write_buffer_manager(memory.buffers)
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        options.set_max_background_jobs(2)
        options.set_max_total_wal_size(256 * MEBIBYTE)
        options.set_keep_log_file_num(2)
        families = {table: _options(table, cache, write_buffer_mib) for table in tables}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = Rdict(str(folder), options, column_families={"default": options, **families})
        except Exception as error:  # rocksdict raises bare Exception
            raise StateError(_remedy(folder, str(error))) from error
        self._tables = {table: self._db.get_column_family(table) for table in tables}
        self._handles = {table: self._db.get_column_family_handle(table) for table in tables}
        self._absent_mib = absent_mib
        self._absence = {table: AbsenceFilter() for table in _ASKED.intersection(tables) if self._is_empty(table)}

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of ``key``, or None."""
        value: bytes | None = self._tables[table].get(key)
        return value

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of ``keys`` in their order, None where there is none."""
        absence = self._absence.get(table)
        if absence is None:
            return self._look_up(table, list(keys))
        values: list[bytes | None] = [None] * len(keys)
        asked = absence.maybe_present(keys)
        for index, value in zip(asked, self._look_up(table, [keys[index] for index in asked]), strict=True):
            values[index] = value
        return values

    def _look_up(self, table: str, keys: list[bytes]) -> list[bytes | None]:
        get: Any = self._tables[table].get  # its stubs know one key, or lists of mixed keys
        values: list[bytes | None] = get(keys)
        return values

    def scan(self, table: str, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Every key with ``prefix`` from ``start`` on, ascending, with its value."""
        iterator = self._tables[table].iter()
        iterator.seek(max(prefix, start))
        while iterator.valid():
            key = iterator.key()
            if not key.startswith(prefix):
                return
            yield key, iterator.value()
            iterator.next()

    def scan_each(self, table: str, prefixes: Sequence[bytes]) -> Iterator[list[tuple[bytes, bytes]]]:
        """For each prefix what :meth:`scan` gives, with one iterator for all."""
        iterator = self._tables[table].iter()
        seek, valid, get_key, get_value, step = (
            iterator.seek, iterator.valid, iterator.key, iterator.value, iterator.next
        )  # fmt: skip
        for prefix in prefixes:
            found = []
            seek(prefix)
            while valid():
                key = get_key()
                if not key.startswith(prefix):
                    break
                found.append((key, get_value()))
                step()
            yield found

    def write(self, batch: WriteBatch) -> None:
        """Apply the batch atomically."""
        rocks = RocksBatch(raw_mode=True)
        for table, deletes in batch.deletes.items():
            handle = self._handles[table]
            for key in deletes:
                rocks.delete(key, handle)
        for table, puts in batch.puts.items():
            handle = self._handles[table]
            put = rocks.put
            keys = sorted(puts)  # neighbours in a batch are then neighbours in the memory table: a fifth less CPU
            for key in keys:
                put(key, puts[key], handle)
            absence = self._absence.get(table)
            if absence is not None:
                # Before the write: a key that is noted and not there costs a look-up, the other way round an answer.
                absence.add(keys)
                if absence.mib() > self._absent_mib:
                    del self._absence[table]
        self._db.write(rocks)

    def disk_bytes(self, table: str) -> int:
        """What the table's files take on disk: keys, values, filters and indexes, compressed."""
        return int(self._tables[table].property_int_value("rocksdb.total-sst-files-size") or 0)

    def _is_empty(self, table: str) -> bool:
        iterator = self._tables[table].iter()
        iterator.seek_to_first()
        return not iterator.valid()

    def close(self) -> None:
        """Flush and release the folder."""
        self._handles.clear()
        for table in self._tables.values():
            table.close()
        self._tables.clear()
        self._db.close()


def stored(folder: Path, table: str, key: bytes) -> bytes | None:
    """What a store in ``folder`` has under ``key``; another process may have it open meanwhile.

    :raises StateError: the folder holds no store that can be read.
    """
    cache = Cache(MEBIBYTE)
    families = {name: _options(name, cache, 1) for name in TABLES}
    try:
        store = Rdict(
            str(folder),
            _options("default", cache, 1),
            column_families={"default": _options("default", cache, 1), **families},
            access_type=AccessType.read_only(),
        )
    except Exception as error:  # rocksdict raises bare Exception
        raise StateError(_remedy(folder, str(error))) from error
    try:
        value: bytes | None = store.get_column_family(table).get(key)
        return value
    finally:
        store.close()


def _options(table: str, cache: Cache, write_buffer_mib: int) -> Options:
    options = Options(raw_mode=True)
    options.set_compression_type(DBCompressionType.lz4() if table in _REVISITED else DBCompressionType.zstd())
    if table in _PASSING:
        options.set_write_buffer_size(_PASSING_BUFFER_MIB * MEBIBYTE)
        options.set_max_write_buffer_number(4)  # small ones fill while others are flushed
    else:
        options.set_write_buffer_size(write_buffer_mib * MEBIBYTE)
        options.set_max_write_buffer_number(2)
    # By default an eighth of the buffer: what a table reserves counts, so that few tables would reach the limit empty.
    options.set_arena_block_size(64 * KIBIBYTE)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_bloom_filter(10, False)
    blocks.set_block_size((4 if table in _REVISITED else 16) * KIBIBYTE)
    options.set_block_based_table_factory(blocks)
    return options


def _remedy(folder: Path, error: str) -> str:
    if "lock" in error.lower():
        return (
            f"The state in {folder} is in use by another process. Wait until that one has ended, or name another "
            f"folder with --database. ({error})"
        )
    return (
        f"The state in {folder} cannot be opened: {error}. Check that the folder is writable and the disk not full; a "
        f"folder that is damaged can be removed, and the same input run again rebuilds it."
    )
