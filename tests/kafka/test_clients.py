"""Settings of Kafka clients: every combination of protocols, and every mistake by the name of its variable."""

from __future__ import annotations

import ssl
import subprocess
from itertools import product
from pathlib import Path

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from pipeline.kafka.clients import MECHANISMS, PREFIX, PROTOCOLS, KafkaSettings, confluent_config, faust_credentials
from pipeline.kafka.errors import KafkaSettingsError

PASSWORD = "s3cret"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate, which is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 2 -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def settings(**values: object) -> KafkaSettings:
    return KafkaSettings.from_environment({PREFIX + name: str(value) for name, value in values.items()})


def test_without_any_variable_a_local_broker_in_the_clear() -> None:
    assert settings() == KafkaSettings("127.0.0.1:9092", "PLAINTEXT")
    assert confluent_config(settings()) == {"bootstrap.servers": "127.0.0.1:9092", "security.protocol": "PLAINTEXT"}
    assert faust_credentials(settings()) is None


def test_an_argument_goes_before_the_environment() -> None:
    environment = {"CROSSCREDIT_KAFKA_BOOTSTRAP": "a:1,b:2", "PATH": "/bin"}
    assert KafkaSettings.from_environment(environment).bootstrap == "a:1,b:2"
    assert KafkaSettings.from_environment(environment, "c:3").bootstrap == "c:3"


@pytest.mark.parametrize(("protocol", "mechanism", "own"), list(product(PROTOCOLS, MECHANISMS, (False, True))))
def test_every_protocol_and_mechanism_is_the_same_for_both_clients(
    protocol: str, mechanism: str, own: bool, certificate: tuple[Path, Path]
) -> None:
    given: dict[str, object] = {"SECURITY_PROTOCOL": protocol.lower()}
    expected = {"bootstrap.servers": "127.0.0.1:9092", "security.protocol": protocol}
    if protocol.startswith("SASL"):
        given |= {"SASL_MECHANISM": mechanism.lower(), "SASL_USERNAME": "worker", "SASL_PASSWORD": PASSWORD}
        expected |= {"sasl.mechanism": mechanism, "sasl.username": "worker", "sasl.password": PASSWORD}
    if protocol.endswith("SSL") and own:
        given |= {"SSL_CA_FILE": certificate[0], "SSL_CERT_FILE": certificate[0], "SSL_KEY_FILE": certificate[1]}
        expected |= {
            "ssl.ca.location": str(certificate[0]),
            "ssl.certificate.location": str(certificate[0]),
            "ssl.key.location": str(certificate[1]),
        }
    found = settings(**given)
    assert confluent_config(found) == expected
    assert PASSWORD not in repr(found)

    auth = credentials_to_aiokafka_auth(faust_credentials(found))
    assert auth["security_protocol"] == protocol
    assert auth.get("sasl_mechanism", "") == (mechanism if found.uses_sasl else "")
    assert auth.get("sasl_plain_password", "") == (PASSWORD if found.uses_sasl else "")
    context = auth.get("ssl_context")
    assert (context is not None) == found.uses_ssl
    if context is not None:
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
        assert PASSWORD not in repr(faust_credentials(found))


def test_the_password_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n", encoding="utf-8")
    found = settings(
        SECURITY_PROTOCOL="SASL_SSL", SASL_MECHANISM="PLAIN", SASL_USERNAME="worker", SASL_PASSWORD_FILE=file
    )
    assert found.sasl_password == PASSWORD


SASL = {
    "SECURITY_PROTOCOL": "SASL_SSL",
    "SASL_MECHANISM": "PLAIN",
    "SASL_USERNAME": "worker",
    "SASL_PASSWORD": PASSWORD,
}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"SECURITY_PROTOCOL": "TLS"}, "SECURITY_PROTOCOL=TLS is not known. Use one of PLAINTEXT, SSL"),
        ({**SASL, "SASL_MECHANISM": "GSSAPI"}, "SASL_MECHANISM=GSSAPI is not known"),
        ({**SASL, "SASL_MECHANISM": ""}, "SASL_SSL needs CROSSCREDIT_KAFKA_SASL_MECHANISM"),
        ({**SASL, "SASL_USERNAME": ""}, "SASL_SSL needs CROSSCREDIT_KAFKA_SASL_USERNAME"),
        ({**SASL, "SASL_PASSWORD": ""}, "SASL_PASSWORD (or CROSSCREDIT_KAFKA_SASL_PASSWORD_FILE)"),
        ({**SASL, "SASL_PASSWORD_FILE": "/x"}, "Keep one of them"),
        ({**SASL, "SASL_PASSWORD": "", "SASL_PASSWORD_FILE": "/no/such"}, "SASL_PASSWORD_FILE=/no/such cannot be read"),
        ({**SASL, "SASL_PASSWORD": "", "SASL_PASSWORD_FILE": "/dev/null"}, "is empty"),
        ({**SASL, "SECURITY_PROTOCOL": "SSL"}, "SASL_MECHANISM has no effect"),
        ({"SASL_PASSWORD": PASSWORD}, "SASL_PASSWORD has no effect"),
        ({"SSL_CA_FILE": "/no/such"}, "SSL_CA_FILE has no effect"),
        ({"SECURITY_PROTOCOL": "SSL", "SSL_CA_FILE": "/no/such"}, "SSL_CA_FILE=/no/such cannot be read"),
        ({"SECURITY_PROTOCOL": "SSL", "SSL_KEY_FILE": "/dev/null"}, "Set CROSSCREDIT_KAFKA_SSL_CERT_FILE too"),
        ({"SASL_PASWORD": PASSWORD}, "Did you mean CROSSCREDIT_KAFKA_SASL_PASSWORD?"),
        ({"COLOUR": "red"}, "COLOUR is not known. Known are"),
        ({"BOOTSTRAP": "kafka"}, "Write HOST:PORT"),
        ({"BOOTSTRAP": "kafka:99999"}, "Write HOST:PORT"),
        ({"BOOTSTRAP": "a:1,,b:2"}, "Write HOST:PORT"),
    ],
)
def test_a_mistake_names_the_variable_and_never_the_password(given: dict[str, str], said: str) -> None:
    with pytest.raises(KafkaSettingsError) as told:
        settings(**given)
    assert said in str(told.value)
    assert PASSWORD not in str(told.value)


def test_files_that_are_no_certificates_are_named() -> None:
    with pytest.raises(KafkaSettingsError, match=r"/etc/hostname.*PEM"):
        faust_credentials(
            settings(SECURITY_PROTOCOL="SSL", SSL_CERT_FILE="/etc/hostname", SSL_KEY_FILE="/etc/hostname")
        )
