"""The inputs of a run: which files there are, of what kind, whether they can be read, and their events in chunks.

:func:`open_sources` finds everything that would stop a run before it has begun (contract.md, section 7: exit status 2).
What is wrong further inside a file is a dead letter.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pipeline.domain.terms import Catalogue
from pipeline.wire.admission import Admission, Admitted, merged
from pipeline.wire.avro_files import check_avro, read_avro
from pipeline.wire.csv_files import check_csv, read_csv
from pipeline.wire.jsonl import read_jsonl
from pipeline.wire.parquet_files import check_parquet, read_parquet
from pipeline.wire.streams import ByteStream, Compression, InputError

__all__ = ["InputError", "Kind", "Source", "kind_of", "open_sources"]

Kind = Literal["jsonl", "csv", "parquet", "avro"]

_KINDS: Final[dict[str, Kind]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".avro": "avro",
}
_COMPRESSIONS: Final[dict[str, Compression]] = {".gz": "gz", ".zst": "zst"}
_SUPPORTED: Final = "name it .jsonl, .ndjson, .json (one object a line), .csv, .parquet or .avro, each also .gz or .zst"

# A chunk ends when it holds this much, however few its records, so that memory stays bounded.
_CHUNK_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read, or standard input (``path`` None). ``name`` is what dead letters call it."""

    name: str
    path: Path | None
    kind: Kind
    compression: Compression
    size_bytes: int | None

    def chunks(self, catalogue: Catalogue, chunk_records: int = 100_000) -> Iterator[Admitted]:
        """Everything in the source, judged, at most ``chunk_records`` records at a time and about 64 MiB.

        Chunks may be read again from the start (but not of standard input). InputError if the disk fails.
        """
        return self.chunks_by(Admission(catalogue), chunk_records)

    def chunks_by(self, admission: Admission, chunk_records: int = 100_000) -> Iterator[Admitted]:
        """The same, judged by rules of the caller's own."""
        stream = ByteStream(self.path, self.name, self.compression)
        parts = self._parts(stream, admission, chunk_records)
        return _regrouped(_to_the_last_byte(parts, stream), chunk_records)

    def _parts(self, stream: ByteStream, admission: Admission, chunk_records: int) -> Iterator[Admitted]:
        match self.kind:
            case "jsonl":
                return read_jsonl(stream, admission, chunk_records)
            case "csv":
                return read_csv(stream, admission, chunk_records)
            case "avro":
                return read_avro(stream, admission, chunk_records)
            case "parquet":
                return read_parquet(stream, admission, chunk_records)

    def check(self) -> None:
        """InputError, with the remedy, if the file cannot be opened or its header cannot be read."""
        if self.path is None:
            return
        stream = ByteStream(self.path, self.name, self.compression)
        stream.check()
        match self.kind:
            case "csv":
                check_csv(stream)
            case "avro":
                check_avro(stream)
            case "parquet":
                check_parquet(stream)


def open_sources(paths: Sequence[str]) -> list[Source]:
    """The sources that ``--input`` names, in order; each is checked now, so that nothing runs on unusable arguments.

    A folder stands for every supported file in it and below, sorted by path; ``-`` is standard input as JSON Lines.
    InputError names what is missing, cannot be opened, is of no known kind, or has an unreadable header.
    """
    sources = [source for path in paths for source in _sources_at(path)]
    if sum(source.path is None for source in sources) > 1:
        raise InputError("-: standard input can be read only once. Name it once.")
    for source in sources:
        source.check()
    return sources


def kind_of(name: str) -> tuple[Kind, Compression] | None:
    """Kind and compression by a file name's suffixes, upper or lower case; None if there is none known."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    compression = _COMPRESSIONS.get(suffixes[-1], "") if suffixes else ""
    if compression:
        suffixes.pop()
    kind = _KINDS.get(suffixes[-1]) if suffixes else None
    return None if kind is None else (kind, compression)


def _sources_at(given: str) -> list[Source]:
    if given == "-":
        return [Source("-", None, "jsonl", "", None)]
    path = Path(given)
    try:
        if path.is_dir():
            return _sources_in(given)
        if not path.exists():
            raise InputError(f"{_shown(given)}: there is no such file or folder. Check the path.")
        if not path.is_file():
            raise InputError(f"{_shown(given)}: is not a file. Pipe it in as JSON Lines with `--input -`.")
        return [_source(given, given)]
    except OSError as error:
        raise InputError(
            f"{_shown(given)}: cannot be opened ({error.strerror}). Check path and permissions."
        ) from error
    except ValueError as error:  # a NUL in the path
        raise InputError(f"{_shown(given)}: is not a path ({error}).") from error


def _sources_in(folder: str) -> list[Source]:
    def refuse(error: OSError) -> None:
        raise error

    found = [
        str(Path(root, name))
        for root, _, names in os.walk(folder, onerror=refuse)
        for name in names
        if kind_of(name) is not None
    ]
    if not found:
        raise InputError(f"{_shown(folder)}: the folder has no file of a known kind. Put some in: {_SUPPORTED}.")
    return [_source(path, path) for path in sorted(found, key=lambda path: Path(path).parts)]


def _source(path: str, given: str) -> Source:
    kind = kind_of(path)
    if kind is None:
        raise InputError(f"{_shown(given)}: is of no known kind. Please {_SUPPORTED}; or pipe JSON Lines in with `-`.")
    return Source(_shown(given), Path(path), *kind, Path(path).stat().st_size)


def _shown(path: str) -> str:
    """A path as text that can be stored: what is not UTF-8 in it is escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _to_the_last_byte(parts: Iterator[Admitted], stream: ByteStream) -> Iterator[Admitted]:
    """The parts, and what was read behind the last record: blank lines, a checksum."""
    yield from parts
    if rest := stream.take_consumed():
        yield Admitted({}, [], stream.name, 0, rest)


def _regrouped(parts: Iterable[Admitted], chunk_records: int) -> Iterator[Admitted]:
    """Gather a reader's parts, each of at most ``chunk_records``, into chunks as full as allowed."""
    held: list[Admitted] = []
    records = size = 0
    for part in parts:
        if held and (records + part.records > chunk_records or size >= _CHUNK_BYTES):
            yield merged(held)
            held, records, size = [], 0, 0
        held.append(part)
        records += part.records
        size += sum(table.nbytes for table in part.events.values()) + sum(len(letter.raw) for letter in part.dead)
    if held:
        yield merged(held)
