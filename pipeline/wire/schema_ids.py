"""Schema ids: what stands between the zero byte and the Avro body of every value on Kafka (Confluent's wire format).

An id comes from a schema registry, or, where there is none, from ``schemas/ids.json``. Two errors must never be mixed
up: an id that the registry does not know is the record's fault, and makes a dead letter of it; a registry that does
not answer is nobody's fault, and the same batch is tried again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol
from urllib.parse import urlsplit, urlunsplit

from pipeline.wire.own_schemas import newest_version, schema_text, schemas_folder, topic_of

#: How many bytes precede the Avro body: the magic byte 0 and the id, big-endian.
HEADER_BYTES: Final = 5

_UNKNOWN_FOR_S: Final = 30.0  # an unknown id is asked for again after this long
_SCHEMA_NOT_FOUND: Final = 40403
_NOT_THERE: Final = frozenset({40401, 40402, _SCHEMA_NOT_FOUND})  # subject, version, schema
_SETTINGS: Final[Mapping[str, Any]] = {"timeout": 5.0, "max.retries": 1, "retries.wait.ms": 200}


class UnknownSchemaError(LookupError):
    """No schema has this id: a record that names it is malformed."""


class RegistryUnavailableError(Exception):
    """The registry could not be asked, which says nothing of any record. Try again; the text names the remedy."""


class SchemaRefusedError(Exception):
    """The registry does not take our schema. Trying again does not help; the text names the remedy."""


class Schemas(Protocol):
    """Ids of the schemas that values were, or are to be, written with. Both methods may block for some seconds."""

    def id_of(self, record: str) -> int:
        """The id under which values of a record such as "click" are written: that of its newest schema.

        RegistryUnavailableError, SchemaRefusedError
        """

    def schema_of(self, schema_id: int) -> Any:
        """The schema with that id as parsed JSON, not to be changed. UnknownSchemaError, RegistryUnavailableError."""


def open_schemas(registry: str, username: str = "", password: str = "", ca_file: str = "") -> Schemas:
    """The schemas of the registry at that address, or, where it is "", those that come with the program."""
    if not registry:
        return LocalSchemas()
    credentials = {"basic.auth.user.info": f"{username}:{password}"} if username else {}
    authority = {"ssl.ca.location": ca_file} if ca_file else {}
    return RegistrySchemas(registry, {**credentials, **authority})


def header(schema_id: int) -> bytes:
    """What a value written with that schema begins with."""
    return b"\x00" + schema_id.to_bytes(4, "big")


def by_header(values: Sequence[bytes | None]) -> list[tuple[bytes, Sequence[int], list[bytes]]]:
    """Values by the header they begin with: the header, the indices of its values, and what follows in each.

    A value of None, like an empty one, has the header b"".
    """
    present: Sequence[Any] = [value or b"" for value in values] if None in values else values
    headers = list(map(_HEADER_OF, present))
    if len(set(headers)) == 1:
        return [(headers[0], range(len(headers)), list(map(_BODY_OF, present)))]
    groups: dict[bytes, list[int]] = {}
    for index, found in enumerate(headers):
        groups.setdefault(found, []).append(index)
    return [(found, rows, [present[row][HEADER_BYTES:] for row in rows]) for found, rows in groups.items()]


_HEADER_OF: Final = itemgetter(slice(0, HEADER_BYTES))  # over a whole batch a third faster than a slice for each
_BODY_OF: Final = itemgetter(slice(HEADER_BYTES, None))


def id_in(value: bytes) -> int | None:
    """The schema id of a value, or of its first five bytes; None if it is not framed."""
    return int.from_bytes(value[1:HEADER_BYTES], "big") if value[:1] == b"\x00" and len(value) >= HEADER_BYTES else None


class LocalSchemas:
    """The schemas of a folder, with the ids of its ``ids.json``: all that is needed where nobody else writes."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or schemas_folder()
        self._ids: dict[str, int] = json.loads((self._folder / "ids.json").read_text(encoding="utf-8"))
        self._schemas = {number: json.loads(schema_text(name, self._folder)) for name, number in self._ids.items()}

    def id_of(self, record: str) -> int:
        """See :class:`Schemas`."""
        return self._ids[newest_version(record, self._folder)]

    def schema_of(self, schema_id: int) -> Any:
        """See :class:`Schemas`."""
        try:
            return self._schemas[schema_id]
        except KeyError:
            raise UnknownSchemaError(
                f"no schema has the id {schema_id} in {self._folder / 'ids.json'}. If its writer has a schema"
                " registry, name that registry to this process too"
            ) from None


class RegistrySchemas:
    """The schemas of any registry that speaks Confluent's protocol; our own are registered when first written.

    ``url`` may name several, separated by commas, and hold ``user:password@``. ``settings`` are those of
    ``confluent_kafka.schema_registry.SchemaRegistryClient`` (``basic.auth.user.info``, ``ssl.ca.location``, …). What
    was found is remembered for good, an unknown id for half a minute.
    """

    def __init__(
        self,
        url: str,
        settings: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Not at the top: a quarter of a second that a worker without a registry need not wait for at every start.
        from confluent_kafka import schema_registry

        self._library = schema_registry
        self._client = schema_registry.SchemaRegistryClient({**_SETTINGS, **(settings or {}), "url": url})
        self._shown_url = ",".join(map(_without_password, url.split(",")))
        self._folder = folder or schemas_folder()
        self._clock = clock
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, Any] = {}
        self._unknown: dict[int, float] = {}  # when to ask again

    def id_of(self, record: str) -> int:
        """See :class:`Schemas`."""
        if record not in self._ids:
            name = newest_version(record, self._folder)
            subject = f"{topic_of(record)}-value"
            schema = self._library.Schema(schema_text(name, self._folder), "AVRO")
            try:
                self._ids[record] = int(self._client.register_schema(subject, schema))
            except self._library.SchemaRegistryError as error:
                if error.http_status_code in (409, 422):
                    raise SchemaRefusedError(
                        f"the schema registry {self._shown_url} does not take {name}.avsc for the subject {subject}:"
                        f" {error}. See which schema stands there now, and delete that subject if it is not ours"
                    ) from error
                self._unavailable(error)
            except Exception as error:  # noqa: BLE001  # the client lets through whatever HTTP, TLS and JSON raise
                self._unavailable(error)
        return self._ids[record]

    def is_registered(self, record: str) -> bool:
        """Whether the registry has the newest schema of a record; nothing is registered.

        RegistryUnavailableError; SchemaRefusedError if it has not and would refuse it.
        """
        name, subject = newest_version(record, self._folder), f"{topic_of(record)}-value"
        schema = self._library.Schema(schema_text(name, self._folder), "AVRO")
        try:
            self._client.lookup_schema(subject, schema)
        except self._library.SchemaRegistryError as error:
            if error.error_code not in _NOT_THERE:
                self._unavailable(error)
        except Exception as error:  # noqa: BLE001  as above
            self._unavailable(error)
        else:
            return True
        try:
            is_taken = self._client.test_compatibility(subject, schema)
        except self._library.SchemaRegistryError as error:
            if error.error_code not in _NOT_THERE:
                self._unavailable(error)
            return False  # there is no such subject yet, and the first schema is always taken
        except Exception as error:  # noqa: BLE001  as above
            self._unavailable(error)
        if not is_taken:
            raise SchemaRefusedError(
                f"the schema registry {self._shown_url} would not take {name}.avsc for the subject {subject}: it is"
                " not compatible with what stands there"
            )
        return False

    def schema_of(self, schema_id: int) -> Any:
        """See :class:`Schemas`."""
        if schema_id not in self._schemas:
            if self._unknown.get(schema_id, 0.0) > self._clock():
                self._is_unknown(schema_id)
            self._schemas[schema_id] = self._fetch(schema_id)
        return self._schemas[schema_id]

    def _fetch(self, schema_id: int) -> Any:
        try:
            schema = self._client.get_schema(schema_id)
        except self._library.SchemaRegistryError as error:
            if error.error_code == _SCHEMA_NOT_FOUND:
                if len(self._unknown) > 10_000:  # ids made of garbage could be of any number
                    self._unknown.clear()
                self._unknown[schema_id] = self._clock() + _UNKNOWN_FOR_S
                self._is_unknown(schema_id)
            self._unavailable(error)
        except Exception as error:  # noqa: BLE001  # as above
            self._unavailable(error)
        try:
            return json.loads(schema.schema_str or "")
        except ValueError:  # Protobuf; or Avro that is no JSON
            return None

    def _is_unknown(self, schema_id: int) -> NoReturn:
        raise UnknownSchemaError(
            f"the schema registry {self._shown_url} knows no schema with the id {schema_id}. The writer of the record"
            " must use the same registry"
        )

    def _unavailable(self, error: Exception) -> NoReturn:
        if isinstance(error, self._library.SchemaRegistryError):
            is_forbidden = error.http_status_code in (401, 403)
            remedy = "Check the user and password" if is_forbidden else "Check its address, and its own log"
        else:
            remedy = "Check that it runs, and the address"
        raise RegistryUnavailableError(
            f"the schema registry {self._shown_url} could not be asked ({type(error).__name__}: {error}). {remedy}"
        ) from error


def _without_password(url: str) -> str:
    parts = urlsplit(url.strip())
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
