"""What `--input` names: files, folders, standard input; and what stops a run before it has begun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.wire import streams
from pipeline.wire.files import InputError, kind_of, open_sources
from pipeline.wire.writing import write_events
from tests.wire.samples import CATALOGUE, click, mixed, read


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", ("jsonl", "")),
        ("a.ndjson", ("jsonl", "")),
        ("a.json", ("jsonl", "")),
        ("a.csv", ("csv", "")),
        ("a.parquet", ("parquet", "")),
        ("a.avro", ("avro", "")),
        ("a.jsonl.gz", ("jsonl", "gz")),
        ("a.b.csv.zst", ("csv", "zst")),
        ("A.CSV.GZ", ("csv", "gz")),
        ("a.txt", None),
        ("a.gz", None),
        ("jsonl", None),
        ("a.jsonl.gz.gz", None),
        ("a.jsonl.bak", None),
    ],
)
def test_kinds(name: str, kind: tuple[str, str] | None) -> None:
    assert kind_of(name) == kind


def test_sources_come_in_the_order_given(tmp_path: Path) -> None:
    names = ["b.jsonl", "a.parquet", "c.csv.gz"]
    for name in names:
        write_events(tmp_path / name, mixed(4))
    paths = [str(tmp_path / name) for name in names]
    sources = open_sources(paths)
    assert [source.name for source in sources] == paths
    assert [source.size_bytes for source in sources] == [Path(path).stat().st_size for path in paths]


def test_a_folder_is_every_supported_file_in_it_sorted_by_path(tmp_path: Path) -> None:
    for name in ("z.jsonl", "a/b/c.csv", "a/b.avro", "a-b/x.jsonl", "B.JSONL"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_events(tmp_path / name, [click()])
    for name in ("notes.txt", "a/readme.md", "_SUCCESS"):
        (tmp_path / name).write_text("no events")
    folder = str(tmp_path)
    names = [source.name.removeprefix(folder) for source in open_sources([folder])]
    assert names == ["/B.JSONL", "/a/b/c.csv", "/a/b.avro", "/a-b/x.jsonl", "/z.jsonl"]


def test_names_are_as_the_user_gave_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    write_events("in/a.jsonl", [click()])
    assert [source.name for source in open_sources(["in/a.jsonl", "./in", "in"])] == ["in/a.jsonl"] * 3


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl")
    write_events(path, [click()])
    (source,) = open_sources([path])
    assert source.name == f"{tmp_path}/caf\\xe9.jsonl"
    assert sum(chunk.records for chunk in source.chunks(CATALOGUE)) == 1


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (Path.exists, "no such file"),
        (Path.mkdir, "no file of a known kind"),
        (os.mkfifo, "is not a file"),
    ],
)
def test_what_is_no_file(tmp_path: Path, make: object, problem: str) -> None:
    path = tmp_path / "a.jsonl"
    make(path)
    with pytest.raises(InputError, match=problem) as refusal:
        open_sources([str(path)])
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("given", ["", "a\0b.jsonl", "x" * 5000 + ".jsonl"])
def test_what_is_no_path(given: str) -> None:
    with pytest.raises(InputError):
        open_sources([given])


def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"")
    with pytest.raises(InputError, match=r"no known kind.*\.jsonl.*\.parquet"):
        open_sources([str(tmp_path / "a.xlsx")])


def test_one_bad_file_stops_all_before_anything_is_read(tmp_path: Path) -> None:
    write_events(tmp_path / "a.jsonl", [click()])
    (tmp_path / "b.csv").write_bytes(b"")
    with pytest.raises(InputError, match=r"b\.csv"):
        open_sources([str(tmp_path)])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_events(path, [click()])
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be opened"):
        open_sources([str(path)])


@pytest.mark.parametrize("kind", ["jsonl", "csv", "avro", "parquet", "jsonl.gz", "avro.zst", "parquet.gz"])
def test_a_file_that_is_gone_in_the_middle(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    write_events(path, mixed(4))
    (source,) = open_sources([str(path)])
    path.unlink()
    with pytest.raises(InputError, match=r"reading failed|cannot be opened") as refusal:
        list(source.chunks(CATALOGUE))
    assert str(path) in str(refusal.value)


def test_a_disk_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    write_events(path, mixed(4))

    class Failing:
        def __enter__(self) -> Failing:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self, _: int) -> bytes:
            raise OSError(5, "Input/output error")

    (source,) = open_sources([str(path)])
    monkeypatch.setattr(streams.ByteStream, "_open", lambda _: Failing())
    with pytest.raises(InputError, match=r"a\.jsonl: reading failed.*Input/output error"):
        list(source.chunks(CATALOGUE))


def test_chunks_may_be_read_again(tmp_path: Path) -> None:
    write_events(tmp_path / "a.csv", mixed(9))
    (source,) = open_sources([str(tmp_path / "a.csv")])
    assert [sum(chunk.records for chunk in source.chunks(CATALOGUE)) for _ in range(2)] == [9, 9]


STDIN = """
from pipeline.wire.files import open_sources
from tests.wire.samples import CATALOGUE
(source,) = open_sources(["-"])
print(source.name, source.size_bytes)
for chunk in source.chunks(CATALOGUE, 3):
    print(chunk.records, len(chunk.dead))
"""


def test_standard_input_is_json_lines() -> None:
    lines = "".join(json.dumps(event) + "\n" for event in mixed(4)) + "oops"
    done = subprocess.run(
        [sys.executable, "-c", STDIN], input=lines, text=True, capture_output=True, check=True, timeout=60
    )
    assert done.stdout.split("\n") == ["- None", "3 0", "2 1", ""]


def test_standard_input_can_be_named_once() -> None:
    with pytest.raises(InputError, match="only once"):
        open_sources(["-", "-"])


def test_the_same_events_in_chunks_of_any_size(tmp_path: Path) -> None:
    events = mixed(50)
    for kind in ("jsonl", "csv", "parquet", "avro"):
        write_events(tmp_path / f"a.{kind}", events)
        for chunk_records in (1, 2, 49, 50, 51):
            assert read(tmp_path / f"a.{kind}", chunk_records).in_order == events
