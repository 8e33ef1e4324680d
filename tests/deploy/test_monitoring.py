"""The real Prometheus and Alertmanager start by the compose file's commands, with the files that it mounts."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.kafka.broker import free_port
from tests.deploy.composed import ROOT, service
from tests.live.processes import Child

PROGRAMS = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}  # as Debian calls them


@contextmanager
def started(name: str, folder: Path) -> Iterator[int]:
    """The service, its data moved to ``folder`` and its mounted files to where the compose file has them from."""
    program = shutil.which(PROGRAMS[name])
    if program is None:
        pytest.skip(f"there is no {PROGRAMS[name]} here: apt-get install --no-install-recommends {PROGRAMS[name]}")
    moved = {volume["target"]: volume.get("source", "") for volume in service(name)["volumes"]}
    config = folder / "config"
    for target, source in moved.items():
        if not target.startswith("/etc/"):
            continue
        put = config / Path(target).relative_to(f"/etc/{name}")
        if Path(source).is_dir():
            shutil.copytree(source, put, dirs_exist_ok=True)
        else:
            put.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, put)
    secrets = folder / "secrets"
    subprocess.run(["sh", ROOT / "deploy/make-secrets.sh", secrets], check=True, capture_output=True, timeout=30)
    for each in service(name).get("secrets", ()):
        put = config / Path(each["target"]).relative_to(f"/etc/{name}")
        put.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(secrets / each["source"], put)
    port = free_port()
    command = [
        part.replace(f"/etc/{name}", str(config)).replace(f"=/{name}", f"={folder / 'data'}")
        for part in service(name)["command"]
    ]
    extra = [f"--web.listen-address=127.0.0.1:{port}"]
    if name == "alertmanager":
        extra.append("--cluster.listen-address=")  # alone
    process = Child([program, *command, *extra], folder / "log")
    try:
        *_, health = service(name)["healthcheck"]["test"]
        path = health.partition("127.0.0.1:")[2].partition("/")[2]
        until = time.monotonic() + 60
        while not answers(f"http://127.0.0.1:{port}/{path}"):
            assert process.status() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.1)
        yield port
    finally:
        process.end(signal.SIGTERM)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=4) as answer:  # noqa: S310  127.0.0.1
            return bool(answer.status == 200)
    except OSError:
        return False


def asked(url: str) -> dict[str, object]:
    until = time.monotonic() + 30
    while not answers(url):  # healthy comes before ready
        assert time.monotonic() < until
        time.sleep(0.1)
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  127.0.0.1
        found: dict[str, object] = json.loads(answer.read())
        return found


def test_prometheus(tmp_path: Path) -> None:
    with started("prometheus", tmp_path) as port:
        rules = json.dumps(asked(f"http://127.0.0.1:{port}/api/v1/rules"))
        assert "MilestoneReached" in rules
        flags = asked(f"http://127.0.0.1:{port}/api/v1/status/flags")["data"]
        assert isinstance(flags, dict)
        assert flags["rules.alert.resend-delay"] == "3m"
        config = json.dumps(asked(f"http://127.0.0.1:{port}/api/v1/status/config"))
        assert f"alertmanager:{service('alertmanager')['ports'][0]['target']}" in config


def test_alertmanager(tmp_path: Path) -> None:
    with started("alertmanager", tmp_path) as port:
        status = asked(f"http://127.0.0.1:{port}/api/v2/status")
        assert "milestones" in json.dumps(status["config"])
