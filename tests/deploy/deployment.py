"""What docker-compose.yml describes, started on this machine without Docker: the same settings at other addresses.

Kafka's environment goes through the program with which its image turns it into a configuration and formats the disk.
ClickHouse is the HTTP front over the real engine. Our own commands get the file's arguments and environment.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.kafka.broker import _JVM, answers, free_port
from pipeline.kafka.kafka_jars import archive_flags, class_path, java
from tests.clickhouse.fronts import FrontProcess
from tests.deploy.composed import ROOT, environment_of, service
from tests.deploy.test_dockerfile import left_out
from tests.live.processes import Child, environment

PARTITIONS = 16


class ComposedKafka:
    """The service ``kafka``, with its ports and disk moved here."""

    def __init__(self, folder: Path) -> None:
        ports = {"19092": free_port(), "9092": free_port(), "9093": free_port()}
        self.bootstrap = f"127.0.0.1:{ports['19092']}"
        self.data = folder / "data"
        for name in ("default", "mounted", "final"):
            (folder / name).mkdir(parents=True)
        for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
            (folder / "default" / name).touch()
        given = {name: self._moved(value, ports) for name, value in environment_of("kafka").items()}
        folders = [
            part for name in ("default", "mounted", "final") for part in (f"--{name}-configs-dir", folder / name)
        ]
        jars = os.pathsep.join(map(str, class_path()))
        done = subprocess.run(
            [java(), *_JVM, "-cp", jars, "kafka.docker.KafkaDockerWrapper", "setup", *folders],
            env={**given, "PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        self.properties = folder / "final" / "server.properties"
        self.log = folder / "kafka.log"
        self.process = Child(
            [java(), *_JVM, *archive_flags(folder / "classes"), "-cp", jars, "kafka.Kafka", self.properties], self.log
        )
        until = time.monotonic() + 60
        while not answers(self.bootstrap):
            assert self.process.status() is None, self.log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < until, self.log.read_text(errors="replace")[-2000:]
            time.sleep(0.05)

    def _moved(self, value: str, ports: Mapping[str, int]) -> str:
        value = value.replace("/var/lib/kafka/data", str(self.data)).replace("kafka:", "127.0.0.1:")
        value = value.replace("://:", "://127.0.0.1:")  # all addresses are the container's; here this machine's alone
        return re.sub(r"(?<=:)(19092|9092|9093)\b", lambda match: str(ports[match[1]]), value)


def own_environment(name: str, kafka: str, clickhouse: str, folder: Path) -> dict[str, str]:
    """The environment of a service of ours, with its addresses and folders moved here."""
    moved = {
        "CROSSCREDIT_KAFKA_BOOTSTRAP": kafka, "CROSSCREDIT_CLICKHOUSE_URL": clickhouse,
        "CROSSCREDIT_FOLDER": str(folder / "state"),
        "CROSSCREDIT_CLICKHOUSE_PASSWORD_FILE": str(folder / "clickhouse-password"),
        "CROSSCREDIT_STATUS_PORT": str(free_port()), "CROSSCREDIT_STATUS_HOST": "127.0.0.1",
    }  # fmt: skip
    given = environment_of(name)
    return {**given, **{variable: value for variable, value in moved.items() if variable in given}}


def own_command(name: str, terms: Path) -> list[str]:
    """The arguments of a service of ours, with its terms moved here."""
    return [str(terms) if part == "/etc/crosscredit/terms" else part for part in service(name)["command"]]


# What the image lacks, this process lacks too.
_IN_THE_IMAGE = """
import sys
from importlib.abc import MetaPathFinder

lacks = sys.argv.pop(1).split(",")

class Lacking(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in lacks:
            raise ModuleNotFoundError(f"the image has no {name}", name=name)

sys.meta_path.insert(0, Lacking())
from pipeline.cli import main
main()
"""


class ComposedWorker:
    """The service ``worker``: its command and environment, and no package that its image lacks."""

    def __init__(self, given: Mapping[str, str], command: list[str], log: Path) -> None:
        self.port = int(given["CROSSCREDIT_STATUS_PORT"])
        self.log = log
        lacks = {package.replace("-", "_") for package in left_out()} - {"pip", "setuptools"}
        names = ",".join("vl_convert" if each == "vl_convert_python" else each for each in sorted(lacks))
        with log.open("wb") as written:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _IN_THE_IMAGE, names, *command], env={**environment(), **given}, cwd=ROOT,
                stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def answer(self, path: str) -> int:
        """The status with which it answers a path; 0 if it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=4) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def await_ready(self) -> None:
        until = time.monotonic() + 60
        while self.answer("/readyz") != 200:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.1)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(40)  # as compose waits


def findings(told: str) -> dict[str, list[dict[str, Any]]]:
    """The doctor's findings by check."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(told)["findings"]:
        found.setdefault(each["check"], []).append(each)
    return found


__all__ = [
    "PARTITIONS", "ComposedKafka", "ComposedWorker", "FrontProcess", "findings", "own_command", "own_environment",
]  # fmt: skip
