"""docker-compose.yml: Docker Compose takes it, and it keeps to what a deployment is trusted for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import chdb
import pytest
import yaml
from cyclopts import App

from pipeline.cli import app
from pipeline.kafka.clients import KafkaSettings
from pipeline.kafka.kafka_jars import KAFKA_VERSION
from pipeline.settings import settings_of
from tests.deploy.composed import FILE, OURS, ROOT, compose, composed, environment_of, service

ONCE = ("topics", "migrate", "doctor", "audit")
SERVICES = sorted(composed()["services"])
BOUND = [
    (name, volume["source"], volume["target"], volume.get("read_only", False))
    for name in SERVICES
    for volume in service(name).get("volumes", ())
    if volume["type"] == "bind"
]


def test_docker_compose_takes_the_file_and_would_not_take_another(tmp_path: Path) -> None:
    """Compose checks a file against the schema of the specification before all else."""
    assert compose("config", "--quiet").returncode == 0
    for flaw, said in (
        ("services: {kafka: {imagee: a}}", "services.kafka.imagee"),
        ("services: {a: {image: b, depends_on: {c: {condition: service_healthy}}}}", "depends on undefined service"),
        ("services: {a: {image: b, secrets: [c]}}", "undefined secret"),
    ):
        other = tmp_path / "docker-compose.yml"
        other.write_text(flaw, encoding="utf-8")
        done = compose("config", "--quiet", file=other)
        assert done.returncode != 0
        assert said in done.stderr


def test_the_parts() -> None:
    assert {
        "kafka",
        "registry",
        "clickhouse",
        "topics",
        "migrate",
        "worker",
        "prometheus",
        "alertmanager",
        "grafana",
    } <= {*SERVICES}
    assert "version" not in yaml.safe_load(FILE.read_text(encoding="utf-8"))
    started = compose("config", "--services").stdout.split()  # without any profile: what counts, and nothing to look at
    assert sorted(started) == ["clickhouse", "kafka", "migrate", "topics", "worker"]
    assert {name: service(name).get("profiles") for name in SERVICES if service(name).get("profiles")} == {
        "registry": ["registry"], "prometheus": ["monitoring"], "alertmanager": ["monitoring"],
        "grafana": ["monitoring"], "doctor": ["tools"], "audit": ["tools"],
    }  # fmt: skip


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str) -> None:
    image, tag = service(name)["image"].rsplit(":", 1)
    if name in OURS:
        assert service(name)["build"]["dockerfile"] == "deploy/Dockerfile"
        assert tag == "local"
    else:
        assert "build" not in service(name)
        assert re.fullmatch(r"v?\d+(\.\d+){2,3}", tag), image


def test_the_images_are_of_the_versions_that_the_tests_run() -> None:
    assert service("kafka")["image"] == f"apache/kafka:{KAFKA_VERSION}"
    ours = ".".join(str(chdb.engine_version).split(".")[:2])
    assert service("clickhouse")["image"].startswith(f"clickhouse/clickhouse-server:{ours}.")


@pytest.mark.parametrize("name", SERVICES)
def test_nobody_outside_the_machine_reaches_a_port(name: str) -> None:
    assert all(port["host_ip"] == "127.0.0.1" for port in service(name).get("ports", ()))
    assert service(name).get("network_mode") is None
    assert service(name).get("privileged") is None


def test_no_two_services_publish_one_port() -> None:
    published = [port["published"] for name in SERVICES for port in service(name).get("ports", ())]
    assert sorted(published) == sorted(set(published))
    assert not service("worker").get("ports")  # a second worker could not have it


@pytest.mark.parametrize("name", SERVICES)
def test_what_runs_is_watched_and_what_ends_is_not(name: str) -> None:
    told = service(name)
    if name in ONCE:
        assert told["healthcheck"] == {"disable": True}
        assert told["restart"] in ("no", "on-failure:10")
        return
    assert told["restart"] == "unless-stopped"
    if name != "worker":  # its image has one: see test_dockerfile
        assert {"test", "interval", "timeout", "retries"} <= told["healthcheck"].keys()
    assert told["logging"]["options"]["max-size"]
    assert told["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_whoever_is_waited_for_says_when_it_is_ready(name: str) -> None:
    for other, how in service(name).get("depends_on", {}).items():
        ends = other in ("topics", "migrate")
        assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy")
        is_optional = bool(set(service(other).get("profiles", ())) - set(service(name).get("profiles", ())))
        assert how["required"] is not is_optional


def test_our_own_services_may_do_nothing_but_their_work() -> None:
    for name in OURS:
        told = service(name)
        assert told["cap_drop"] == ["ALL"]
        assert told["read_only"] is True
        writable = {volume["target"] for volume in told.get("volumes", ()) if not volume.get("read_only")}
        assert writable | set(told.get("tmpfs") or ()) <= {"/tmp", "/var/lib/crosscredit"}  # noqa: S108  in a container
    worker = {volume["target"]: volume for volume in service("worker")["volumes"]}
    assert "source" not in worker["/var/lib/crosscredit"]  # nameless: a folder for each worker


@pytest.mark.parametrize(("name", "source", "target", "read_only"), BOUND, ids=[f"{n}:{t}" for n, _, t, _ in BOUND])
def test_every_file_that_is_mounted_is_in_the_repository(name: str, source: str, target: str, read_only: bool) -> None:
    path = Path(source)
    assert path.is_relative_to(ROOT)
    assert path.exists(), f"{name} mounts {path}"
    assert path.is_file() or any(path.iterdir())
    assert read_only


def test_every_secret_comes_by_file_and_has_an_example() -> None:
    for secret in composed()["secrets"].values():
        path = Path(secret["file"])
        assert path.parent == ROOT / "deploy" / "secrets"
        assert path.with_name(f"{path.name}.example").is_file()
    for name in SERVICES:
        for variable in environment_of(name):
            is_secret = re.search("PASSWORD|TOKEN|SECRET|CREDENTIAL", variable)
            assert not is_secret or variable.endswith(("_FILE", "__FILE")), (name, variable)
            if is_secret:
                given = {f"/run/secrets/{each['source']}" for each in service(name)["secrets"]}
                assert environment_of(name)[variable] in given
    used = {each["source"] for name in SERVICES for each in service(name).get("secrets", ())}
    assert used == composed()["secrets"].keys()


@pytest.mark.parametrize("name", OURS)
def test_our_commands_and_settings_are_ones_that_crosscredit_has(name: str, tmp_path: Path) -> None:
    command, bound, _ = parsed(service(name)["command"])
    assert command.__name__ == {
        "topics": "topics_create_command", "migrate": "migrate_command", "worker": "worker_command",
        "doctor": "doctor_command", "audit": "audit_command",
    }[name]  # fmt: skip
    if "program" in bound:
        assert bound["program"] == ["/etc/crosscredit/terms"]
        assert "/etc/crosscredit/terms" in {volume["target"] for volume in service(name)["volumes"]}
    secret = tmp_path / "secret"
    secret.write_text("word\n", encoding="utf-8")
    environment = {
        key: str(secret) if key.endswith("_PASSWORD_FILE") else value for key, value in environment_of(name).items()
    }
    settings = settings_of(environment)
    assert settings.clickhouse_password == "word"
    assert settings.clickhouse_url == "http://clickhouse:8123"
    assert KafkaSettings.from_environment(environment).bootstrap == "kafka:19092"
    assert settings.registry == ""


def parsed(tokens: list[str]) -> tuple[Any, dict[str, Any], App]:
    command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    return command, dict(bound.arguments), app


def test_a_registry_is_used_by_all_of_ours_when_it_is_named(tmp_path: Path) -> None:
    done = compose(
        "--profile", "*", "config", "--format", "json",
        CROSSCREDIT_REGISTRY="http://registry:8081", CROSSCREDIT_TERMS=str(tmp_path), CROSSCREDIT_ALLOWED_LATENESS="1h",
    )  # fmt: skip
    told = yaml.safe_load(done.stdout)["services"]
    port = environment_of("registry")["KARAPACE_PORT"]
    for name in OURS:
        assert told[name]["environment"]["CROSSCREDIT_REGISTRY"] == f"http://registry:{port}"
        assert told[name]["environment"]["CROSSCREDIT_ALLOWED_LATENESS"] == "1h"
    assert str(tmp_path) in {volume.get("source") for volume in told["worker"]["volumes"]}


def test_the_example_of_env_names_only_variables_that_the_file_reads() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE))
    read = set(re.findall(r"\$\{([A-Z_]+)", FILE.read_text(encoding="utf-8")))
    assert named - {"COMPOSE_PROFILES"} == read
    profiles = {profile for name in SERVICES for profile in service(name).get("profiles", ())}
    assert set(re.findall(r"^COMPOSE_PROFILES=(.*)$", text, re.MULTILINE)[0].split(",")) <= profiles


def test_prometheus_asks_the_workers_where_they_answer() -> None:
    file = ROOT / "deploy" / "prometheus" / "prometheus.yml"
    jobs = {job["job_name"]: job for job in yaml.safe_load(file.read_text(encoding="utf-8"))["scrape_configs"]}
    (found,) = jobs["crosscredit"]["dns_sd_configs"]
    assert found["names"] == ["worker"]
    assert str(found["port"]) == environment_of("worker")["CROSSCREDIT_STATUS_PORT"] == service("worker")["expose"][0]
    assert environment_of("worker")["CROSSCREDIT_STATUS_HOST"] == "0.0.0.0"  # noqa: S104  inside of its container


def test_what_operations_md_says_to_add_can_be_added(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (added,) = re.findall(r"```yaml compose\n(.*?)```", text, re.DOTALL)
    override = tmp_path / "docker-compose.override.yml"
    override.write_text(added, encoding="utf-8")
    done = compose("--file", str(override), "--profile", "*", "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    worker = yaml.safe_load(done.stdout)["services"]["worker"]
    assert worker["environment"].items() >= environment_of("worker").items()
    assert "/etc/crosscredit/webhooks" in {volume["target"] for volume in worker["volumes"]}


def test_operations_md_names_every_image_with_its_tag() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for name in set(SERVICES) - set(OURS):
        assert f"`{service(name)['image']}`" in text
