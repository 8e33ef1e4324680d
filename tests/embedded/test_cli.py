"""The command line: status 2 and a remedy for what cannot be used, status 0 for bad events."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import status_of
from pipeline.state.rocks import RocksStore
from tests.embedded.command import crosscredit
from tests.properties.world_terms import to_toml
from tests.reference.examples import click, day, order, program, sign_up

Fails = Callable[..., str]


@pytest.fixture
def terms(tmp_path: Path) -> Path:
    path = tmp_path / "terms.toml"
    path.write_text(to_toml(program()), encoding="utf-8")
    return path


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return write(tmp_path / "events.jsonl", click(day(1)), sign_up(day(2)), order(day(3)))


def write(path: Path, *events: object) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return path


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """Run the command in this process; it must exit with status 2. Returns what it said, in one line."""

    def run(*arguments: object) -> str:
        assert status_of([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        said = " ".join((captured.out + captured.err).replace("│", " ").split())
        assert "Traceback" not in said
        return said

    return run


# -- Status 2, with the remedy -----------------------------------------------------------------------------------------


def test_an_option_that_is_missing_is_named(fails: Fails, terms: Path) -> None:
    assert "--input" in fails("run", "--program", terms)


def test_an_option_or_command_that_is_misspelt_is_guessed(fails: Fails, terms: Path, events: Path) -> None:
    assert "Did you mean --output" in fails("run", "--program", terms, "--input", events, "--outptu", "x")
    assert 'Did you mean "run"' in fails("rum")


def test_a_file_that_is_not_there_is_named(fails: Fails, terms: Path, events: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.jsonl"
    said = fails("run", "--program", terms, "--input", events, missing)
    assert f"{missing}: there is no such file" in said
    assert "Check the path" in said
    assert "no such file" in fails("run", "--program", tmp_path / "missing.toml", "--input", events)


def test_a_suffix_that_is_not_known_is_answered_with_those_that_are(fails: Fails, terms: Path, tmp_path: Path) -> None:
    said = fails("run", "--program", terms, "--input", write(tmp_path / "events.txt"))
    assert "events.txt" in said
    for suffix in (".jsonl", ".csv", ".parquet", ".avro", ".gz", ".zst"):
        assert suffix in said


def test_a_file_whose_header_cannot_be_read_is_named(fails: Fails, terms: Path, tmp_path: Path) -> None:
    (tmp_path / "events.parquet").write_bytes(b"no parquet at all")
    assert "events.parquet" in fails("run", "--program", terms, "--input", tmp_path / "events.parquet")


def test_bad_terms_are_told_with_file_and_remedy_and_nothing_runs(fails: Fails, events: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(to_toml(program()).replace("rate_bps", "rate_bsp"), encoding="utf-8")
    said = fails("run", "--program", bad, "--input", events, "--database", tmp_path / "db")
    assert "bad.toml" in said
    assert "Did you mean rate_bps?" in said
    assert not (tmp_path / "db").exists()


def test_an_output_that_is_a_file_is_refused(fails: Fails, terms: Path, events: Path) -> None:
    said = fails("run", "--program", terms, "--input", events, "--output", events)
    assert "is a file" in said
    assert "Name a folder" in said
    assert events.read_text(encoding="utf-8").count("\n") == 3


def test_a_database_that_is_a_file_or_somebody_elses_folder_is_refused(
    fails: Fails, terms: Path, events: Path, tmp_path: Path
) -> None:
    assert "is a file" in fails("run", "--program", terms, "--input", events, "--database", events)
    said = fails("run", "--program", terms, "--input", events, "--database", tmp_path)
    assert "no database of crosscredit" in said
    assert "Name a new or an empty folder" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.jsonl", "terms.toml"]


def test_a_database_in_use_by_another_process_is_refused(terms: Path, events: Path, tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "db" / "state")  # this process is the other one
    found = crosscredit("run", "--program", terms, "--input", events, "--database", tmp_path / "db")
    store.close()
    assert found.returncode == 2
    assert "in use by another process" in found.stderr
    assert "--database" in found.stderr
    assert "Traceback" not in found.stderr


def test_explain_needs_a_database(fails: Fails, tmp_path: Path) -> None:
    assert "Name the folder" in fails("explain", "o1", "--database", tmp_path / "none")


# -- Status 0 ----------------------------------------------------------------------------------------------------------


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_bad_events_are_counted_and_listed_and_not_fatal(terms: Path, tmp_path: Path) -> None:
    good = (click(day(1)), sign_up(day(2)), order(day(3)))
    path = write(tmp_path / "events.jsonl", *good, order(day(4), currency="EUR", event_id="o2"), {"type": "nothing"})
    with path.open("ab") as file:
        file.write(b'{"type": "order"\n\n\xff\n')  # a broken line, a blank one, and one that is no UTF-8
    found = crosscredit("run", "--program", terms, "--input", path, "--output", tmp_path / "out")
    assert found.returncode == 0, found.stderr
    assert "7 records = 3 events + 0 repeats + 4 not accepted" in found.stdout
    dead = read(tmp_path / "out" / "dead_letters.jsonl")
    assert [row["reason"] for row in dead] == ["currency_mismatch", "malformed", "malformed", "malformed"]
    assert [row["amount_minor"] for row in read(tmp_path / "out" / "ledger_entries.jsonl")] == [1_000]


def test_standard_input_is_read(terms: Path, events: Path, tmp_path: Path) -> None:
    text = events.read_text(encoding="utf-8")
    found = crosscredit("run", "--program", terms, "--input", "-", "--output", tmp_path / "out", stdin=text)
    assert found.returncode == 0, found.stderr
    assert [row["share_bps"] for row in read(tmp_path / "out" / "attributions.jsonl")] == [10_000, 10_000]


def test_more_input_continues_and_explain_tells_why(terms: Path, tmp_path: Path) -> None:
    database, output = tmp_path / "db", tmp_path / "out"
    for number, event in enumerate((order(day(3)), sign_up(day(2)), click(day(1)))):
        path = write(tmp_path / f"{number}.jsonl", event)
        found = crosscredit("run", "--program", terms, "--input", path, "--database", database, "--output", output)
        assert found.returncode == 0, found.stderr
    assert [row["partner_id"] for row in read(output / "ledger_entries.jsonl")] == ["bakery"]
    told = crosscredit("explain", "o1", "--database", database)
    assert told.returncode == 0
    assert "Credited to Bakery 100 % in friends" in told.stdout
    unknown = crosscredit("explain", "nothing-of-that-name", "--database", database)
    assert unknown.returncode == 2
    assert "is not known" in unknown.stderr


def test_a_program_that_the_database_knows_must_be_given(terms: Path, events: Path, tmp_path: Path) -> None:
    assert crosscredit("run", "--program", terms, "--input", events, "--database", tmp_path / "db").returncode == 0
    other = tmp_path / "other.toml"
    other.write_text(to_toml(program("others")), encoding="utf-8")
    found = crosscredit("run", "--program", other, "--input", events, "--database", tmp_path / "db")
    assert found.returncode == 2
    assert "friends" in found.stderr
    assert "--program" in found.stderr


@pytest.mark.parametrize("command", ["run", "explain", "demo"])
def test_the_help_of_each_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of([command, "--help"]) == 0
    assert f"For example: crosscredit {command} " in " ".join(capsys.readouterr().out.split())
