"""The webhooks file: what it may say, and what is told of what it may not. Never a secret."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from pipeline.cli import status_of
from pipeline.domain.terms import Catalogue, Partner, Program, Terms
from pipeline.settings import SettingsError, settings_of
from pipeline.webhooks.endpoints import load_endpoints
from tests.live.processes import environment

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
TERMS = Terms("friends", "roastery", "USD", 1, 0, partners={"bakery": Partner("bakery", "Bakery")})
CATALOGUE = Catalogue.of([Program((TERMS,))])

GOOD = """
[[endpoint]]
name = "bakery"
url = "https://hooks.bakery.example/in"
secret_file = "secrets/bakery"
program = "friends"
partner = "bakery"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "bakery").write_text(f"{SECRET}\n")
    (tmp_path / "secrets" / "short").write_text("whsec_" + base64.b64encode(b"short").decode())
    return tmp_path


def written(folder: Path, text: str) -> Path:
    (folder / "webhooks.toml").write_text(text)
    return folder / "webhooks.toml"


def test_defaults(folder: Path) -> None:
    found = load_endpoints(written(folder, GOOD), CATALOGUE)
    (endpoint,) = found.all
    assert endpoint.secrets == (KEY,)
    assert not endpoint.allow_private
    assert len(endpoint.types) == 4
    assert not found.waits_for_finality
    assert SECRET not in repr(found)
    assert repr(KEY) not in repr(found)
    pauses = [found.pause_ms(attempts, 0.0) for attempts in (1, 2, 3, 10, 11, 500)]
    assert pauses == [5_000, 10_000, 20_000, 2_560_000, 3_600_000, 3_600_000]
    assert found.pause_ms(1, 0.99) >= 2_500


def test_everything_that_may_be_said(folder: Path) -> None:
    text = f"""announce = "final"
    first_retry = "1s"
    longest_retry = "10m"
    give_up_after = "1d"
    timeout = "3s"
    {GOOD}
    types = ["milestone.reached"]
    since = 2026-03-01T00:00:00+01:00
    at_once = 1
    allow_private = true
    """.replace('"secrets/bakery"', '["secrets/bakery", "secrets/bakery"]')
    found = load_endpoints(written(folder, text), CATALOGUE)
    (endpoint,) = found.all
    assert found.waits_for_finality
    assert (found.first_retry_ms, found.longest_retry_ms, found.give_up_after_ms) == (1_000, 600_000, 86_400_000)
    assert (endpoint.timeout_s, endpoint.at_once, endpoint.allow_private) == (3.0, 1, True)
    assert endpoint.secrets == (KEY, KEY)
    assert endpoint.since_ms == 1_772_319_600_000  # 2026-02-28T23:00:00Z


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("", ""), []),
        (("https://hooks.bakery.example/in", "http://127.0.0.1:80/in"), []),
        (("https://hooks.bakery.example/in", "http://hooks.bakery.example/in"), ["is not https", "allow_http = true"]),
        (("https://hooks.bakery.example/in", "https://10.0.0.7/in"), ["private network", "allow_private = true"]),
        (("https://hooks.bakery.example/in", "https://[fd00::1]/in"), ["private network"]),
        (("https://hooks.bakery.example/in", "https://169.254.169.254/latest"), ["private network"]),
        (("https://hooks.bakery.example/in", "https://me:word@hooks.example/"), ["user name or password"]),
        (("https://hooks.bakery.example/in", "ftp://hooks.example/"), ["Write https://host/path"]),
        (('program = "friends"', 'program = "enemies"'), ["no program 'enemies'", "Known are: friends"]),
        (('partner = "bakery"', 'partner = "baker"'), ["friends has no partner 'baker'"]),
        (('name = "bakery"', 'name = "the bakery"'), ["Rename it"]),
        (('name = "bakery"', 'name = "bakery"\ncolour = 3'), ["colour", "docs/webhooks.md"]),
        (('name = "bakery"', "name = 3"), ["line 3", "endpoint[1].name"]),
        (('name = "bakery"', ""), ["name"]),
        (('"secrets/bakery"', '"secrets/none"'), ["endpoint bakery", "No such file", "openssl rand"]),
        (('"secrets/bakery"', '"secrets/short"'), ["it holds none", "openssl rand"]),
        (('"secrets/bakery"', "[]"), ["no secret_file"]),
        (('partner = "bakery"', 'types = ["milestone.lost"]'), ["no type 'milestone.lost'"]),
        (("\n[[endpoint]]", 'timeout = "soon"\n[[endpoint]]'), ["timeout", "'soon'", "24h"]),
        (("\n[[endpoint]]", 'timeout = "0s"\n[[endpoint]]'), ["timeout is 0"]),
        (("\n[[endpoint]]", 'announce = "loudly"\n[[endpoint]]'), ["line 1", "announce"]),
        (("[[endpoint]]", "[[endpoint"), ["is not TOML"]),
        ((GOOD, ""), ["there is no [[endpoint]]"]),
        ((GOOD, GOOD + GOOD), ["is there 2 times"]),
    ],
)  # fmt: skip
def test_what_it_may_not_say(folder: Path, change: tuple[str, str], says: list[str]) -> None:
    path = written(folder, GOOD.replace(*change) if change[0] else GOOD)
    if not says:
        assert load_endpoints(path, CATALOGUE).all
        return
    with pytest.raises(SettingsError) as error:
        load_endpoints(path, CATALOGUE)
    assert str(folder) in str(error.value)
    for words in says:
        assert words in str(error.value)
    assert SECRET not in str(error.value)


def test_commands_that_cannot_be_run_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
    for command, says in (
        (["worker", "--program", "docs/terms-example.toml", "--steps", "notify"], "--webhooks webhooks.toml"),
        (["webhooks", "resend"], "or --dead"),
        (["webhooks", "resend", "msg_1", "--dead"], "one of the two"),
    ):
        assert status_of(command) == 2
        assert says in capsys.readouterr().err


def test_loopback_needs_no_flag_and_a_file_that_is_not_there_is_told(folder: Path) -> None:
    text = GOOD.replace("https://hooks.bakery.example/in", "http://127.0.0.1:8080/in")
    assert load_endpoints(written(folder, text), CATALOGUE).all[0].allow_private
    with pytest.raises(SettingsError, match="--webhooks"):
        load_endpoints(folder / "none.toml", CATALOGUE)
    assert settings_of({"CROSSCREDIT_WEBHOOKS": "a/b.toml"}).webhooks == Path("a/b.toml")
