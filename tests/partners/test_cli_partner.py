"""The commands, from the command line to the engine."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli import status_of
from tests.clickhouse.fronts import FrontProcess
from tests.partners.stage import BASE, FIRST, SECOND, TERMS, Stage, crosscredit

UNUSABLE = 2


def test_adding_twice_is_adding_once(stage: Stage) -> None:
    (status, said), (again, said_again) = stage.told["add"], stage.told["again"]
    assert (status, again) == (0, 0)
    assert said.startswith(said_again)
    for scope in (FIRST, SECOND):
        assert f"{scope.program_id} {scope.partner_id}: user and database {scope.name}" in said
    assert said.count("Its password is as before.") == 2


def test_a_new_password_goes_to_a_file_or_is_shown_once(stage: Stage) -> None:
    status, said = stage.told["renew to a file"]
    assert status == 0
    path = stage.secrets / f"{FIRST.name}.password"
    assert f"Its password is in {path}." in said
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    password = path.read_text(encoding="utf-8").strip()
    assert len(password) == 43
    assert password not in said
    status, shown = stage.told["renew"]
    assert status == 0
    [other] = re.findall(r"password ([\w-]{43})$", shown, re.MULTILINE)
    assert other != password
    for secret in (password, other):
        assert secret not in stage.noted  # the server is told a hash
        assert secret not in "".join(text for name, (_, text) in stage.told.items() if name != "renew")
    assert stage.noted.count(f"ALTER USER `{FIRST.name}` IDENTIFIED WITH sha256_hash BY") == 2


def test_the_list_tells_what_is_whole_and_what_is_not(stage: Stage) -> None:
    """The engine's users come from a file, which cannot say three things: just these are told, of all there is."""
    status, said = stage.told["list"]
    assert status == 1
    lines = said.splitlines()
    assert len(lines) == 3
    for scope, line in zip((FIRST, SECOND), lines, strict=False):
        start = f"{scope.program_id} {scope.partner_id}: user {scope.name}, not whole: "
        assert line.startswith(start)
        assert [re.sub(r" on .*", "", each) for each in line.removeprefix(start).split("; ")] == [
            "the limit max_execution_time",
            "the partner has no row policy",
            "the partner has a row policy that is not restrictive",
            "the views' owner has a row policy that is not restrictive",
        ]
        assert f"the partner has no row policy on {BASE}.*, {BASE}_partners.*;" in line
    assert lines[2] == "acme-friends florist: no access"
    _, broken = stage.told["list of what is broken"]
    for wrong in (
        "the view partner_ledger is not what it should be",
        f"the view partner_ledger does not read as {FIRST.owner}",
        "no view partner_missed",
        "stray in the partner's database is not of this version",
    ):
        assert f"; {wrong};" in broken.splitlines()[0]
        assert wrong not in said


def test_removing_takes_all_of_it_away(stage: Stage) -> None:
    """Tried on a partner of its own, whose users the engine could not store: databases, views and the list are real."""
    assert stage.told["remove"] == (0, "acme-friends florist: removed\n")
    assert stage.told["remove again"] == (0, "acme-friends florist: had no access\n")
    assert stage.told["databases"] == (0, f"{BASE}\n{FIRST.name}\n{SECOND.name}\n{BASE}_partners\nplain\n")
    _, listed = stage.told["list after removal"]
    assert [line.split(":")[0] for line in listed.splitlines()] == ["acme-friends bakery", "acme-friends roaster"]


@pytest.fixture(scope="module")
def front() -> Iterator[FrontProcess]:
    """The ClickHouse of `crosscredit stack`, which knows no users."""
    front = FrontProcess()
    with front.open(BASE) as warehouse:
        warehouse.migrate()
    yield front
    front.close()


@pytest.fixture
def terms(tmp_path: Path) -> str:
    path = tmp_path / "terms.toml"
    path.write_text(TERMS, encoding="utf-8")
    return str(path)


def test_errors_name_the_remedy(front: FrontProcess, terms: str, tmp_path: Path) -> None:
    for arguments, said in (
        (
            ["acme-friends", "stranger"],
            "acme-friends has no partner 'stranger'. Its partners are bakery, florist, roaster.",
        ),
        (["nowhere", "bakery"], "The terms have no program 'nowhere'. They have acme-friends."),
        (["acme-friends"], "Name at least one partner after the program"),
        (["acme-friends", "bakery"], "The ClickHouse that `crosscredit stack` starts has no users at all"),
        (["acme-friends", "bakery", "--clickhouse-database", "none"], "has no database none"),
        (["acme-friends", "bakery", "--clickhouse-url", "http://127.0.0.1:9"], "Is it up? Try again."),
        (["acme-friends", "bakery", "--grafana", "http://127.0.0.1:9"], "CROSSCREDIT_GRAFANA_PASSWORD_FILE"),
        (["acme-friends", "bakery", "--dashboard", str(tmp_path / "no.json")], "Name a file of dashboards/."),
        (["acme-friends", "bakery", "--grafana-clickhouse", "x y"], "Write HOST:9000, as Grafana reaches it."),
    ):
        status, printed = crosscredit(front, "add", *arguments, "--program", terms)
        assert status == UNUSABLE, arguments
        assert said in printed.replace("\n", " "), arguments
    assert crosscredit(front, "list") == (0, "Nobody has access. `crosscredit partner add` gives it.\n")


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("add", "remove", "list"):
        assert status_of(["partner", command, "--help"]) == 0
        assert f"For example: crosscredit partner {command}" in capsys.readouterr().out
