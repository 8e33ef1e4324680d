"""Who gets notices: the webhooks file, in TOML. docs/webhooks.md describes every key."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from pipeline.domain.terms import Catalogue
from pipeline.settings import SettingsError, duration_ms
from pipeline.toml_lines import toml_lines
from pipeline.webhooks.signing import secret_of
from pipeline.webhooks.transitions import TYPES

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PLACE: Final = re.compile(r" - at `\$\.?([^`]*)`$")
_INDEX: Final = re.compile(r"\[([0-9]+)\]")


class EndpointsError(SettingsError):
    """A webhooks file that cannot be used; the text says where and why, and the remedy. It holds no secret."""


class _Endpoint(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    url: str
    secret_file: str | list[str]
    program: str
    partner: str = ""
    types: list[str] = msgspec.field(default_factory=lambda: list(TYPES))
    since: datetime | None = None
    at_once: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    allow_private: bool = False
    allow_http: bool = False


class _File(msgspec.Struct, forbid_unknown_fields=True):
    endpoint: list[_Endpoint] = msgspec.field(default_factory=list)
    announce: Literal["provisional", "final"] = "provisional"
    first_retry: str = "5s"
    longest_retry: str = "1h"
    give_up_after: str = "3d"
    timeout: str = "15s"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that gets notices."""

    name: str
    url: str
    secrets: tuple[bytes, ...] = field(repr=False)
    program_id: str
    partner_id: str = ""  # empty: of every partner of the program
    types: frozenset[str] = frozenset(TYPES)
    since_ms: int = 0  # what happened before is not told
    at_once: int = 4  # requests that may be under way
    allow_private: bool = False  # the address may be inside this network
    timeout_s: float = 15.0

    def wants(self, notice_type: str, program_id: str, partner_ids: Sequence[str], at_ms: int) -> bool:
        """Whether it is told; ``partner_ids`` are those concerned, ``*`` all of the program."""
        return (
            program_id == self.program_id
            and notice_type in self.types
            and at_ms >= self.since_ms
            and (not self.partner_id or self.partner_id in partner_ids or "*" in partner_ids)
        )


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The webhooks file."""

    all: tuple[Endpoint, ...]
    waits_for_finality: bool = False  # what is provisional is not told
    first_retry_ms: int = 5_000
    longest_retry_ms: int = 3_600_000
    give_up_after_ms: int = 259_200_000

    def pause_ms(self, attempts: int, jitter: float) -> int:
        """How long to wait after so many failed attempts; ``jitter`` in [0, 1) takes away up to half."""
        pause = min(self.first_retry_ms * 2 ** min(attempts - 1, 40), self.longest_retry_ms)
        return int(pause * (1 - jitter / 2))


def load_endpoints(path: Path, catalogue: Catalogue) -> Endpoints:
    """Read a webhooks file and the secrets that it names (paths are relative to it).

    :raises EndpointsError: it cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8")
        given = msgspec.convert(tomllib.loads(text), _File)
    except (OSError, UnicodeDecodeError) as error:
        raise EndpointsError(f"{path} cannot be read ({error}). Mend the path of --webhooks, or its rights.") from error
    except tomllib.TOMLDecodeError as error:
        raise EndpointsError(f"{path} is not TOML: {error}. Correct it there.") from error
    except msgspec.ValidationError as error:
        raise EndpointsError(_in_words(path, text, str(error))) from error
    times = {
        name: duration_ms(f"{path}: {name}", getattr(given, name))
        for name in ("first_retry", "longest_retry", "give_up_after", "timeout")
    }
    problems = list(_problems(given, catalogue))
    problems += [f"{name} is 0. Write 5s or more." for name, ms in times.items() if ms == 0]
    if problems:
        raise EndpointsError("\n".join(f"{path}: {each}" for each in problems))
    return Endpoints(
        tuple(_endpoint(each, path, times["timeout"]) for each in given.endpoint),
        given.announce == "final", times["first_retry"], times["longest_retry"], times["give_up_after"],
    )  # fmt: skip


def _endpoint(given: _Endpoint, path: Path, timeout_ms: int) -> Endpoint:
    files = [given.secret_file] if isinstance(given.secret_file, str) else given.secret_file
    since = given.since
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    return Endpoint(
        given.name, given.url, tuple(_secret(path.parent / file, given.name) for file in files), given.program,
        given.partner, frozenset(given.types), 0 if since is None else int(since.timestamp() * 1000), given.at_once,
        given.allow_private or _is_loopback(given.url), timeout_ms / 1000,
    )  # fmt: skip


def _secret(file: Path, name: str) -> bytes:
    try:
        return secret_of(file.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds none"
        remedy = "Make one: echo whsec_$(openssl rand -base64 32)"
        raise EndpointsError(f"The secret of endpoint {name} cannot be read from {file}: {reason}. {remedy}") from error


def _problems(given: _File, catalogue: Catalogue) -> Iterator[str]:
    names = [each.name for each in given.endpoint]
    if not names:
        yield "there is no [[endpoint]]. Add one, or start without --webhooks."
    for each in given.endpoint:
        where = f"endpoint {each.name!r}"
        if not _NAME.fullmatch(each.name):
            yield f"{where}: the name has other characters than letters, digits, . _ - (64 at most). Rename it."
        if names.count(each.name) > 1:
            yield f"{where} is there {names.count(each.name)} times. Give each endpoint a name of its own."
        program = catalogue.programs.get(each.program)
        if program is None:
            yield f"{where}: there is no program {each.program!r}. Known are: {', '.join(catalogue.programs)}."
        elif each.partner and not any(each.partner in terms.partners for terms in program.versions):
            yield f"{where}: {each.program} has no partner {each.partner!r}. Correct the id, or leave `partner` out."
        for unknown in sorted(set(each.types) - set(TYPES)):
            yield f"{where}: there is no type {unknown!r}. Write some of {', '.join(TYPES)}."
        if not each.secret_file:
            yield f"{where}: it has no secret_file. Name one."
        problem = _url_problem(each)
        if problem:
            yield f"{where}: {problem}"


def _url_problem(given: _Endpoint) -> str:
    try:
        url = urlsplit(given.url)
        host, _ = url.hostname or "", url.port
    except ValueError as error:
        return f"the url cannot be read ({error}). Correct it."
    if url.scheme not in ("http", "https") or not host or url.fragment:
        return "the url is none. Write https://host/path."
    if url.username is not None or url.password is not None:
        return "the url has a user name or password in it. Leave it out: notices are signed."
    if url.scheme == "http" and not given.allow_http and not _is_loopback(given.url):
        return "the url is not https. Use https; within a network of your own, allow_http = true."
    address = _address(host)
    if address is not None and not address.is_global and not given.allow_private and not _is_loopback(given.url):
        return f"{host} is inside a private network. If that is what you want, set allow_private = true."
    return ""


def _is_loopback(url: str) -> bool:
    address = _address(urlsplit(url).hostname or "")
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _in_words(path: Path, text: str, error: str) -> str:
    """What msgspec says, with the line where it can be found."""
    match = _PLACE.search(error)
    where = _INDEX.sub(lambda index: f"[{int(index[1]) + 1}]", match[1]) if match else ""
    line = toml_lines(text).get(where)
    at = f", line {line}" if line else ""
    what = _PLACE.sub("", error)
    return f"{path}{at}: {where + ': ' if where else ''}{what}. docs/webhooks.md has every key."
