"""`make secrets`: made once, kept, readable by the containers' users and by nobody else, and never in git."""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.deploy.composed import ROOT, composed

SCRIPT = ROOT / "deploy" / "make-secrets.sh"
USERS = {
    "crosscredit": "clickhouse-password",
    "crosscredit_admin": "clickhouse-admin-password",
    "crosscredit_grafana": "clickhouse-grafana-password",
}


def made(folder: Path) -> dict[str, str]:
    subprocess.run(["sh", SCRIPT, folder], check=True, capture_output=True, timeout=30)
    return {each.name: each.read_text(encoding="utf-8") for each in folder.iterdir()}


def test_all_that_compose_reads_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    first = made(folder)
    assert {Path(each["file"]).name for each in composed()["secrets"].values()} <= first.keys()
    assert made(folder) == first
    words = [text.strip() for name, text in first.items() if not name.endswith(".xml")]
    assert len(set(words)) == len(words)
    assert all(re.fullmatch("[0-9a-f]{48}", word) for word in words)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o444}
    examples = {each.name.removesuffix(".example") for each in (ROOT / "deploy" / "secrets").glob("*.example")}
    assert examples == first.keys()


def test_clickhouse_is_told_the_hashes_of_what_its_users_send(tmp_path: Path) -> None:
    secrets = made(tmp_path / "secrets")
    users = ElementTree.fromstring(secrets["clickhouse-users.xml"]).find("users")  # noqa: S314  our own file
    assert users is not None
    hashes = {user.tag: user.findtext("password_sha256_hex") for user in users}
    sent = {user: secrets[name].rstrip("\r\n") for user, name in USERS.items()}
    assert hashes == {user: hashlib.sha256(word.encode()).hexdigest() for user, word in sent.items()}


def test_a_secret_is_renewed_by_removing_it(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    before = made(folder)
    for name in ("grafana-admin-password", "clickhouse-password", "clickhouse-users.xml"):
        (folder / name).unlink()
    after = made(folder)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"grafana-admin-password", "clickhouse-password", "clickhouse-users.xml"}


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="no git checkout")
def test_git_ignores_secrets_and_keeps_examples() -> None:
    def is_ignored(path: str) -> bool:
        return subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0

    for secret in composed()["secrets"].values():
        path = str(Path(secret["file"]).relative_to(ROOT))
        assert is_ignored(path)
        assert not is_ignored(f"{path}.example")
    assert is_ignored(".env")
    assert not is_ignored("deploy/secrets/README.md")
