"""What a run of ``crosscredit produce`` leaves behind: how far it came, and the records that are no events."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import xxhash

from pipeline.wire.admission import DeadLetter
from pipeline.wire.files import InputError, Source

_FORMAT: Final = 1
_BLOCK_BYTES: Final = 1 << 20


class Progress:
    """How far each source was confirmed, in a file of its own, written anew after each chunk.

    A source is known by path, size and a fingerprint of its bytes: one that changed is sent from its beginning.
    """

    def __init__(self, file: Path, cluster: str, sources: dict[str, dict[str, Any]]) -> None:
        self._file = file
        self._cluster = cluster
        self._sources = sources
        self.is_begun = bool(sources)

    @classmethod
    def read(cls, file: Path, cluster: str, sources: Sequence[Source]) -> Self:
        """What the file holds; nothing if there is none.

        InputError if it is no such file, is another cluster's, or for standard input, which cannot be read again.
        """
        if any(source.path is None for source in sources):
            raise InputError("-: standard input cannot be resumed. Put it into a file, or leave --resume out.")
        if not file.exists():
            return cls(file, cluster, {})
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
            if held["format"] != _FORMAT:
                raise ValueError("another format")
            known = {str(path): dict(entry) for path, entry in held["sources"].items()}
            of_cluster = held["cluster"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{file}: is no progress of `crosscredit produce` ({error}). Name another file, or remove it to send"
                " everything again."
            ) from error
        if of_cluster != cluster:
            raise InputError(
                f"{file}: is about another Kafka cluster ({of_cluster}; this one is {cluster}). Name another file, or"
                " remove it to send everything again."
            )
        return cls(file, cluster, known)

    def begin(self, source: Source, tell: Callable[[str], None]) -> int:
        """The position up to which the source was confirmed, 0 if nothing was."""
        path, size, fingerprint = _identity(source)
        known = self._sources.get(path)
        if known is not None and (known["size_bytes"], known["fingerprint"]) == (size, fingerprint):
            return int(known["position"])
        if known is not None:
            tell(f"{source.name} has changed since the last run: it is sent from its beginning.")
        self._sources[path] = {"size_bytes": size, "fingerprint": fingerprint, "position": 0}
        return 0

    def confirmed(self, source: Source, position: int) -> None:
        """All records up to ``position`` were confirmed by the broker, or rejected. On disk once it returns."""
        entry = self._sources[_path(source)]
        if position <= entry["position"]:
            return
        entry["position"] = position
        text = json.dumps({"format": _FORMAT, "cluster": self._cluster, "sources": self._sources}, indent=1)
        new = self._file.with_name(self._file.name + ".new")
        try:
            new.write_text(text + "\n", encoding="utf-8")
            new.replace(self._file)
        except OSError as error:
            raise InputError(f"{self._file}: cannot be written ({error.strerror}). Name a file that can be.") from error


class Rejected:
    """Records that are no events, as JSON Lines: source, position, reason, and ``raw`` (``raw_base64`` if no UTF-8)."""

    def __init__(self, file: Path | None, *, is_continued: bool) -> None:
        self._file: IO[str] | None = None
        if file is None:
            return
        try:
            self._file = file.open("a" if is_continued else "w", encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"--rejected {file} cannot be written ({error.strerror}). Name a file that can be."
            ) from error

    def add(self, letters: Iterable[DeadLetter]) -> None:
        """Write them; with the operating system once it returns."""
        if self._file is None:
            return
        for letter in letters:
            row = {"source": letter.source, "position": letter.position, "reason": letter.reason, **_raw(letter.raw)}
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def _raw(raw: bytes) -> dict[str, str]:
    try:
        return {"raw": raw.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(raw).decode()}


def _path(source: Source) -> str:
    assert source.path is not None  # noqa: S101  Progress.read refused it
    return str(source.path.resolve())


def _identity(source: Source) -> tuple[str, int, str]:
    hashed = xxhash.xxh3_128()
    size = 0
    try:
        with Path(_path(source)).open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                hashed.update(block)
                size += len(block)
    except OSError as error:
        raise InputError(f"{source.name}: cannot be read ({error.strerror}). Check path and permissions.") from error
    return _path(source), size, hashed.hexdigest()
