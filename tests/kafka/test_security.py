"""A real broker with passwords and certificates: both clients get in with the settings, and mistakes are told."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.kafka.broker import LocalBroker, free_port
from pipeline.kafka.clients import PREFIX, KafkaSettings, confluent_config, faust_credentials
from pipeline.kafka.errors import RefusedError, UnreachableError
from pipeline.kafka.topics import create_topics, load_topics, verify_topics
from tests.agents.live import build, create, running, until
from tests.kafka.shared_broker import unique
from tests.live.processes import CROSSCREDIT

USER, PASSWORD, WRONG = "worker", "s3cret-and-right", "s3cret-but-wrong"
PASSWORDS = {"SASL_PLAINTEXT": ("SCRAM-SHA-256", PASSWORD), "SASL_SSL": ("PLAIN", PASSWORD)}


@dataclass(frozen=True)
class Secured:
    """A broker that asks for passwords on two ports, one of them encrypted."""

    plain: str  # its port without any of that
    ports: dict[str, int]
    folder: Path

    def environment(self, protocol: str, password: str = PASSWORD, **other: str) -> dict[str, str]:
        """As an operator sets it, the password in a file."""
        file = self.folder / f"password-{password}"
        file.write_text(password + "\n", encoding="utf-8")
        given = {
            "BOOTSTRAP": f"127.0.0.1:{self.ports[protocol]}", "SECURITY_PROTOCOL": protocol,
            "SASL_MECHANISM": PASSWORDS[protocol][0], "SASL_USERNAME": USER, "SASL_PASSWORD_FILE": str(file),
            **({"SSL_CA_FILE": str(self.folder / "authority.pem")} if protocol == "SASL_SSL" else {}), **other,
        }  # fmt: skip
        return {PREFIX + name: value for name, value in given.items() if value}

    def settings(self, protocol: str, password: str = PASSWORD, **other: str) -> KafkaSettings:
        return KafkaSettings.from_environment(self.environment(protocol, password, **other))


def certificates(folder: Path, name: str) -> None:
    """An authority (``NAME.pem``), and the key and certificate of 127.0.0.1 that it signed (``broker-NAME.pem``)."""
    folder.mkdir(exist_ok=True)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (f"{name} of a test", "127.0.0.1")]
    now = datetime.now(UTC)

    def signed(own: int) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder().subject_name(names[own]).issuer_name(names[0]).public_key(keys[own].public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=own == 0, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(keys[own].public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False)
        )  # fmt: skip
        if own:
            hosts = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        else:
            usage = dict.fromkeys(
                ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                 "encipher_only", "decipher_only"), False,
            )  # fmt: skip
            builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        return builder.sign(keys[0], hashes.SHA256())

    authority, broker = (signed(own).public_bytes(serialization.Encoding.PEM) for own in (0, 1))
    key = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip
    (folder / f"{name}.pem").write_bytes(authority)
    (folder / f"broker-{name}.pem").write_bytes(key + broker + authority)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    certificates(folder, "authority")
    certificates(folder, "stranger")
    module = "org.apache.kafka.common.security"
    ports = {protocol: free_port() for protocol in PASSWORDS}
    properties = [
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={folder / 'broker-authority.pem'}",
        "listener.name.sasl_plaintext.sasl.enabled.mechanisms=SCRAM-SHA-256",
        f"listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;",
        "listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN",
        f"listener.name.sasl_ssl.plain.sasl.jaas.config={module}.plain.PlainLoginModule required"
        f' user_{USER}="{PASSWORD}";',
    ]
    with LocalBroker(folder / "kafka", listeners=ports, properties=properties) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
        for done in admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(USER, scram, PASSWORD.encode())]
        ).values():
            done.result(20)
        yield Secured(broker.bootstrap, ports, folder)


@pytest.mark.parametrize("protocol", list(PASSWORDS))
def test_both_clients_get_in(protocol: str, secured: Secured) -> None:
    settings = secured.settings(protocol)
    topic = unique("secret")
    create(secured.plain, topic)
    create_topics(confluent_config(settings), load_topics(), 1)
    verify_topics(confluent_config(settings), load_topics(), 1)
    producer = Producer(confluent_config(settings))
    producer.produce(topic, b"value", key=b"key")
    assert producer.flush(20) == 0

    async def read() -> list[bytes | None]:
        app, noted = build(settings.bootstrap, unique("group"), topic, credentials=faust_credentials(settings))
        async with running(app):
            await until(lambda: len(noted) > 0)
        return noted.values()

    assert asyncio.run(read()) == [b"value"]


@pytest.mark.parametrize(
    ("protocol", "given", "said"),
    [
        ("SASL_PLAINTEXT", {"password": WRONG}, r"refuses the user 'worker'.*_SASL_PASSWORD_FILE"),
        ("SASL_SSL", {"password": WRONG}, r"refuses the user 'worker'.*_SASL_PASSWORD_FILE"),
        ("SASL_PLAINTEXT", {"SASL_USERNAME": "nobody"}, r"refuses the user 'nobody'.*_SASL_USERNAME"),
        ("SASL_SSL", {"SSL_CA_FILE": ""}, r"signed by nobody we trust.*Set CROSSCREDIT_KAFKA_SSL_CA_FILE"),
        ("SASL_SSL", {"SSL_CA_FILE": "stranger"}, r"signed by nobody we trust.*Set CROSSCREDIT_KAFKA_SSL_CA_FILE"),
        ("SASL_SSL", {"SASL_MECHANISM": "SCRAM-SHA-512"}, r"does not take SCRAM-SHA-512 there.*_SASL_MECHANISM"),
        ("SASL_PLAINTEXT", {"SECURITY_PROTOCOL": "SASL_SSL"}, r"does not speak SASL_SSL there.*_SECURITY_PROTOCOL"),
    ],
)
def test_what_is_refused_is_told_with_the_remedy_and_without_the_password(
    protocol: str, given: dict[str, str], said: str, secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kafka.topics._ANSWER_S", 2.0)
    if given.get("SSL_CA_FILE") == "stranger":
        given = {"SSL_CA_FILE": str(secured.folder / "stranger.pem")}
    settings = secured.settings(protocol, **given)
    with pytest.raises(RefusedError, match=said) as told:
        verify_topics(confluent_config(settings), load_topics())
    assert settings.sasl_password not in str(told.value)


def test_a_port_that_speaks_another_protocol_is_told_as_silent_with_what_to_look_at(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kafka.topics._ANSWER_S", 2.0)
    settings = secured.settings("SASL_SSL", SECURITY_PROTOCOL="SASL_PLAINTEXT", SSL_CA_FILE="")
    with pytest.raises(UnreachableError, match=r"does that port speak .*_SECURITY_PROTOCOL=SASL_PLAINTEXT"):
        verify_topics(confluent_config(settings), load_topics())


@pytest.mark.parametrize("protocol", list(PASSWORDS))
def test_faust_is_refused_too_and_says_nothing_of_the_password(
    protocol: str, secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    settings = secured.settings(protocol, WRONG)

    async def start() -> None:
        app, _ = build(settings.bootstrap, unique("group"), "any", credentials=faust_credentials(settings))
        try:
            await app.start()
        finally:
            await app.stop()

    with caplog.at_level(logging.DEBUG), pytest.raises(Exception, match=r"bootstrap|uthentication") as told:
        asyncio.run(start())
    assert WRONG not in f"{told.value!r} {caplog.text}"


def test_a_worker_with_a_wrong_password_ends_and_says_so(secured: Secured, tmp_path: Path) -> None:
    terms = Path(__file__).parents[2] / "examples"
    program = next(terms.rglob("*.toml"))
    done = subprocess.run(
        [CROSSCREDIT, "worker", "--program", str(program), "--folder", str(tmp_path / "state"),
         "--clickhouse-url", f"http://127.0.0.1:{free_port()}"],
        env={**secured.environment("SASL_SSL", WRONG), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "refuses the user 'worker'" in done.stderr
    assert WRONG not in done.stderr + done.stdout
