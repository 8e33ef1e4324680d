"""The command killed anywhere and run again gives what it gives when nobody kills it, byte for byte."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from tests.embedded.command import a_season, crosscredit, files, interrupted, killed_after, run_arguments

OUTCOMES = ("attributions", "referrals", "ledger_entries", "milestones", "clicks", "sign_ups", "orders", "refunds")


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_season(tmp_path_factory.mktemp("kill") / "season")


@pytest.fixture(scope="module")
def unharmed(season: Path) -> dict[str, bytes]:
    """What a run comes to that nobody interrupts."""
    output = season.parent / "unharmed"
    finished = crosscredit(*run_arguments(season, season.parent / "unharmed.db"), "--output", output)
    assert finished.returncode == 0, finished.stderr
    found = files(output)
    assert {f"{name}.jsonl" for name in OUTCOMES} <= found.keys()
    assert all(found[f"{name}.jsonl"] for name in OUTCOMES)
    return found


# Each is killed when the first rows of a table arrive, or up to 0.15 s later: while it reads, then while it decides the
# customers or folds the ledgers. Of the three kills of each, at least two must have hit.
@pytest.mark.parametrize("tables", [("sign_ups", "attributions"), ("referrals", "ledger_entries")], ids="-".join)
def test_killed_while_reading_and_deciding(
    season: Path, unharmed: dict[str, bytes], tmp_path: Path, tables: tuple[str, str]
) -> None:
    chooser = random.Random(f"{tables}")
    kills = 0
    for attempt in range(4):  # a machine that is busy elsewhere may let a run end before it is killed
        database, output = tmp_path / f"{attempt}.db", tmp_path / f"{attempt}"
        arguments = [*run_arguments(season, database), "--output", output]
        for table in ("clicks", *tables):
            status, _ = interrupted(arguments, database, table, chooser.choice((0.0, 0.01, 0.05, 0.15)), signal.SIGKILL)
            assert status in (0, -signal.SIGKILL)
            kills += status != 0
        finished = crosscredit(*arguments)
        assert finished.returncode == 0, finished.stderr
        assert files(output) == unharmed
        if kills >= 2:
            return
    pytest.fail("no run lived long enough to be killed")


def test_killed_at_any_time(season: Path, unharmed: dict[str, bytes], tmp_path: Path) -> None:
    """Even before there is a database."""
    chooser = random.Random(100)
    database, output = tmp_path / "db", tmp_path / "output"
    arguments = [*run_arguments(season, database), "--output", output]
    for _ in range(4):
        killed_after(arguments, chooser.uniform(0.2, 2.5))
    finished = crosscredit(*arguments)
    assert finished.returncode == 0, finished.stderr
    assert files(output) == unharmed


@pytest.mark.parametrize("table", ["clicks", "attributions"])
def test_ctrl_c_says_that_nothing_is_lost(season: Path, unharmed: dict[str, bytes], tmp_path: Path, table: str) -> None:
    for attempt in range(4):
        database, output = tmp_path / f"{attempt}.db", tmp_path / f"{attempt}"
        arguments = [*run_arguments(season, database), "--output", output]
        status, said = interrupted(arguments, database, table, 0.0, signal.SIGINT)
        assert status in (0, 130), said
        if status == 130:
            assert "Nothing is lost: run the same command again." in said
            assert "Traceback" not in said
            assert crosscredit(*arguments).returncode == 0
            assert files(output) == unharmed
            return
    pytest.fail("no run lived long enough to be interrupted")


def test_one_file_a_run_comes_to_the_same(season: Path, unharmed: dict[str, bytes], tmp_path: Path) -> None:
    """In any order. Of dead letters only the positions of duplicates may differ: of the copy read first."""
    inputs = sorted((season / "events").iterdir())
    random.Random(7).shuffle(inputs)
    middle = len(inputs) // 2
    database, output = tmp_path / "db", tmp_path / "output"
    for some in (inputs[:2], inputs[2:middle], inputs[middle:]):
        finished = crosscredit(*run_arguments(season, database, *some), "--output", output)
        assert finished.returncode == 0, finished.stderr
    found = files(output)
    for name in OUTCOMES:
        assert found[f"{name}.jsonl"] == unharmed[f"{name}.jsonl"], name
    dead, expected = (
        [line for line in each["dead_letters.jsonl"].splitlines() if b'"duplicate_order"' not in line]
        for each in (found, unharmed)
    )
    assert dead == expected


def test_the_same_input_again_changes_no_file(season: Path, unharmed: dict[str, bytes], tmp_path: Path) -> None:
    arguments = [*run_arguments(season, season.parent / "unharmed.db"), "--output", tmp_path / "again"]
    assert crosscredit(*arguments).returncode == 0
    assert files(tmp_path / "again") == unharmed
