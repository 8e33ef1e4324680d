"""A ClickHouse server over HTTP. What differs from the embedded engine: it may be down, slow, or cut off half-way.

Every wait is bounded: to connect, and for each answer. There is no session on the server, so queries of several threads
may run at once. An insert is never repeated here: whoever inserts does that, and may, because rows are upserts.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.httpclient import HttpClient
from urllib3 import Timeout

from pipeline.clickhouse.cluster import create_database
from pipeline.clickhouse.embedded import SESSION_SETTINGS
from pipeline.clickhouse.errors import WarehouseError
from pipeline.clickhouse.refusals import refused

COMPRESSIONS: Final = ("none", "lz4", "zstd")

_SETTINGS: Final = {
    **{name: value for name, value in SESSION_SETTINGS.items() if name != "max_block_size"},
    "distributed_foreground_insert": 1,  # on a cluster too, acknowledged means stored: by the shard
}
"""Sent with each request. Blocks stay the server's size: it has the memory that an embedded engine spares."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server is and how to speak to it. Shown without the password."""

    host: str
    port: int
    is_tls: bool
    username: str
    password: str = field(repr=False)

    @classmethod
    def parse(cls, url: str, username: str | None, password: str | None) -> ServerAddress:
        """Of ``http(s)://[user:password@]host[:port]``; ``username`` and ``password`` win over the URL's.

        :raises WarehouseError: it is no such URL.
        """
        remedy = "Write the address of ClickHouse's HTTP interface as http://HOST:8123 or https://HOST:8443."
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise WarehouseError(f"The ClickHouse address cannot be read. {remedy}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.path not in ("", "/"):
            raise WarehouseError(f"The ClickHouse address is not what is needed. {remedy}")
        is_tls = parts.scheme == "https"
        return cls(
            parts.hostname,
            port or (8443 if is_tls else 8123),
            is_tls,
            username if username is not None else unquote(parts.username or "default"),
            password if password is not None else unquote(parts.password or ""),
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}"


class ServerSession:
    """A client that speaks to one database of a server."""

    def __init__(self, client: Client, address: ServerAddress) -> None:
        self.client = client
        self.name = f"ClickHouse at {address}"

    def tune(self, tables: Sequence[str]) -> None:
        """Leave the tables alone: a server has its own memory, disks and administrator.

        Its defaults suit small streaming inserts well enough. A table takes an insert every 500 ms from each sink and
        has some tens of parts between merges; the server slows inserts down at 1 000 of them.
        """

    def close(self) -> None:
        """Close the connections. Called once."""
        self.client.close()


def open_server(
    address: ServerAddress,
    database: str,
    *,
    connect_timeout_s: float,
    answer_timeout_s: float,
    compression: str,
    verify: bool,
    ca_file: str | None,
    create: bool = True,
    cluster: str = "",
) -> ServerSession:
    """Connect, and create the database where it is missing, or without ``create`` refuse it.

    :raises WarehouseError: wrong user or password, or the user may not create the database.
    :raises WarehouseUnavailableError: nobody answers there, or not in time.
    """
    if compression not in COMPRESSIONS:
        raise WarehouseError(f"There is no compression {compression!r}: choose {', '.join(COMPRESSIONS)}.")
    with refused(f"open the database {database}", f"ClickHouse at {address}"):
        client = clickhouse_connect.get_client(
            interface="https" if address.is_tls else "http",
            host=address.host,
            port=address.port,
            username=address.username,
            password=address.password,
            compress=False if compression == "none" else compression,
            connect_timeout=math.ceil(connect_timeout_s),
            send_receive_timeout=math.ceil(answer_timeout_s),
            query_retries=0,
            verify=verify,
            ca_cert=ca_file,
            settings=dict(_SETTINGS),
            autogenerate_session_id=False,
            client_name="crosscredit",
            dedicated_pool=True,
        )
        try:
            _bound(client, connect_timeout_s, answer_timeout_s)
            known = client.query("SELECT 1 FROM system.databases WHERE name = {n:String}", {"n": database})
            if not known.row_count and not create:
                raise WarehouseError(
                    f"ClickHouse at {address} has no database {database}. Name it with --clickhouse-database; a worker "
                    "makes it when it starts."
                )
            if not known.row_count:  # asked first, for a user that may use the database but not create one
                plain = f"CREATE DATABASE IF NOT EXISTS `{database}`"
                client.command(create_database(database, cluster) if cluster else plain)
            client.database = database
        except BaseException:
            with contextlib.suppress(ClickHouseError):
                client.close()
            raise
    return ServerSession(client, address)


def _bound(client: Client, connect_timeout_s: float, answer_timeout_s: float) -> None:
    """Make the waits what was asked for, to the millisecond and once.

    clickhouse-connect rounds them to seconds, connects twice, and lets a busy server send headers of progress now and
    then, which would start the wait for an answer again and again.
    """
    if not isinstance(client, HttpClient):
        raise TypeError("clickhouse-connect gave a client that does not speak HTTP")
    client.timeout = Timeout(connect=connect_timeout_s, read=answer_timeout_s)
    client.http_retries = 0
    client._backend.send_progress = False
    client._backend.progress_interval = None
