"""Gzip and Zstandard: whole, in members, cut short and damaged; what stands before the break is kept."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from pipeline.wire.files import InputError, open_sources
from pipeline.wire.streams import ByteStream
from pipeline.wire.writing import write_events
from tests.wire.samples import click, mixed, order, read

Pack = Callable[[bytes], bytes]


def checked_zstd(content: bytes) -> bytes:
    return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})


PACKED = pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("zst", checked_zstd)])
# Hard to compress, so that a break in the middle of the file is one in the middle of the events.
EVENTS = [click(number, campaign=random.Random(number).randbytes(30).hex()) for number in range(2000)]
LINES = b"".join(json.dumps(event).encode() + b"\n" for event in EVENTS)


@PACKED
def test_whole(tmp_path: Path, suffix: str, pack: Pack) -> None:
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(pack(LINES))
    result = read(path, chunk_records=300)
    assert result.in_order == EVENTS
    assert not result.dead


@PACKED
def test_several_members(tmp_path: Path, suffix: str, pack: Pack) -> None:
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(b"".join(pack(LINES[at : at + 1000]) for at in range(0, len(LINES), 1000)) + pack(b""))
    assert read(path).in_order == EVENTS


def test_zeros_behind_gzip_are_padding(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(LINES) + b"\0" * 1000)
    result = read(path)
    assert result.in_order == EVENTS
    assert not result.dead


@PACKED
def test_much_from_little(tmp_path: Path, suffix: str, pack: Pack) -> None:
    """Output is taken in pieces: memory does not grow with how well a file is packed."""
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(pack(b" " * 50_000_000 + b"\n" + LINES))
    assert max(map(len, ByteStream(path, "a", suffix).pieces())) <= 2**20
    assert set(read(path).events) == set(range(2, 2002))


@PACKED
@pytest.mark.parametrize("share", [0.0001, 0.2, 0.5, 0.99, 1.0])
def test_cut_short(tmp_path: Path, suffix: str, pack: Pack, share: float) -> None:
    packed = pack(LINES)
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(packed[: max(4, min(len(packed) - 1, int(len(packed) * share)))])
    result = read(path)

    count = len(result.events)
    assert result.in_order == EVENTS[:count]
    assert result.reasons == {count + 1: "malformed"}
    assert LINES.split(b"\n")[count].startswith(result.dead[0].raw)
    assert count >= 2000 * share - 900, "a Zstandard block is 128 KiB, that is some 700 events"


@PACKED
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_damaged(tmp_path: Path, suffix: str, pack: Pack, share: float) -> None:
    packed = bytearray(pack(LINES))
    at = int(len(packed) * share)
    packed[at : at + 40] = b"\xff" * 40
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(packed)
    result = read(path)

    known = {event["event_id"]: event for event in EVENTS}
    good = [position for position, event in result.events.items() if known.get(event["event_id"]) == event]
    assert len(good) >= 2000 * share - 900
    assert result.dead
    assert set(result.reasons.values()) <= {"malformed", "invalid_field", "unknown_brand", "unknown_partner"}


@PACKED
def test_what_follows_the_packed_bytes_is_one_dead_letter(tmp_path: Path, suffix: str, pack: Pack) -> None:
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(pack(LINES) + b"not packed at all" * 10)
    result = read(path)
    assert result.in_order == EVENTS
    assert result.reasons == {2001: "malformed"}


@PACKED
def test_a_wrong_checksum_is_one_dead_letter(tmp_path: Path, suffix: str, pack: Pack) -> None:
    packed = bytearray(pack(LINES))
    packed[-5] ^= 1
    if suffix == "zst":
        packed[-1] ^= 1
        packed[-5] ^= 1
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(packed)
    result = read(path)
    assert result.in_order == EVENTS
    assert result.reasons == {2001: "malformed"}


@PACKED
def test_a_break_behind_a_whole_record(tmp_path: Path, suffix: str, pack: Pack) -> None:
    lines = [json.dumps(order(number)).encode() for number in range(3)]
    packed = pack(b"\n".join(lines))
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(packed[:-4] + bytes(4))  # all content, a wrong checksum
    result = read(path)
    assert result.in_order == [order(0), order(1), order(2)]
    assert [(each.position, each.raw) for each in result.dead] == [(4, b"")]


def test_csv_that_breaks_loses_its_last_line(tmp_path: Path) -> None:
    """Half a line of CSV can look whole, so it is never admitted."""
    header = b"type,event_id,occurred_at,brand_id,program_id,partner_id,visitor_id,campaign\n"
    rows = b"".join(b"click,k%d,1,acme,acme-friends,bakery,v,spring\n" % number for number in range(5))
    packed = gzip.compress(header + rows.removesuffix(b"ng\n"))
    (tmp_path / "a.csv.gz").write_bytes(packed[:-4])
    result = read(tmp_path / "a.csv.gz")
    assert set(result.events) == {2, 3, 4, 5}
    assert [(each.position, each.raw) for each in result.dead] == [(6, rows.split(b"\n")[4].removesuffix(b"ng"))]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_avro_that_breaks(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.avro.{suffix}"
    write_events(path, EVENTS)
    path.write_bytes(path.read_bytes()[:-2000])
    result = read(path)
    count = len(result.events)
    assert 1000 < count < 2000
    assert result.in_order == EVENTS[:count]
    assert result.reasons == {count + 1: "malformed"}


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_parquet_that_breaks_has_lost_its_footer(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.parquet.{suffix}"
    write_events(path, mixed(100))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="ends early"):
        open_sources([str(path)])


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.csv.gz", "a.avro.zst", "a.parquet.gz"])
@pytest.mark.parametrize("content", [b"", b"\x1f", b'{"type":"click"}\n'])
def test_what_is_not_compressed_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"is not a (gzip|Zstandard) file"):
        open_sources([str(tmp_path / name)])
