"""The committed files of Prometheus and Alertmanager: the tools accept them, and they speak of what there is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from pipeline.metrics import ANSWERS, ENDS, Metrics
from tests.alerts.tools import DEPLOY, rules, tool
from tests.docs.test_docs import anchors

HERE = Path(__file__).parent
TESTED = sorted(HERE.glob("*.test.yml"))
ALERTS = {rule["alert"]: rule for _, rule in rules() if "alert" in rule}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def run(*command: object) -> str:
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_promtool_accepts_the_configuration_and_every_rule() -> None:
    said = run(tool("promtool"), "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    for path in {path for path, _ in rules()}:
        assert f"Checking {path}" in said


@pytest.mark.parametrize("path", TESTED, ids=lambda path: path.name)
def test_the_rules_do_what_they_should(path: Path) -> None:
    run(tool("promtool"), "test", "rules", path)


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    fires: set[str] = set()
    for path in TESTED:
        for each in yaml.safe_load(path.read_text())["tests"]:
            fires |= {one["alertname"] for one in each.get("alert_rule_test", ()) if one["exp_alerts"]}
            fires |= {
                name for one in each.get("promql_expr_test", ()) if one["exp_samples"]
                for name in re.findall(r'alertname="(\w+)"', one["expr"])
            }  # fmt: skip
    assert fires == set(ALERTS)


def test_amtool_accepts_the_routes_and_they_lead_where_they_should() -> None:
    path = DEPLOY / "alertmanager" / "alertmanager.yml"
    run(tool("amtool"), "check-config", path)
    for alert, rule in ALERTS.items():
        labels = [f"{name}={value}" for name, value in rule["labels"].items() if "{" not in value]
        said = run(tool("amtool"), "config", "routes", "test", f"--config.file={path}", f"alertname={alert}", *labels)
        assert said.split() == ["milestones" if alert.startswith("Milestone") else "operators"]


def test_secrets_come_by_file() -> None:
    settings = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    for receiver in settings["receivers"]:
        for webhook in receiver["webhook_configs"]:
            assert set(webhook["http_config"]["authorization"]) == {"credentials_file"}


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_where_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor == alert.lower()
    assert anchor in anchors((DEPLOY.parent / page).read_text(encoding="utf-8"))


def test_rules_use_metrics_and_labels_that_a_worker_has() -> None:
    metrics = Metrics(["credit"])
    metrics.expect_endpoints(["bakery"])
    declared = {
        f"{each._name}{suffix}": set(each._labelnames)
        for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)
        for suffix in SUFFIXES[each._type]
    }  # fmt: skip
    used: set[str] = set()
    for _, rule in rules():
        names = re.findall(r"\b(referral_[a-z_]+)", rule["expr"])
        used |= set(names)
        assert set(names) <= set(declared), rule
        for name, labels in re.findall(r"\b(referral_[a-z_]+)\{([^}]*)\}", rule["expr"]):
            assert set(re.findall(r"(\w+)[!=]", labels)) <= declared[name]
        for labels in re.findall(r"\bby \(([^)]*)\)", rule["expr"]):
            assert set(labels.split(", ")) <= set.union({"instance"}, *(declared[name] for name in names))
    assert len(used) >= 14
    assert {"dead"} <= set(ENDS)
    assert len(ANSWERS) == 5
