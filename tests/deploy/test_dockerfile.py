"""deploy/Dockerfile: hadolint finds nothing, it keeps to what was promised, and its files make a whole wheel."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from pipeline.clickhouse.schema import packaged_migrations
from tests.deploy.composed import ROOT, environment_of, service

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
LINES = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()


def instructions(stage: str) -> list[tuple[str, str]]:
    """What a stage says, in order: the instruction and its arguments."""
    found, here = [], ""
    for line in LINES:
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            here = rest.split()[-1]
        elif word and word != "#" and here == stage:
            found.append((word, " ".join(rest.split())))
    return found


def base_of(stage: str) -> str:
    (base,) = (line.split()[1] for line in LINES if re.fullmatch(rf"FROM \S+ AS {stage}", line))
    return base


def only(stage: str, word: str) -> str:
    (rest,) = (rest for each, rest in instructions(stage) if each == word)
    return rest


def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    flawed = tmp_path / "Dockerfile"
    flawed.write_text("FROM python:latest\nRUN cd /tmp\n", encoding="utf-8")
    for file, is_clean in ((DOCKERFILE, True), (flawed, False)):
        done = subprocess.run(
            [hadolint, "--no-color", "--failure-threshold", "style", file], capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) is is_clean, done.stdout


def test_it_is_built_from_one_pinned_python_the_one_that_is_tested() -> None:
    bases = {base_of(stage) for stage in ("build", "base")}
    (base,) = bases
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", base)
    assert base.startswith(f"python:{sys.version_info.major}.{sys.version_info.minor}.")


def test_everything_that_is_installed_is_checked_by_its_hash_or_was_built_there() -> None:
    runs = [rest for stage in ("build", "live", "base") for word, rest in instructions(stage) if word == "RUN"]
    installs = [part for run in runs for part in run.split("&&") if " pip install " in part]
    assert len(installs) == 3
    for each in installs:
        assert "--require-hashes" in each or ("--no-index" in each and "--no-deps" in each)
    assert not any(re.search(r"\b(apt|apt-get|curl|wget|git)\b", run) for run in runs)


def test_it_runs_as_nobody_special_and_ends_when_it_is_told() -> None:
    assert int(only("base", "USER")) > 0
    assert f"--uid {only('base', 'USER')} " in only("base", "RUN")
    assert only("base", "STOPSIGNAL") == "SIGTERM"
    assert json.loads(only("base", "ENTRYPOINT")) == ["crosscredit"]  # no shell between it and the signal
    last = [line for line in LINES if line.startswith("FROM")][-1]
    assert last == "FROM base AS worker"  # what is built unless somebody says otherwise
    assert service("worker")["build"]["target"] == "worker"
    assert [word for word, _ in instructions("worker")] == ["COPY"]


def test_its_health_is_asked_where_the_worker_answers() -> None:
    check = only("base", "HEALTHCHECK")
    port = environment_of("worker")["CROSSCREDIT_STATUS_PORT"]
    assert f"http://127.0.0.1:{port}/healthz" in check
    assert f"CROSSCREDIT_STATUS_PORT={port}" in only("base", "ENV")
    assert only("base", "EXPOSE") == port
    assert only("base", "VOLUME") == environment_of("worker")["CROSSCREDIT_FOLDER"]


def test_what_is_left_out_of_the_small_image_is_nothing_that_it_imports() -> None:
    """Also: tests/deploy/test_deployment.py runs the worker without them."""
    for package in left_out():
        assert re.search(rf"^{package}==", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE) or (
            package in ("setuptools", "pip")
        )


def left_out() -> list[str]:
    """The packages that the stage `live` takes away."""
    found = re.findall(r"pip uninstall --yes ([^&]*)", only("live", "RUN"))
    return [package for each in found for package in each.split()]


def test_the_context_holds_what_is_copied_and_no_secrets() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    assert [rule for rule in rules if rule and not rule.startswith(("#", "!"))] == ["*", "**/__pycache__"]
    copied = {each for word, rest in instructions("build") if word == "COPY" for each in rest.split()[:-1]}
    assert copied == set(kept)
    assert not any(fnmatch.fnmatch("deploy/secrets/clickhouse-password", f"{rule}*") for rule in kept)


def test_the_wheel_that_it_builds_has_all_that_a_deployment_reads(tmp_path: Path) -> None:
    """The same command over the same files, with the build tools that are pinned for it."""
    source = tmp_path / "src"
    for word, rest in instructions("build"):
        if word == "COPY" and "lock" not in rest:
            for each in rest.split()[:-1]:
                ignored = shutil.ignore_patterns("__pycache__")
                if (ROOT / each).is_dir():
                    shutil.copytree(ROOT / each, source / each, ignore=ignored)
                else:
                    source.mkdir(exist_ok=True)
                    shutil.copy(ROOT / each, source / each)
    (command,) = re.findall(r"/opt/build/bin/python (-m pip wheel [^&]*)", instructions("build")[-1][1])
    subprocess.run([sys.executable, *command.split()], cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = (source / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    migrations = {f"pipeline/clickhouse/migrations/{each.name}" for each in packaged_migrations()}
    schemas = {f"pipeline/{each.relative_to(ROOT)}" for each in (ROOT / "schemas").rglob("*.*")}
    assert migrations | schemas <= names
    assert not any("secret" in name or name.startswith(("tests/", "deploy/")) for name in names)
