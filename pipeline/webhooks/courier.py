"""Delivering notices: a thread of its own, and in it a lane for each endpoint, so that none holds up another.

A lane has a few requests under way. When an endpoint fails again and again the lane goes on with one request at a
time, with growing pauses, until one is answered: an endpoint that is down is asked whether it is back, not stormed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from pipeline.webhooks.endpoints import Endpoint
from pipeline.webhooks.signing import headers

TRIP_AFTER: Final = 5
"""Failures in a row after which an endpoint is taken to be down."""

LONGEST_PAUSE_S: Final = 60.0
MOST_READ_BYTES: Final = 500
_CLOSE_WITHIN_S: Final = 3.0


class Answer(NamedTuple):
    """What came of an attempt."""

    status: int  # 0: no answer
    reason: str  # in words; "" if it was taken
    retry_after_s: int  # what the receiver asked for; 0 if nothing

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has it."""
        return 200 <= self.status < 300


class Job(NamedTuple):
    """A notice that is to be delivered now."""

    endpoint: str
    notice_id: str
    body: bytes
    done: Callable[[Answer], object]  # called in the courier's thread
    is_wanted: Callable[[], bool]  # asked just before


Attempted = Callable[[str, int, float], object]
"""Hears endpoint, status (0: no answer) and seconds."""


class Courier:
    """Delivers jobs. Any thread may offer."""

    def __init__(self, endpoints: Sequence[Endpoint], on_attempt: Attempted = lambda *_: None) -> None:
        self._endpoints = endpoints
        self._on_attempt = on_attempt
        self._loop = asyncio.new_event_loop()
        self._lanes: dict[str, _Lane] = {}
        self._ready = threading.Event()
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self._ready.wait()

    def offer(self, job: Job) -> None:
        """Deliver it when its endpoint's lane comes to it."""
        self._loop.call_soon_threadsafe(self._lanes[job.endpoint].put, job)

    def close(self) -> None:
        """Stop; what was not delivered has no answer."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(_CLOSE_WITHIN_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._work())
        finally:
            self._loop.close()

    async def _work(self) -> None:
        async with _session(_PublicResolver()) as outside, _session(None) as anywhere:
            for each in self._endpoints:
                self._lanes[each.name] = _Lane(each, anywhere if each.allow_private else outside, self._on_attempt)
            tasks = [asyncio.create_task(work()) for lane in self._lanes.values() for work in lane.workers()]
            self._ready.set()
            await self._ending.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Lane:
    """One endpoint's notices on their way."""

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession, on_attempt: Attempted) -> None:
        self._endpoint = endpoint
        self._session = session
        self._on_attempt = on_attempt
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._failures = 0  # in a row
        self._open_at = 0.0  # when the next may be tried
        self._probing = asyncio.Lock()

    def put(self, job: Job) -> None:
        self._queue.put_nowait(job)

    def workers(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        return [self._work] * self._endpoint.at_once

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            if self._failures < TRIP_AFTER:
                await self._attempt(job)
                continue
            async with self._probing:
                await asyncio.sleep(max(0.0, self._open_at - time.monotonic()) if self._failures else 0.0)
                await self._attempt(job)

    async def _attempt(self, job: Job) -> None:
        if not job.is_wanted():
            return
        began = time.monotonic()
        answer = await self._post(job)
        self._on_attempt(self._endpoint.name, answer.status, time.monotonic() - began)
        # A refusal is about the one notice, or the settings: whoever refuses is not down.
        if answer.status in (0, 408, 429) or answer.status >= 500:
            self._failures += 1
            pause_s = min(2.0 ** max(0, self._failures - TRIP_AFTER), LONGEST_PAUSE_S)
            self._open_at = time.monotonic() + max(pause_s, min(float(answer.retry_after_s), LONGEST_PAUSE_S))
        else:
            self._failures = 0
        job.done(answer)

    async def _post(self, job: Job) -> Answer:
        endpoint = self._endpoint
        signed = headers(endpoint.secrets, job.notice_id, int(time.time()), job.body)
        try:
            async with self._session.post(
                endpoint.url, data=job.body, headers={"content-type": "application/json", **signed},
                allow_redirects=False, timeout=aiohttp.ClientTimeout(total=endpoint.timeout_s),
            ) as response:  # fmt: skip
                status = response.status
                asked = response.headers.get("retry-after", "")
                if 200 <= status < 300:
                    return Answer(status, "", 0)
                said = (await response.content.read(MOST_READ_BYTES)).decode(errors="replace")
        except TimeoutError:
            return Answer(0, f"no answer within {endpoint.timeout_s:.0f} s", 0)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
            return Answer(0, f"{type(error).__name__}: {cause}"[:MOST_READ_BYTES], 0)
        words = "a redirect, which is not followed" if 300 <= status < 400 else " ".join(said.split())
        return Answer(status, f"{status}: {words}" if words else str(status), int(asked) if asked.isdigit() else 0)


class _PublicResolver(AbstractResolver):
    """Names that lead into a private network, or to this machine, have no address: whoever owns a name may point it
    anywhere, at any time.
    """

    def __init__(self) -> None:
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:  # fmt: skip
        found = await self._resolver.resolve(host, port, family)
        for each in found:
            if not ipaddress.ip_address(each["host"]).is_global:
                raise OSError(f"{host} is {each['host']}, inside a private network. If so meant: allow_private = true")
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _session(resolver: AbstractResolver | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, resolver=resolver),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"user-agent": "crosscredit-webhooks"},
    )
