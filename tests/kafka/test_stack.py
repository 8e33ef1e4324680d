"""The local stack: up twice is up once, and down ends exactly what was started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import status_of
from pipeline.kafka.clients import KafkaSettings, confluent_config
from pipeline.kafka.stack import Running, down, status, up
from pipeline.kafka.topics import load_topics, verify_topics


def test_up_twice_and_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        first = up(tmp_path)
        assert set(first) == {"kafka", "clickhouse"}
        verify_topics(confluent_config(KafkaSettings(f"127.0.0.1:{first['kafka'].port}")), load_topics())
        assert up(tmp_path) == first
        assert status_of(["stack", "status", "--folder", str(tmp_path)]) == 0
        assert capsys.readouterr().out.count("runs") == 2
        assert down(tmp_path) == ["clickhouse", "kafka"]
        assert not any(each.is_alive for each in first.values())
        assert {word for _, word in status(tmp_path).values()} == {"stopped"}
    finally:
        down(tmp_path)
    assert down(tmp_path) == []


def test_a_process_that_is_somebody_elses_by_now_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    entry = {"pid": other.pid, "port": 1, "mark": str(tmp_path / "kafka" / "server.properties")}
    (tmp_path / "stack.json").write_text(json.dumps({"kafka": entry}))
    assert not Running(**entry).is_alive
    assert down(tmp_path) == []
    assert other.poll() is None
    other.kill()
    other.wait()


def test_where_nothing_was_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["stack", "status", "--folder", str(tmp_path)]) == 0
    assert "crosscredit stack up" in capsys.readouterr().out
    assert status_of(["stack", "down", "--folder", str(tmp_path / "none")]) == 0
    assert "Nothing runs" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
