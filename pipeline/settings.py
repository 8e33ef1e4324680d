"""What a worker is told: flags, and environment variables named ``CROSSCREDIT_…``, into one frozen value.

A flag wins over its variable. Secrets come by file or variable alone, never by flag: command lines are seen by others.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

PREFIX: Final = "CROSSCREDIT_"
_GRAFANA: Final = f"{PREFIX}GRAFANA_"

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DURATION: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d|w)")
_MS_OF: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


class SettingsError(Exception):
    """A setting that cannot be used; the text names it, where it comes from, and the remedy."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A worker's settings. Each is the flag ``--like-this`` and the variable ``CROSSCREDIT_LIKE_THIS``."""

    folder: Path = Path("crosscredit-state")  # where state is kept: a folder of this worker's own
    clickhouse_url: str = "http://127.0.0.1:8123"
    clickhouse_database: str = "crosscredit"
    clickhouse_username: str = "default"
    clickhouse_password: str = field(default="", repr=False)  # or CROSSCREDIT_CLICKHOUSE_PASSWORD_FILE
    clickhouse_ca_file: str = ""  # the authority that signed an https address's certificate, if no public one did
    clickhouse_cluster: str = ""  # a cluster over which tables are replicated and sharded; empty: one server
    registry: str = ""  # the address of a schema registry; empty: the schemas that come with the program
    registry_username: str = ""
    registry_password: str = field(default="", repr=False)  # or CROSSCREDIT_REGISTRY_PASSWORD_FILE
    registry_ca_file: str = ""
    namespace: str = "crosscredit"  # consumer groups are called <namespace>.<step>
    instance: str = ""  # a name that is the same after a restart; empty: host name and folder
    allowed_lateness_ms: int = 86_400_000
    idle_timeout_ms: int = 300_000
    max_future_ms: int = 3_600_000
    settle_interval_ms: int = 100
    insert_interval_ms: int = 250
    session_timeout_ms: int = 10_000
    status_host: str = "127.0.0.1"
    status_port: int = 0  # 0: a free one
    log_format: str = "text"  # or "json"
    webhooks: Path | None = None  # a file of endpoints; none: nobody is told

    def instance_name(self) -> str:
        """The static name in consumer groups."""
        return self.instance or re.sub(r"[^A-Za-z0-9._-]", "-", f"{socket.gethostname()}-{self.folder.resolve().name}")


def settings_of(environment: Mapping[str, str], **flags: Any) -> Settings:
    """The settings of an environment, under flags (None: not given).

    :raises SettingsError: a value that cannot be used, a variable that no setting has, or a secret given twice.
    """
    known = {each.name: each for each in fields(Settings)}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable.startswith((f"{PREFIX}KAFKA_", _GRAFANA)):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name.endswith("_file") and name.removesuffix("_file") in known:
            if variable.removesuffix("_FILE") in environment:
                raise SettingsError(f"{variable.removesuffix('_FILE')} and {variable} are both set. Keep one of them.")
            name, text = name.removesuffix("_file"), _secret(variable, text)
        name = _with_unit(name, known)
        if name not in known:
            raise SettingsError(f"{variable} is no setting. Unset it, or see `crosscredit worker --help`.")
        values[name] = _value(variable, name, text)
    for name, given in flags.items():
        if given is not None:
            flag = f"--{name.replace('_', '-')}"
            full = _with_unit(name, known)
            values[full] = _value(flag, full, given) if isinstance(given, str) else given
    settings = replace(Settings(), **values)
    if settings.log_format not in ("text", "json"):
        raise SettingsError(f"log_format is {settings.log_format!r}. Write text or json.")
    if settings.clickhouse_cluster and not _NAME.fullmatch(settings.clickhouse_cluster):
        raise SettingsError(
            f"clickhouse_cluster is {settings.clickhouse_cluster!r}. Write a name as in remote_servers."
        )
    if settings.registry_password and not settings.registry_username:
        raise SettingsError(f"A password for the registry needs a user too. Set {PREFIX}REGISTRY_USERNAME.")
    return settings


def duration_ms(where: str, text: str) -> int:
    """Milliseconds of a text such as ``24h`` or ``250ms``.

    :raises SettingsError: it is none; the text begins with ``where``.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"{where} is {text!r}, which is no duration. Write 24h or 250ms (ms, s, m, h, d, w).")
    return int(match[1]) * _MS_OF[match[2]]


def _with_unit(name: str, known: Mapping[str, Any]) -> str:
    return f"{name}_ms" if name not in known and f"{name}_ms" in known else name


def _value(where: str, name: str, text: str) -> Any:
    if name.endswith("_ms"):
        return duration_ms(where, text)
    if name == "status_port":
        if not text.isdigit() or int(text) > 65_535:
            raise SettingsError(f"{where} is {text!r}, which is no port. Write 0 (a free one) to 65535.")
        return int(text)
    return Path(text) if name in ("folder", "webhooks") else text


def grafana_login(environment: Mapping[str, str]) -> tuple[str, str]:
    """User name and password of Grafana's administrator, for `crosscredit partner`.

    :raises SettingsError: there is no password, or its file cannot be read.
    """
    username = environment.get(f"{_GRAFANA}USERNAME", "admin")
    file = f"{_GRAFANA}PASSWORD_FILE"
    password = _secret(file, environment[file]) if environment.get(file) else environment.get(f"{_GRAFANA}PASSWORD", "")
    if not password:
        raise SettingsError(f"Grafana's administrator has a password: name the file that holds it with {file}.")
    return username, password


def _secret(variable: str, path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        remedy = "Mend the path or its rights; for `docker compose`, make the files with `make secrets`."
        raise SettingsError(f"{variable} names {path}, which cannot be read ({why}). {remedy}") from error
    if not text:
        raise SettingsError(f"{variable} names {path}, which is empty. Put the secret into it.")
    return text
