"""A ClickHouse server as far as a client of ours can see: its HTTP interface over the embedded engine.

For the local stack and the tests, where no server can be installed; production uses the real one. Run it as a process::

    python -m pipeline.clickhouse.front --path DIR --port 8123

It prints ``Ready: http://127.0.0.1:8123`` when it serves, and ends within two seconds of SIGTERM. It knows no users and
no passwords, so it listens on this machine alone, and a browser's pages may not speak to it. Everything that
clickhouse-connect asks of a server is offered, but external data, compressed answers and sessions: a session's name is
accepted, and nothing is kept from one of its requests to the next.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import uuid
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from backports import zstd
from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]  # it has no types

from pipeline.clickhouse.errors import WarehouseError
from pipeline.clickhouse.front_engine import Answer, Engine, EngineError, Request, Statement
from pipeline.clickhouse.front_faults import Fault, Faults

_T = TypeVar("_T")

MAX_BODY_BYTES: Final = 256 << 20
THREADS: Final = 8
_GRACE_SECONDS: Final = 0.4  # for requests under way when told to stop; aiohttp takes it twice

_DEADLINE_SECONDS: Final = 1.5

_TRANSPORT: Final = frozenset(
    (
        *("query", "database", "default_format", "query_id", "user", "password", "quota_key", "role", "stacktrace"),
        *("compress", "decompress", "enable_http_compression", "buffer_size", "wait_end_of_query"),
        *("send_progress_in_http_headers", "http_headers_progress_interval_ms", "client_protocol_version"),
        *("session_id", "session_check", "session_timeout", "close_session"),
    )
)
"""Parameters of a request that are no settings of the engine."""

_STATUS: Final[Mapping[int, int]] = {
    **dict.fromkeys((36, 6, 26, 27, 33, 38, 41, 53, 62, 69, 70, 72, 117, 131), 400),
    **dict.fromkeys((46, 47, 50, 56, 60, 81, 115, 73, 511), 404),
    **dict.fromkeys((192, 193, 516, 512), 403),
    48: 501,
    159: 408,
    209: 503,
    439: 503,
}
"""HTTP status of an engine's error code, as the server has it; the others are 500."""


_UNPACKERS: Final[Mapping[str, Callable[[], Any]]] = {
    "lz4": LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": partial(zlib.decompressobj, zlib.MAX_WBITS | 16),
    "deflate": partial(zlib.decompressobj, zlib.MAX_WBITS | 32),
}
"""By content encoding."""


class _DropError(Exception):
    """Close the connection without an answer."""


class Front:
    """The HTTP side. One instance serves one engine."""

    def __init__(self, engine: Engine, faults: Faults | None, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._engine = engine
        self._faults = faults
        self._max_body_bytes = max_body_bytes
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="clickhouse")

    def application(self) -> web.Application:
        """The routes, for aiohttp to serve."""
        application = web.Application(client_max_size=self._max_body_bytes, middlewares=[_no_pages])
        application.router.add_get("/ping", self._ping)
        application.router.add_get("/", self._answer)
        application.router.add_post("/", self._answer)
        if self._faults is not None:
            application.router.add_post("/faults", partial(_set_fault, self._faults))
            application.router.add_get("/faults", partial(_show_faults, self._faults))
        return application

    async def _ping(self, request: web.Request) -> web.StreamResponse:
        try:
            await _meet(self._next_fault(is_insert=False), request)
        except EngineError as error:
            return _refusal(error, {})
        except _DropError:
            return _dropped(request)
        return web.Response(text="Ok.\n")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {"X-ClickHouse-Query-Id": request.query.get("query_id") or str(uuid.uuid4())}
        try:
            asked = await self._parse(request)
            headers["X-ClickHouse-Timezone"] = asked.settings.get("session_timezone", "UTC")
            statement = asked.statement
            fault = self._next_fault(is_insert=statement.data is not None)
            await _meet(fault, request)
            if fault.mode == "fail_half_way":
                await self._threaded(self._engine.insert_half, asked)
                raise EngineError("Memory limit exceeded (a fault that was asked for). (MEMORY_LIMIT_EXCEEDED)", 241)
            answer = await self._threaded(self._engine.run, asked)
            if fault.mode == "cut_after_commit":
                return _dropped(request)
            if statement.is_answering:
                headers["X-ClickHouse-Format"] = statement.format
            if answer.is_streamed:
                return await self._stream(request, answer, headers)
            headers["X-ClickHouse-Summary"] = answer.summary_json
            return web.Response(body=next(answer.parts), headers=headers)
        except EngineError as error:
            return _refusal(error, headers)
        except _DropError:
            return _dropped(request)

    async def _stream(self, request: web.Request, answer: Answer, headers: Mapping[str, str]) -> web.StreamResponse:
        """Send block by block. After an error there is no last chunk, by which the client knows."""
        response = web.StreamResponse(headers=headers)
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            while (part := await self._threaded(_next_part, answer)) is not None:
                await response.write(part)
            await response.write_eof()
        except (EngineError, ConnectionError):  # the engine refused, or the client went away
            return _dropped(request)
        finally:  # never left to the garbage collector: chDB ends a stream with Python's lock held, and may wait for it
            await self._threaded(_close_parts, answer)
        return response

    async def _parse(self, request: web.Request) -> Request:
        given = dict(request.query)
        body = b""
        if request.content_type == "multipart/form-data":
            for name, value in (await request.post()).items():
                if not isinstance(value, str):
                    raise EngineError("External data is not offered by this front. (NOT_IMPLEMENTED)", 48)
                given[name] = value
        elif request.can_read_body:
            body = await self._body(request)
        statement = Statement.of(
            given.get("query", ""), body, given.get("default_format") or request.headers.get("X-ClickHouse-Format")
        )
        if not statement.sql.strip():
            raise EngineError("Empty query. (SYNTAX_ERROR)", 62)
        return Request(
            statement,
            database=given.get("database") or request.headers.get("X-ClickHouse-Database") or "default",
            settings={
                name: value for name, value in given.items() if name not in _TRANSPORT and not name.startswith("param_")
            },
            parameters={
                name.removeprefix("param_"): value for name, value in given.items() if name.startswith("param_")
            },
            is_read_only=request.method == "GET",
            is_streamed=given.get("wait_end_of_query", "0") in ("", "0"),
        )

    async def _body(self, request: web.Request) -> bytes:
        packed = await request.read()
        encoding = request.headers.get("Content-Encoding", "identity").lower()
        try:
            return await self._threaded(_unpacked, packed, encoding, self._max_body_bytes)
        except (RuntimeError, zlib.error, zstd.ZstdError, EOFError) as error:
            raise EngineError(f"The body is not {encoding}: {error}. (CANNOT_DECOMPRESS)", 271) from error

    async def _threaded(self, call: Callable[..., _T], *args: object) -> _T:
        """``call(*args)`` on a thread of the pool: chDB blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)

    def _next_fault(self, is_insert: bool) -> Fault:
        return Fault() if self._faults is None else self._faults.take(is_insert)


async def _set_fault(faults: Faults, request: web.Request) -> web.StreamResponse:
    try:
        faults.set(Fault.parse(await request.json()))
    except ValueError as error:
        return web.Response(status=400, text=f"{error}\n")
    return web.json_response({"met": faults.met})


async def _show_faults(faults: Faults, _: web.Request) -> web.StreamResponse:
    return web.json_response({"met": faults.met})


async def _meet(fault: Fault, request: web.Request) -> None:
    """What a fault does before the request is run."""
    if fault.mode == "refuse":
        raise EngineError("Cannot schedule a task (a fault that was asked for). (CANNOT_SCHEDULE_TASK)", 439)
    if fault.mode == "deny":
        raise EngineError("Authentication failed (a fault that was asked for). (AUTHENTICATION_FAILED)", 516)
    if fault.mode == "drop":
        raise _DropError
    if fault.mode == "slow":
        await asyncio.sleep(fault.seconds)
    while fault.mode == "hang":
        await asyncio.sleep(0.05)
        if request.transport is None or request.transport.is_closing():
            raise _DropError


@web.middleware
async def _no_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A page that somebody has open in a browser must not reach what has no password."""
    if "Origin" in request.headers:
        return web.Response(status=403, text="Not for browsers.\n")
    return await handler(request)


def _refusal(error: EngineError, headers: Mapping[str, str]) -> web.Response:
    text = f"{error}\n"
    marked = {**headers, "X-ClickHouse-Exception-Code": str(error.code)}
    return web.Response(status=_STATUS.get(error.code, 500), text=text, headers=marked)


def _dropped(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its compression, of at most ``limit`` bytes."""
    if encoding == "identity":
        return body
    if encoding not in _UNPACKERS:
        raise EngineError(f"Unknown compression {encoding!r}: send {', '.join(_UNPACKERS)}.", 89)
    plain = bytearray()
    while body:  # one frame after the other
        unpacker = _UNPACKERS[encoding]()
        plain += unpacker.decompress(body, limit + 1 - len(plain))
        if len(plain) > limit:
            raise EngineError(f"The body is longer than {limit} bytes: insert fewer rows at once.", 307)
        if not unpacker.eof:
            raise EOFError("it ends too early")
        body = unpacker.unused_data
    return bytes(plain)


def _next_part(answer: Answer) -> bytes | None:
    return next(answer.parts, None)


def _close_parts(answer: Answer) -> None:
    """Let go of the engine's handle, also when the client went away half-way."""
    close = getattr(answer.parts, "close", None)
    if close is not None:
        with contextlib.suppress(ValueError):  # told to stop while the engine works on the next part
            close()


async def serve(front: Front, host: str, port: int, leave: Callable[[], object]) -> None:
    """Serve until SIGTERM or SIGINT. Says on standard output when and where it is ready.

    ``leave`` is called where the requests under way do not let it stop in time.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    runner = web.AppRunner(front.application(), access_log=None, auto_decompress=False, shutdown_timeout=_GRACE_SECONDS)
    await runner.setup()
    listener = socket.create_server(
        (host, port), backlog=128, family=socket.AF_INET6 if ":" in host else socket.AF_INET
    )
    await web.SockSite(runner, listener).start()
    sys.stdout.write(f"Ready: http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    await stopping.wait()
    deadline = threading.Timer(_DEADLINE_SECONDS, leave)
    deadline.daemon = True
    deadline.start()
    await runner.cleanup()


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.clickhouse.front", description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, help="folder of the data; without it a temporary one, removed at the end")
    parser.add_argument("--host", default="127.0.0.1", help="there are no passwords: leave it at 127.0.0.1")
    parser.add_argument("--port", type=int, default=8123, help="0: any free one, which is printed")
    parser.add_argument("--max-body-mib", type=int, default=MAX_BODY_BYTES >> 20, help="longer requests are refused")
    parser.add_argument("--faults", action="store_true", help="for tests: POST /faults makes requests fail")
    asked = parser.parse_args(arguments)
    try:
        engine = Engine(asked.path)
    except WarehouseError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    front = Front(engine, Faults() if asked.faults else None, asked.max_body_mib << 20)

    def leave() -> None:
        """End at once: to close the engine could take seconds, and whatever was acknowledged is in its files."""
        engine.abandon()
        os._exit(0)

    try:
        asyncio.run(serve(front, asked.host, asked.port, leave))
    except OSError as error:
        sys.stderr.write(f"Cannot listen on {asked.host}:{asked.port}: {error.strerror or error}. Name another port.\n")
        engine.close()
        return 1
    leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
