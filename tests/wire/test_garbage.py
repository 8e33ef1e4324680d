"""Files with garbage in them: no good event is lost, every bad record is kept with its bytes."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.wire.files import InputError, open_sources
from pipeline.wire.writing import write_events
from tests.wire.samples import CATALOGUE, Event, mixed, read

ROWS = 5000


def dirt(random_: random.Random, line: bytes) -> bytes:
    """A line as things go wrong; never a good one, and in CSV never one with a line end in it."""
    kinds = [
        line[: random_.randrange(1, len(line) - 2)],
        random_.randbytes(random_.randrange(1, 200)).replace(b"\n", b"\0"),
        b"[" * random_.randrange(1, 3000),
        b'{"a":' * 2000,
        b"NaN",
        b'{"type":"order","amount_minor":NaN}',
        b"99999999999999999999999999",
        b'"' + line,
        b"\xff" + line,
        line + line,
        line[:40] + b"\xc3\x28" + line[40:],
        b"x" * 300_000,
        b'{"type":"click"}',
        b"null",
        b"\0" * 50,
        b",,,,,",
        b'"open quote, never closed',
    ]
    return random_.choice(kinds)


def spoiled(lines: list[bytes], every: int, seed: int) -> tuple[bytes, dict[int, bytes]]:
    """Lines with one of garbage before each ``every``-th, and the garbage by line number."""
    random_ = random.Random(seed)
    out: list[bytes] = []
    bad: dict[int, bytes] = {}
    for number, line in enumerate(lines):
        if number and number % every == 0:
            garbage = dirt(random_, line)
            if garbage.strip(b" \t\r"):
                out.append(garbage)
                bad[len(out)] = garbage.removesuffix(b"\r")
        out.append(line)
    return b"\n".join(out) + b"\n", bad


@pytest.mark.parametrize("seed", range(3))
def test_json_lines_with_1_percent_of_garbage(tmp_path: Path, seed: int) -> None:
    events = mixed(ROWS)
    content, bad = spoiled([json.dumps(event).encode() for event in events], 100, seed)
    (tmp_path / "a.jsonl").write_bytes(content)
    result = read(tmp_path / "a.jsonl", chunk_records=999)
    assert {each.position: each.raw for each in result.dead} == bad
    assert result.in_order == events


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("quoted", [True, False])
def test_csv_with_1_percent_of_garbage(tmp_path: Path, seed: int, quoted: bool) -> None:
    events = mixed(ROWS)
    if quoted:
        for number in range(0, ROWS, 12):
            events[number] |= {"campaign": f'a "quoted", comma{number}'}
    write_events(tmp_path / "good.csv", events)
    header, *lines = (tmp_path / "good.csv").read_bytes().splitlines()
    content, bad = spoiled(lines, 100, seed)
    (tmp_path / "a.csv").write_bytes(header + b"\n" + content)
    result = read(tmp_path / "a.csv", chunk_records=999)
    assert {each.position - 1: each.raw for each in result.dead} == bad
    assert result.in_order == events


LINES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([json.dumps(event).encode() for event in mixed(8)]),
    st.sampled_from([b"", b" ", b"\r", b'"', b'{"type":"click"}', b"{}", b"[[", b"\xef\xbb\xbf", b',","', b'\\"']),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(LINES, max_size=12), st.integers(1, 5), st.sampled_from([b"\n", b"\r\n"]))
@example([b"\xef\xbb\xbf", b"\xef\xbb\xbf{}"], 1, b"\n")
def test_every_line_is_admitted_or_a_dead_letter_with_its_bytes(
    tmp_path: Path, lines: list[bytes], chunk_records: int, end: bytes
) -> None:
    content = end.join(lines)
    (tmp_path / "a.jsonl").write_bytes(content)
    result = read(tmp_path / "a.jsonl", chunk_records)

    known: dict[bytes, Event] = {json.dumps(event).encode(): event for event in mixed(8)}
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        line = line.removesuffix(b"\r")
        if line in known:
            assert result.events.pop(number) == known[line]
        elif line.strip(b" \t\r"):
            letter = result.dead.pop(0)
            assert (letter.position, letter.raw) == (number, line)
    assert not result.events
    assert not result.dead


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text('ab,"\r\n é\0').map(str.encode) | st.binary(max_size=20), max_size=12), st.integers(1, 5))
def test_every_byte_of_csv_is_in_one_record_or_blank(tmp_path: Path, lines: list[bytes], chunk_records: int) -> None:
    content = b"\n".join(lines)
    (tmp_path / "a.csv").write_bytes(b"type,event_id,campaign\n" + content)
    result = read(tmp_path / "a.csv", chunk_records)
    assert not result.events, "none of them can be one"
    left = content.split(b"\n")
    for letter in reversed(result.dead):
        at = letter.position - 2
        count = letter.raw.count(b"\n") + 1
        record = b"\n".join(left[at : at + count])
        assert record.removesuffix(b"\r") == letter.raw
        left[at : at + count] = []
    assert not b"".join(left).strip(b" \t\r"), "what is left is blank"


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(["jsonl", "csv", "avro", "parquet", "jsonl.gz", "jsonl.zst", "avro.gz"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=6)), max_size=3),
    st.floats(0, 1),
)
def test_a_damaged_file_is_read_or_refused_but_never_an_accident(
    tmp_path_factory: pytest.TempPathFactory, kind: str, flips: list[tuple[float, bytes]], kept: float
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    write_events(path, mixed(60))
    content = bytearray(path.read_bytes())
    for share, noise in flips:
        at = int(share * len(content))
        content[at : at + len(noise)] = noise
    path.write_bytes(content[: max(1, int(kept * len(content)))])
    try:
        sources = open_sources([str(path)])
    except InputError:
        return
    for chunk in sources[0].chunks(CATALOGUE, 25):
        assert chunk.records == sum(table.num_rows for table in chunk.events.values()) + len(chunk.dead)
