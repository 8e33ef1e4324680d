import hashlib
import json
import tomllib
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.demo.cast import SEASON_END_MS, SEASON_START_MS, terms_files, utc_ms
from pipeline.demo.mishaps import REASONS
from pipeline.demo.season import LEAST_EVENTS, SeasonTruth, check_season, write_season
from pipeline.terms_files import load_catalogue
from tests.demo.season_events import answers, figures, lines, read_events
from tests.reference.oracle import compute


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SeasonTruth]:
    folder = tmp_path_factory.mktemp("season")
    return folder, write_season(folder, events=LEAST_EVENTS)


def test_the_terms_are_valid():
    catalogue = load_catalogue(terms_files())
    assert len(catalogue.programs) == 6
    assert len(catalogue.programs["cheese-board"].versions) == 2
    assert {program.currency for program in catalogue.programs.values()} == {"GBP", "EUR"}
    assert len({program.time_zone for program in catalogue.programs.values()}) == 2


def test_brands_are_partners_under_their_own_ids():
    catalogue = load_catalogue(terms_files())
    for brand in catalogue.by_brand:
        assert any(brand in program.partner_ids for program in catalogue.programs.values())


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path):
    assert write_season(tmp_path / "a", seed=7, events=4_000) == write_season(tmp_path / "b", seed=7, events=4_000)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_nothing_is_left_of_a_season_that_was_there_before(tmp_path: Path):
    write_season(tmp_path / "a", seed=7, events=9_000)
    write_season(tmp_path / "a", seed=7, events=LEAST_EVENTS)
    write_season(tmp_path / "b", seed=7, events=LEAST_EVENTS)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_another_seed_tells_another_season(tmp_path: Path):
    write_season(tmp_path / "a", seed=7, events=LEAST_EVENTS)
    write_season(tmp_path / "b", seed=8, events=LEAST_EVENTS)
    assert (
        hashes(tmp_path / "a")["events/checkout-orders-2025.jsonl"]
        != (hashes(tmp_path / "b")["events/checkout-orders-2025.jsonl"])
    )


def test_the_season_has_as_many_records_as_asked_for(tmp_path: Path):
    truth = write_season(tmp_path, events=5_000)
    assert sum(1 for _ in lines(tmp_path)) == truth.records == 5_000
    stands = sum(figure[0] for name, figure in figures(truth, "events").items() if "unknown" not in name)
    assert stands + truth.repeats + sum(truth.dead_letters.values()) == truth.records


def test_too_small_a_season_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="at least 3000"):
        write_season(tmp_path, events=100)


def test_every_reason_is_there(season: tuple[Path, SeasonTruth]):
    _, truth = season
    assert set(truth.dead_letters) == set(REASONS)


@pytest.mark.parametrize(("seed", "events"), [(1, LEAST_EVENTS), (2026, 9_000)])
def test_the_generator_knows_what_the_reference_finds(tmp_path: Path, seed: int, events: int):
    truth = write_season(tmp_path, seed=seed, events=events)
    programs = [tomllib.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "programs").iterdir()]
    admitted, refused = read_events(tmp_path)
    outcomes = compute(programs, admitted)
    assert check_season(truth, lambda sql: answers(outcomes, refused, sql)) == []
    assert truth.number_of_figures > 200


def test_differences_are_told_in_words(season: tuple[Path, SeasonTruth]):
    _, truth = season
    reached_at = datetime(2025, 12, 1, tzinfo=UTC)
    found = {"dead_letters": [(reason, count) for reason, count in truth.dead_letters.items()]}
    found["dead_letters"][0] = ("malformed", 99)
    found["milestones"] = [("p", "m", "*", "all", "reached", 5, reached_at, None)]

    def query(sql: str) -> list[tuple[object, ...]]:
        return next((rows for table, rows in found.items() if f"current_{table}" in sql), [])

    differences = check_season(truth, query)
    malformed = truth.dead_letters["malformed"]
    assert f"dead letters, malformed: the generator knows {malformed}, the tables say 99" in differences
    milestone = "in p: milestone m of * in all (status, count, reached at, revoked at)"
    assert f"{milestone}: the generator knows nothing, the tables say reached, 5, 1764547200000, none" in differences


def test_the_truth_is_written_and_read_again(season: tuple[Path, SeasonTruth]):
    folder, truth = season
    assert SeasonTruth.read(folder / "truth.json") == truth


@pytest.mark.parametrize("events", [LEAST_EVENTS, 12_000])
def test_featured_partners_fare_the_same_in_every_season(tmp_path: Path, events: int):
    truth = write_season(tmp_path, seed=events, events=events)
    milestones, referrals = figures(truth, "milestones"), figures(truth, "referrals")
    assert milestones["bakery-table|fifty-together|cheesemonger+florist|all"] == ("open", 38, None, None)
    status, count, reached_at, revoked_at = milestones["florist-creators|dozen|deal-scout|all"]
    assert (status, count) == ("revoked", 10)
    assert reached_at < utc_ms(2025, 12, 31) < revoked_at
    assert referrals["bakery-table|fresh-crumbs|qualified"] == (4,)
    assert referrals["florist-creators|green-thumb-gus|qualified"] == (6,)
    assert referrals["bakery-table|deal-scout|reversed"] == (7,)
    assert truth.commission_minor("bakery-table", "roaster") > 0
    assert len(truth.showcases) == 6


def test_exports_are_hostile(season: tuple[Path, SeasonTruth]):
    folder, truth = season
    events, _ = read_events(folder)
    first_click = next(number for number, event in enumerate(events) if event["type"] == "click")
    assert first_click > 300  # sign-ups and orders come before the clicks that they depend on
    times = [event["occurred_at"] for event in events]
    backwards = sum(later < earlier for earlier, later in pairwise(times))
    assert backwards > len(times) // 10
    assert truth.late > 0
    assert truth.repeats > 0
    assert {type(json.loads(line).get("occurred_at")) for line in lines(folder) if line[:14] == b'{"type":"order'} == {
        int
    }
    assert any(path.suffix == ".gz" for path in (folder / "events").iterdir())


def test_events_happen_within_the_season(season: tuple[Path, SeasonTruth]):
    folder, _ = season
    events, _ = read_events(folder)
    assert min(event["occurred_at"] for event in events) >= SEASON_START_MS
    assert max(event["occurred_at"] for event in events) < SEASON_END_MS + 30_000  # a retry's stamp
