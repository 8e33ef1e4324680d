"""Prometheus and Alertmanager as apt brings them, and copies of the committed files to run them with."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.live.processes import ROOT, Child
from tests.live.stack import until

DEPLOY = ROOT / "deploy"

MUST_RUN = "TESTS_SKIP_NOTHING"
"""Set by .ci/run: what is not installed is then a failure. (Names that begin with CROSSCREDIT_ are settings.)"""


def tool(*names: str) -> str:
    """The path of a program under one of its names; the test is skipped where there is none."""
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    package = "prometheus" if names[0] in ("promtool", "prometheus") else "prometheus-alertmanager"
    missing = f"there is no {names[0]}: apt-get install --no-install-recommends {package}"
    if os.environ.get(MUST_RUN):
        pytest.fail(missing)
    pytest.skip(missing)


class Prometheus:
    """A real one over a copy of deploy/prometheus, quicker than it."""

    def __init__(self, folder: Path, port: int, worker_port: int, alertmanager_port: int) -> None:
        self._folder = folder
        self.port = port
        config = folder / "config"
        shutil.copytree(DEPLOY / "prometheus", config)
        path = config / "prometheus.yml"
        settings = yaml.safe_load(path.read_text())
        settings["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
        (alertmanagers,) = settings["alerting"]["alertmanagers"]
        alertmanagers["static_configs"][0]["targets"] = [f"127.0.0.1:{alertmanager_port}"]
        (scrape,) = settings["scrape_configs"]
        del scrape["dns_sd_configs"]
        scrape["static_configs"] = [{"targets": [f"127.0.0.1:{worker_port}"]}]
        path.write_text(yaml.safe_dump(settings))
        self._command = [
            tool("prometheus"), f"--config.file={path}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--rules.alert.resend-delay=3m",
        ]  # fmt: skip
        self._child: Child | None = None

    def start(self) -> None:
        self._child = Child(self._command, self._folder / "prometheus.log")
        until(lambda: answers(f"http://127.0.0.1:{self.port}/-/ready"), "Prometheus is ready")

    def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """The instant vector of an expression."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urlencode({'query': expression})}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: Any = json.load(answer)
        return [(each["metric"], float(each["value"][1])) for each in found["data"]["result"]]

    def end(self, number: int = 15) -> None:
        if self._child is not None:
            self._child.end(number)  # type: ignore[arg-type]
            self._child = None


class Alertmanager:
    """A real one over a copy of deploy/alertmanager, quicker than it, that calls ``urls`` by receiver."""

    def __init__(self, folder: Path, port: int, urls: Mapping[str, str]) -> None:
        self._folder = folder
        self.port = port
        shutil.copytree(DEPLOY / "alertmanager", folder / "config")
        (folder / "config" / "secrets").mkdir(exist_ok=True)
        path = folder / "config" / "alertmanager.yml"
        settings = yaml.safe_load(path.read_text())
        for route in (settings["route"], *settings["route"]["routes"]):
            route |= {"group_wait": "200ms", "group_interval": "1s"}
        for receiver in settings["receivers"]:
            for webhook in receiver["webhook_configs"]:
                webhook["url"] = urls[receiver["name"]]
                (path.parent / webhook["http_config"]["authorization"]["credentials_file"]).write_text(receiver["name"])
        path.write_text(yaml.safe_dump(settings))
        self._command = [
            tool("alertmanager", "prometheus-alertmanager"), f"--config.file={path}",
            f"--storage.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        ]  # fmt: skip
        self._child: Child | None = None

    def start(self) -> None:
        self._child = Child(self._command, self._folder / "alertmanager.log")
        until(lambda: answers(f"http://127.0.0.1:{self.port}/-/ready"), "Alertmanager is ready")

    def end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()  # noqa: S310
    except OSError:
        return False
    return True


def rules() -> Sequence[tuple[Path, Any]]:
    """Every rule, and the file that it is in."""
    return [
        (path, rule)
        for path in sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
