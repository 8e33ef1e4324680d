"""Terms files on disk to a :class:`Catalogue`, and a catalogue to its fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Final

import msgspec

from pipeline.domain.terms import Catalogue, Program, Terms
from pipeline.domain.terms_reader import Problem, TermsError
from pipeline.domain.terms_versions import TermsDocument, check_catalogue
from pipeline.toml_lines import toml_lines

_POSITION: Final = re.compile(r" ?\(at (?:line ([0-9]+), column [0-9]+|end of document)\)$")
_FINGERPRINT_FORMAT: Final = "crosscredit terms 1\n"


def load_catalogue(paths: Sequence[Path]) -> Catalogue:
    """The programs that the files describe; a folder stands for every ``*.toml`` in it and its subfolders.

    Names that begin with a dot are left out of folders, and a file met twice is read once. Files are read, and problems
    listed, in the order of their names. Raises TermsError with everything that is wrong with all the files.
    """
    problems: list[Problem] = []
    documents: list[TermsDocument] = []
    if not paths:
        remedy = "Name a terms file, or a folder of them: --program terms/acme.toml"
        problems.append(Problem("", "", None, "No program terms are given", remedy))
    for path in sorted(_distinct_files(paths, problems)):
        found = _read(path)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            documents.append(found)
    catalogue, rule_problems = check_catalogue(documents)
    problems.extend(rule_problems)
    if catalogue is None or problems:
        raise TermsError(sorted(problems, key=lambda each: (each.file, each.line or 0)))
    return catalogue


def fingerprint(catalogue: Catalogue) -> str:
    """64 hex digits that change with the meaning of the terms, and with nothing else.

    File names, comments, ignored keys, defaults left out or written, and the order of files, keys, tables and list
    items do not matter.
    """
    text = json.dumps(_plain(catalogue), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256((_FINGERPRINT_FORMAT + text).encode()).hexdigest()


def packed(catalogue: Catalogue) -> bytes:
    """The catalogue as bytes, for a database to keep beside what it implied."""
    return msgspec.msgpack.encode([program.versions for program in catalogue.programs.values()])


def unpacked(content: bytes) -> Catalogue:
    """The catalogue that :func:`packed` packed."""
    return Catalogue.of(Program(versions) for versions in msgspec.msgpack.decode(content, type=list[tuple[Terms, ...]]))


def _distinct_files(paths: Sequence[Path], problems: list[Problem]) -> Iterator[Path]:
    seen: set[Path] = set()
    for path in paths:
        try:
            files = _files_in(path) if path.is_dir() else [path]
            if not files:
                remedy = "Name the folder that holds the terms, or a file."
                problems.append(Problem(str(path), "", None, "there is no .toml file in this folder", remedy))
            for file in files:
                identity = file.resolve()
                if identity not in seen:
                    seen.add(identity)
                    yield file
        except (OSError, ValueError, RuntimeError) as error:
            problems.append(_unreadable(path, error))


def _files_in(folder: Path) -> list[Path]:
    """The folder's terms files. Dotted names are copies: of editors, and of Kubernetes beside the links to them."""
    files: list[Path] = []
    seen: set[Path] = set()

    def fail(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        here = Path(root)
        if here.resolve() in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(here.resolve())
        folders[:] = [name for name in folders if not name.startswith(".")]
        files.extend(here / name for name in names if name.endswith(".toml") and not name.startswith("."))
    return files


def _read(path: Path) -> TermsDocument | Problem:
    name = str(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Problem(name, "", None, "there is no such file", "Check the path and its spelling.")
    except (OSError, ValueError) as error:
        return _unreadable(path, error)
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"the file is not UTF-8 text: byte {error.object[error.start]:#04x} cannot be read"
        return Problem(name, "", line, what, "Save it with the encoding UTF-8.")
    try:
        return TermsDocument(name, tomllib.loads(text), toml_lines(text).get)
    except (ValueError, RecursionError) as error:
        return _syntax_problem(name, text, error)


def _unreadable(path: Path, error: Exception) -> Problem:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    remedy = "Check that the path is right and that this user may read it."
    return Problem(str(path), "", None, f"the file cannot be read: {reason}", remedy)


def _syntax_problem(name: str, text: str, error: Exception) -> Problem:
    """What ``tomllib`` says, with its line. It has no other form for it than the end of its message."""
    message = "too many brackets in one another" if isinstance(error, RecursionError) else str(error)
    match = _POSITION.search(message)
    line = None
    if match is not None:
        line = int(match[1]) if match[1] else text.rstrip("\n").count("\n") + 1
        message = message[: match.start()]
    message = message[:1].lower() + message[1:]
    remedy = "Correct this line."
    for part, advice in _SYNTAX_REMEDIES:
        if part in message.lower():
            remedy = advice
            break
    return Problem(name, "", line, f"this is not TOML: {message}", remedy)


_SYNTAX_REMEDIES: Final = (
    ("invalid value", 'Put texts in quotes, as in currency = "USD"; write numbers without separators or units.'),
    ("overwrite", "Write each key once: remove or rename the second one."),
    ("declare", "Write each [table] once; the header of a list of tables, such as [[partner]], has two brackets."),
    ("invalid date", "Write times like 2026-01-31T00:00:00Z."),
    ("after a key", 'Write each line as key = value, as in currency = "USD".'),
    ("key/value delimiter", 'Write each line as key = value, as in currency = "USD".'),
    ("invalid statement", "Write each line as key = value, as [table], or as a # comment."),
    (
        "after a statement",
        "Put texts in quotes; write numbers without %, comma or unit, and times like 2026-01-31T00:00:00Z.",
    ),
    ("illegal character", "Close the text with a quote on its own line, and remove characters that cannot be seen."),
    ("unclosed", "Close the bracket or brace."),
    ("unterminated", "Close the text with a quote."),
    ("backslash", "Write a backslash in quotes as \\\\, or put the text in single quotes."),
)


def _plain(value: object) -> object:
    """A value as JSON that has one form for each meaning: sets and lists sorted, and what has its default left out."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | frozenset):
        return sorted((_plain(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if is_dataclass(value):
        named = {each.name: (getattr(value, each.name), each.default) for each in fields(value)}
        return {name: _plain(item) for name, (item, default) in named.items() if default is MISSING or item != default}
    return value
