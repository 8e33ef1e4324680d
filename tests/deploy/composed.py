"""docker-compose.yml as Docker Compose itself reads it: merged, with its variables filled in, every profile on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMPOSE = Path(sys.executable).with_name("docker-compose")

FILE = ROOT / "docker-compose.yml"
OURS = ("topics", "migrate", "worker", "doctor", "audit")


def compose(*arguments: str, file: Path = FILE, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Docker Compose, without any Docker. Variables of this process that it would read are left out."""
    environment = {name: value for name, value in os.environ.items() if not re.match("COMPOSE_|CROSSCREDIT_", name)}
    return subprocess.run(
        [COMPOSE, "--project-directory", ROOT, "--env-file", os.devnull, "--file", file, *arguments],
        env={**environment, **variables}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@cache
def composed() -> dict[str, Any]:
    """The whole file, resolved."""
    done = compose("--profile", "*", "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    resolved: dict[str, Any] = json.loads(done.stdout)
    return resolved


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = composed()["services"][name]
    return found


def environment_of(name: str) -> dict[str, str]:
    """A service's environment, as its process sees it."""
    return {key: "" if value is None else str(value) for key, value in (service(name).get("environment") or {}).items()}
