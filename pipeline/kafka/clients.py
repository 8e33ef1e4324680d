"""How to reach Kafka: one set of settings, for confluent-kafka and for Faust, with TLS and SASL.

From the environment, each with the prefix ``CROSSCREDIT_KAFKA_``: ``BOOTSTRAP``, ``SECURITY_PROTOCOL``,
``SASL_MECHANISM``, ``SASL_USERNAME``, ``SASL_PASSWORD`` or ``SASL_PASSWORD_FILE``, ``SSL_CA_FILE``, ``SSL_CERT_FILE``,
``SSL_KEY_FILE``. What would have no effect is refused: a password that is set is meant to protect something.
"""

from __future__ import annotations

import difflib
import logging
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from pipeline.kafka.errors import KafkaSettingsError, RefusedError

if TYPE_CHECKING:
    from faust.auth import Credentials

PREFIX: Final = "CROSSCREDIT_KAFKA_"
DEFAULT_BOOTSTRAP: Final = "127.0.0.1:9092"
PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

_NAMES: Final = (
    "BOOTSTRAP", "SECURITY_PROTOCOL", "SASL_MECHANISM", "SASL_USERNAME", "SASL_PASSWORD", "SASL_PASSWORD_FILE",
    "SSL_CA_FILE", "SSL_CERT_FILE", "SSL_KEY_FILE",
)  # fmt: skip

ConfluentConfig: TypeAlias = dict[str, str | int | float | bool]

GIVE_UP_MS: Final = 60_000
"""How long a command goes on sending while a broker is away."""

CONFIRMED_DELIVERY: Final[ConfluentConfig] = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "lz4",
    "partitioner": "murmur2_random",  # that of the Java clients, which all else here agrees on
    "linger.ms": 20,
    "message.timeout.ms": GIVE_UP_MS,
    "log_level": 2,  # its errors come as exceptions, its warnings repeat them
}
"""What the producer of a command adds to connect with: nothing is lost, and a key goes where everybody sends it."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Where the brokers are and how to be let in; valid once it exists. "" stands for what is not set."""

    bootstrap: str = DEFAULT_BOOTSTRAP
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    ssl_ca_file: str = ""
    ssl_cert_file: str = ""
    ssl_key_file: str = ""

    def __post_init__(self) -> None:
        _check_bootstrap(self.bootstrap)
        _check_one_of("SECURITY_PROTOCOL", self.security_protocol, PROTOCOLS)
        self._check_sasl()
        self._check_ssl()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], bootstrap: str | None = None) -> Self:
        """The settings that ``environment`` (``os.environ``) holds; ``bootstrap``, if given, goes before it.

        KafkaSettingsError names the variable that is missing, unknown, or would have no effect.
        """
        _check_names(environment)
        given = {name: environment.get(PREFIX + name, "") for name in _NAMES}
        return cls(
            bootstrap=bootstrap or given["BOOTSTRAP"] or DEFAULT_BOOTSTRAP,
            security_protocol=given["SECURITY_PROTOCOL"].upper() or "PLAINTEXT",
            sasl_mechanism=given["SASL_MECHANISM"].upper(),
            sasl_username=given["SASL_USERNAME"],
            sasl_password=_password(given["SASL_PASSWORD"], given["SASL_PASSWORD_FILE"]),
            ssl_ca_file=given["SSL_CA_FILE"],
            ssl_cert_file=given["SSL_CERT_FILE"],
            ssl_key_file=given["SSL_KEY_FILE"],
        )

    @property
    def uses_sasl(self) -> bool:
        """Whether a user name and password are sent."""
        return self.security_protocol.startswith("SASL_")

    @property
    def uses_ssl(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    def at(self, bootstrap: str) -> Self:
        """The same for other brokers."""
        return replace(self, bootstrap=bootstrap)

    def _check_sasl(self) -> None:
        values = {
            "SASL_MECHANISM": self.sasl_mechanism,
            "SASL_USERNAME": self.sasl_username,
            "SASL_PASSWORD": self.sasl_password,
        }
        for name, value in values.items():
            if self.uses_sasl and not value:
                or_file = f" (or {PREFIX}SASL_PASSWORD_FILE)" if name == "SASL_PASSWORD" else ""
                raise KafkaSettingsError(f"{self.security_protocol} needs {PREFIX}{name}{or_file}. Set it.")
            if value and not self.uses_sasl:
                raise KafkaSettingsError(
                    f"{PREFIX}{name} has no effect with {PREFIX}SECURITY_PROTOCOL={self.security_protocol}."
                    " Use SASL_SSL (or SASL_PLAINTEXT), or unset it."
                )
        if self.uses_sasl:
            _check_one_of("SASL_MECHANISM", self.sasl_mechanism, MECHANISMS)

    def _check_ssl(self) -> None:
        files = {
            "SSL_CA_FILE": self.ssl_ca_file,
            "SSL_CERT_FILE": self.ssl_cert_file,
            "SSL_KEY_FILE": self.ssl_key_file,
        }
        for name, path in files.items():
            if path and not self.uses_ssl:
                raise KafkaSettingsError(
                    f"{PREFIX}{name} has no effect with {PREFIX}SECURITY_PROTOCOL={self.security_protocol}."
                    " Use SSL or SASL_SSL, or unset it."
                )
            if path:
                _read(name, path)
        if bool(self.ssl_cert_file) != bool(self.ssl_key_file):
            missing = "SSL_KEY_FILE" if self.ssl_cert_file else "SSL_CERT_FILE"
            raise KafkaSettingsError(f"A client certificate and its key go together. Set {PREFIX}{missing} too.")


def confluent_config(settings: KafkaSettings) -> ConfluentConfig:
    """What every confluent-kafka client needs to connect; the caller adds what it is for."""
    config: ConfluentConfig = {
        "bootstrap.servers": settings.bootstrap,
        "security.protocol": settings.security_protocol,
    }
    if settings.uses_sasl:
        config["sasl.mechanism"] = settings.sasl_mechanism
        config["sasl.username"] = settings.sasl_username
        config["sasl.password"] = settings.sasl_password
    if settings.ssl_ca_file:
        config["ssl.ca.location"] = settings.ssl_ca_file
    if settings.ssl_cert_file:
        config["ssl.certificate.location"] = settings.ssl_cert_file
        config["ssl.key.location"] = settings.ssl_key_file
    return config


def refusal(config: Mapping[str, object], said: Sequence[str]) -> RefusedError | None:
    """The error of a client with ``config`` to which librdkafka ``said`` this, if its settings were refused.

    None if nobody answered, or something else went wrong. The password is in none of it.
    """
    where, protocol = config["bootstrap.servers"], str(config.get("security.protocol", "PLAINTEXT"))
    for text in reversed(said):
        if "authentication fail" in text.lower():
            return RefusedError(
                f"Kafka at {where} refuses the user {config.get('sasl.username')!r} ({protocol}, "
                f"{config.get('sasl.mechanism')}). Check {PREFIX}SASL_USERNAME, {PREFIX}SASL_PASSWORD (or "
                f"{PREFIX}SASL_PASSWORD_FILE) and {PREFIX}SASL_MECHANISM."
            )
        if "certificate verify failed" in text.lower():
            return RefusedError(
                f"The certificate of Kafka at {where} is signed by nobody we trust, or names another host. Set "
                f"{PREFIX}SSL_CA_FILE to the authority that signed it, and {PREFIX}BOOTSTRAP to the name in it."
            )
        if "mechanism handshake failed" in text:
            return RefusedError(
                f"Kafka at {where} does not take {config.get('sasl.mechanism')} there. Set {PREFIX}SASL_MECHANISM and "
                f"{PREFIX}SECURITY_PROTOCOL to what that port speaks."
            )
        if "ssl handshake failed" in text.lower():
            return RefusedError(
                f"Kafka at {where} does not speak {protocol} there. Set {PREFIX}SECURITY_PROTOCOL to what that port "
                "speaks."
            )
    return None


def faust_credentials(settings: KafkaSettings) -> Credentials | None:
    """What Faust's ``broker_credentials`` takes; None for PLAINTEXT. KafkaSettingsError for unusable certificates."""
    from faust.auth import SASLCredentials, SSLCredentials

    if settings.uses_sasl:
        # At DEBUG aiokafka logs every request as it is sent, the one with the password among them.
        logging.getLogger("aiokafka.conn").setLevel(logging.INFO)
        return SASLCredentials(
            username=settings.sasl_username,
            password=settings.sasl_password,
            # Without a context Faust would silently speak SASL_PLAINTEXT: the password in the clear.
            ssl_context=_ssl_context(settings) if settings.uses_ssl else None,
            mechanism=settings.sasl_mechanism,
        )
    return SSLCredentials(_ssl_context(settings)) if settings.uses_ssl else None


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_file or None)
        if settings.ssl_cert_file:
            context.load_cert_chain(settings.ssl_cert_file, settings.ssl_key_file)
    except ssl.SSLError as error:
        files = ", ".join(filter(None, (settings.ssl_ca_file, settings.ssl_cert_file, settings.ssl_key_file)))
        raise KafkaSettingsError(
            f"{files}: no usable certificates ({error}). They must be PEM files, the key without a passphrase and"
            " belonging to its certificate."
        ) from error
    return context


def _check_bootstrap(bootstrap: str) -> None:
    for each in bootstrap.split(","):
        host, _, port = each.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise KafkaSettingsError(
                f"{bootstrap!r} does not name brokers. Write HOST:PORT, several separated by commas, as --bootstrap or"
                f" {PREFIX}BOOTSTRAP."
            )


def _check_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise KafkaSettingsError(f"{PREFIX}{name}={value} is not known. Use one of {', '.join(known)}.")


def _check_names(environment: Mapping[str, str]) -> None:
    for variable in environment:
        if variable.startswith(PREFIX) and variable.removeprefix(PREFIX) not in _NAMES:
            close = difflib.get_close_matches(variable.removeprefix(PREFIX), _NAMES, n=1)
            known = ", ".join(PREFIX + name for name in _NAMES)
            meant = f"Did you mean {PREFIX}{close[0]}?" if close else f"Known are {known}."
            raise KafkaSettingsError(f"{variable} is not known. {meant}")


def _password(password: str, file: str) -> str:
    if password and file:
        raise KafkaSettingsError(
            f"{PREFIX}SASL_PASSWORD and {PREFIX}SASL_PASSWORD_FILE are both set. Keep one of them."
        )
    if not file:
        return password
    text = _read("SASL_PASSWORD_FILE", file).rstrip("\r\n")
    if not text:
        raise KafkaSettingsError(f"{PREFIX}SASL_PASSWORD_FILE={file} is empty. Put the password into it.")
    return text


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise KafkaSettingsError(f"{PREFIX}{name}={path} cannot be read ({why}). Check path and permissions.") from None
