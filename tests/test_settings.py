"""Settings: secrets by file, and what is wrong with them told by name and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.kafka.clients import KafkaSettings
from pipeline.kafka.errors import KafkaSettingsError
from pipeline.settings import Settings, SettingsError, settings_of

SECRETS = ("CROSSCREDIT_CLICKHOUSE_PASSWORD", "CROSSCREDIT_REGISTRY_PASSWORD")
USER = {"CROSSCREDIT_REGISTRY_USERNAME": "worker"}


def value(settings: Settings, secret: str) -> object:
    return getattr(settings, secret.removeprefix("CROSSCREDIT_").lower())


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("written", ["word", "word\n", "word\r\n"])
def test_a_secret_may_come_by_file(secret: str, written: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(written.encode())
    settings = settings_of({**USER, f"{secret}_FILE": str(tmp_path / "secret")})
    assert value(settings, secret) == "word"
    assert "word" not in repr(settings)


def test_of_a_secret_only_the_line_end_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(" two words \n", encoding="utf-8")
    settings = settings_of({"CROSSCREDIT_CLICKHOUSE_PASSWORD_FILE": str(tmp_path / "secret")})
    assert settings.clickhouse_password == " two words "


@pytest.mark.parametrize("secret", SECRETS)
def test_a_file_that_cannot_be_used_is_told_with_its_variable(secret: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, said in (
        ("missing", "cannot be read (No such file or directory)"),
        ("", "cannot be read (Is a directory)"),
        ("bytes", "cannot be read (not text)"),
        ("empty", "is empty. Put the secret into it."),
    ):
        path = str(tmp_path / name)
        with pytest.raises(SettingsError) as told:
            settings_of({**USER, f"{secret}_FILE": path})
        assert f"{secret}_FILE names {path}, which {said}" in str(told.value)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_that_is_given_twice_is_refused(secret: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("word", encoding="utf-8")
    with pytest.raises(SettingsError, match=f"{secret} and {secret}_FILE are both set"):
        settings_of({**USER, secret: "other", f"{secret}_FILE": str(tmp_path / "secret")})


def test_kafkas_password_keeps_to_the_same() -> None:
    kafka = {
        "CROSSCREDIT_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "CROSSCREDIT_KAFKA_SASL_MECHANISM": "PLAIN",
        "CROSSCREDIT_KAFKA_SASL_USERNAME": "worker",
    }  # fmt: skip
    with pytest.raises(KafkaSettingsError, match=r"SASL_PASSWORD_FILE=/no/such/file cannot be read"):
        KafkaSettings.from_environment({**kafka, "CROSSCREDIT_KAFKA_SASL_PASSWORD_FILE": "/no/such/file"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"CROSSCREDIT_REGISTRY_PASSWORD": "word"}, "Set CROSSCREDIT_REGISTRY_USERNAME"),
        ({"CROSSCREDIT_CLICKHOUSE_CLUSTER": "a b"}, "Write a name as in remote_servers"),
        ({"CROSSCREDIT_CLICKHOUSE_CLUSTER": "a; DROP TABLE x"}, "Write a name as in remote_servers"),
        ({"CROSSCREDIT_LOG_FORMAT": "xml"}, "Write text or json"),
        ({"CROSSCREDIT_PASSWORD": "word"}, "CROSSCREDIT_PASSWORD is no setting"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings_of(given)


def test_a_setting_that_is_empty_is_not_given() -> None:
    """Compose files fill in "" for a variable that nobody set."""
    assert settings_of({"CROSSCREDIT_REGISTRY": "", "CROSSCREDIT_CLICKHOUSE_CLUSTER": ""}) == Settings()
