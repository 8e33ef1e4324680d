"""`crosscredit audit` where nothing can be compared: exit status 2, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli import status_of
from pipeline.kafka.broker import free_port
from tests.properties.world_terms import to_toml
from tests.reference.examples import program


def test_without_a_kafka_the_remedy_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kafka.topics._ANSWER_S", 1.0)
    (tmp_path / "terms.toml").write_text(to_toml(program()))
    bootstrap = f"127.0.0.1:{free_port()}"
    assert status_of(["audit", "--program", str(tmp_path), "--bootstrap", bootstrap]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"No Kafka answers at {bootstrap}" in said.err
    assert "crosscredit stack up" in said.err
    assert "--bootstrap HOST:PORT" in said.err
    assert "Traceback" not in said.err
