"""CSV: quotes, line ends, headers, and what a broken quote takes with it: its own line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.wire.csv_files import split_record
from pipeline.wire.files import InputError, open_sources
from tests.wire.samples import AT, click, mixed, order, read, refund

HEADER = "type,event_id,occurred_at,brand_id,program_id,partner_id,visitor_id,campaign"
GOOD = f"click,k1,{AT + 1},acme,acme-friends,bakery,v1,spring"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def good(number: int = 1, campaign: str = "spring") -> dict[str, object]:
    event = click(number, campaign=campaign)
    del event["country"]
    return event


def row(number: int, campaign: str) -> str:
    return f"click,k{number},{AT + number},acme,acme-friends,bakery,v{number},{campaign}"


def test_positions_are_line_numbers_and_blank_lines_count(tmp_path: Path) -> None:
    text = f"{HEADER}\n\n{row(1, 'a')}\n  \n{row(2, 'b')},too,many\n{row(3, 'c')}\n"
    result = read(write(tmp_path / "a.csv", text))
    assert result.events == {3: good(1, "a"), 6: good(3, "c")}
    assert result.reasons == {5: "malformed"}


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('"a,b"', "a,b"),
        ('"say ""hi"""', 'say "hi"'),
        ('""""', '"'),
        ('a"b"c', 'a"b"c'),
        ('"two\nlines"', "two\nlines"),
        ('"two\r\n\r\nlines"', "two\r\n\r\nlines"),
        ('"three\n""quoted""\nlines, with a comma"', 'three\n"quoted"\nlines, with a comma'),
        (" spaces ", " spaces "),
        ("nul\0", "nul\0"),
        ("é😀", "é😀"),
        ("lone\rreturn", "lone\rreturn"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_cells(tmp_path: Path, cell: str, value: str, line_end: str) -> None:
    text = line_end.join([HEADER, row(1, "a"), row(2, cell), row(3, "c"), ""])
    result = read(write(tmp_path / "a.csv", text))
    assert result.in_order == [good(1, "a"), good(2, value), good(3, "c")]
    assert not result.dead


def test_a_quoted_empty_cell_is_absent(tmp_path: Path) -> None:
    result = read(write(tmp_path / "a.csv", f"{HEADER}\n{row(1, chr(34) * 2)}\n"))
    (event,) = result.in_order
    assert "campaign" not in event


@pytest.mark.parametrize(
    "line",
    [
        "click",
        "click,k",
        GOOD + ",more",
        GOOD.replace("click", "klick"),
        GOOD.replace("click", " click"),
        ",,,,,,,",
        ",",
        row(1, '"text" behind'),
        row(1, '"never closed'),
        row(1, '"""'),
        '"',
        '"""',
        "\0",
    ],
)
def test_malformed(tmp_path: Path, line: str) -> None:
    text = "\n".join([HEADER, row(1, '"q"'), line, row(2, '"q"'), row(3, "c"), ""])
    result = read(write(tmp_path / "a.csv", text))
    assert [(each.position, each.reason, each.raw) for each in result.dead] == [(3, "malformed", line.encode())]
    assert result.in_order == [good(1, "q"), good(2, "q"), good(3, "c")]


def test_bad_utf8_spoils_its_own_record_alone(tmp_path: Path) -> None:
    bad = row(2, "@").encode().replace(b"@", b"caf\xe9")
    unknown = row(3, "c").encode() + b",\xff"
    text = b"\n".join([HEADER.encode() + b",extra", row(1, "a").encode() + b",x", bad + b",x", unknown, b""])
    result = read(write(tmp_path / "a.csv", text))
    assert [(each.position, each.reason, each.raw) for each in result.dead] == [(3, "invalid_field", bad + b",x")]
    assert result.in_order == [good(1, "a"), good(3, "c")]


def test_raw_is_the_record_without_its_line_end(tmp_path: Path) -> None:
    header = "type,event_id,occurred_at,brand_id,order_id,customer_id,amount_minor,currency,coupon_code"
    line = f'order,o1,{AT},acme,A-1,c1,5000,{{}},"two\r\nlines"'
    text = "\r\n".join([header, line.format("USD"), line.format("EUR"), ""])
    result = read(write(tmp_path / "a.csv", text))
    assert result.order_raw == {2: line.format("USD").encode()}
    assert [(each.position, each.reason, each.raw) for each in result.dead] == [
        (4, "currency_mismatch", line.format("EUR").encode())
    ]


def test_a_quote_that_never_closes_takes_only_its_line(tmp_path: Path) -> None:
    cells = ['"open' if number % 100 == 0 else '"closed"' if number % 7 == 0 else "plain" for number in range(3000)]
    lines = [row(number, cell) for number, cell in enumerate(cells) if number]
    result = read(write(tmp_path / "a.csv", "\n".join([HEADER, *lines])), chunk_records=500)
    assert set(result.reasons) == {number + 1 for number in range(100, 3000, 100)}
    assert set(result.events) == {number + 1 for number in range(1, 3000) if number % 100}


def test_a_quoted_cell_may_go_on_for_64_kib(tmp_path: Path) -> None:
    line = "x" * 99 + "\n"
    within, beyond = '"' + line * 600 + '"', '"' + line * 700 + '"'
    result = read(write(tmp_path / "a.csv", "\n".join([HEADER, row(1, within), row(2, "b")])))
    assert result.in_order == [good(1, line * 600), good(2, "b")]
    result = read(write(tmp_path / "b.csv", "\n".join([HEADER, row(1, beyond), row(2, "b")])))
    assert len(result.dead) == 701
    assert result.in_order == [good(2, "b")]


def test_a_header_may_be_quoted_in_any_order_with_unknown_columns(tmp_path: Path) -> None:
    header = '"colour", campaign,"visitor_id",partner_id,program_id,brand_id ,occurred_at,event_id,type'
    line = f"red,spring,v1,bakery,acme-friends,acme,{AT + 1},k1,click"
    assert read(write(tmp_path / "a.csv", f"\ufeff\n{header}\n{line}\n")).events == {3: good()}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        (GOOD + "\n", "no such column"),
        ("event_id,brand_id\n", "no such column"),
        ("Type,event_id\n", "no such column"),
        ('type,"event_id\n', "damaged"),
        ("type,event_id,event_id\n", "`event_id` twice"),
        ("type,type\n", "`type` twice"),
    ],
)
def test_a_file_without_a_header_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(InputError, match=problem) as refusal:
        open_sources([str(path)])
    assert str(path) in str(refusal.value)


def test_a_header_alone_has_no_events(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.csv", HEADER)).events == {}


def test_times_as_text_and_as_numbers_mixed(tmp_path: Path) -> None:
    times = [str(AT + 1), "2026-01-01T00:00:00.001Z", "2025-12-31 19:00:00.0019-05:00", "2026-01-01T00:00:00"]
    lines = [GOOD.replace(str(AT + 1), at) for at in times]
    result = read(write(tmp_path / "a.csv", "\n".join([HEADER, *lines])))
    assert result.in_order == [good()] * 3
    assert result.reasons == {5: "invalid_field"}


@pytest.mark.parametrize("chunk_records", [1, 7, 1000])
def test_what_another_program_wrote(tmp_path: Path, chunk_records: int) -> None:
    events = [*mixed(40), order(41, coupon_code='x,"y"\nz'), refund(42)]
    names = list(dict.fromkeys(name for event in events for name in event))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(events)
    assert read(write(tmp_path / "a.csv", text.getvalue()), chunk_records).in_order == events


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from('a,"\n\r é\0')), min_size=2))
def test_a_record_is_split_as_the_csv_module_wrote_it(cells: list[str]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    assert split_record(text.getvalue()[:-1].encode()) == [cell.encode() for cell in cells]
