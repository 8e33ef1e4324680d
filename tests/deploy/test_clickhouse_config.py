"""ClickHouse's configuration, read by the real engine: it starts with it, and with no flaw in it.

The embedded engine has one user of its own and listens nowhere, so who may log in, and grants in force, are not tried.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.doctor.clickhouse import GRANTS
from tests.deploy.composed import ROOT, environment_of, service

CONFIG = (ROOT / "deploy/clickhouse/config.d/crosscredit.xml").read_text(encoding="utf-8")
USERS = (ROOT / "deploy/clickhouse/users.d/crosscredit.xml").read_text(encoding="utf-8")
OTHERS = [each for each in (ROOT / "deploy/clickhouse/users.d").glob("*.xml") if each.name != "crosscredit.xml"]
START = """
import chdb, os, sys
print(chdb.connect(sys.argv[1]).query("SELECT 1", "TSV").bytes().decode(), flush=True)
os._exit(0)  # to end the engine in order takes seconds
"""
PLAIN_USERS = """<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default>
<password></password><profile>default</profile><networks><ip>::/0</ip></networks></default></users></clickhouse>"""
GRANT = re.compile(r"<query>(.*)</query>")


def starts(folder: Path, config: str, users: str) -> bool:
    """Whether the engine starts, with the files where the compose file puts them beside a server's own."""
    for name in ("config.d", "users.d"):
        (folder / name).mkdir(parents=True)
    secrets = folder / "secrets"
    subprocess.run(["sh", ROOT / "deploy/make-secrets.sh", secrets], check=True, capture_output=True, timeout=30)
    own = f"<clickhouse><users_config>{folder}/users.xml</users_config></clickhouse>"
    (folder / "config.xml").write_text(own, encoding="utf-8")
    (folder / "users.xml").write_text(PLAIN_USERS, encoding="utf-8")
    (folder / "config.d/crosscredit.xml").write_text(config, encoding="utf-8")
    (folder / "users.d/crosscredit.xml").write_text(users, encoding="utf-8")
    for each in OTHERS:
        # The embedded engine does not heed settings_constraints_replace_previous, without which it refuses this word.
        text = each.read_text(encoding="utf-8").replace("<changeable_in_readonly/>", "")
        (folder / "users.d" / each.name).write_text(text, encoding="utf-8")
    passwords = (secrets / "clickhouse-users.xml").read_text(encoding="utf-8")
    (folder / "users.d/crosscredit-passwords.xml").write_text(passwords, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", START, f"{folder}/data?config-file={folder}/config.xml"], capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0 and "1" in done.stdout


def test_the_engine_starts_with_it(tmp_path: Path) -> None:
    assert starts(tmp_path, CONFIG, USERS)


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("<profile>workers<", "<profile>nobody<"),
        ("GRANT SELECT, INSERT", "GRANT SELEKT, INSERT"),
    ],
    ids=["a profile that there is not", "a grant that is misspelt"],
)
def test_it_does_not_start_with_a_flaw(what: str, instead: str, tmp_path: Path) -> None:
    assert what in USERS
    assert not starts(tmp_path, CONFIG, USERS.replace(what, instead))


def test_the_workers_user_is_granted_what_the_doctor_asks_for() -> None:
    granted = {
        grant.strip() for query in GRANT.findall(USERS) if query.endswith(" ON crosscredit.*")
        for grant in query.removeprefix("GRANT ").partition(" ON ")[0].split(",")
    }  # fmt: skip
    covered = {grant if grant in granted else grant.split()[0] for grant in GRANTS}  # ALTER holds ALTER TABLE
    assert covered <= granted
    assert environment_of("worker")["CROSSCREDIT_CLICKHOUSE_USERNAME"] == "crosscredit"
    assert environment_of("worker")["CROSSCREDIT_CLICKHOUSE_DATABASE"] == "crosscredit"


def test_every_grant_is_one_that_the_engine_knows() -> None:
    with Warehouse.embedded(None) as warehouse:
        for query in GRANT.findall(USERS):
            warehouse.query("SELECT formatQuery({sql:String})", {"sql": f"{query} TO crosscredit"})


def test_what_may_be_changed_by_users_that_only_read_is_allowed() -> None:
    if any("<changeable_in_readonly/>" in each.read_text(encoding="utf-8") for each in OTHERS):
        assert "<settings_constraints_replace_previous>true<" in CONFIG


def test_compose_mounts_these_files_and_the_passwords_beside_them() -> None:
    targets = {volume["target"] for volume in service("clickhouse")["volumes"]}
    for folder in ("config.d", "users.d"):
        for each in (ROOT / "deploy/clickhouse" / folder).iterdir():
            assert f"/etc/clickhouse-server/{folder}/{each.name}" in targets
    (secret,) = service("clickhouse")["secrets"]
    assert secret["target"].startswith("/etc/clickhouse-server/users.d/")
