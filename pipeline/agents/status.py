"""What a worker shows of itself over HTTP: /metrics, /healthz and /readyz."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Check = Callable[[], str]
"""Returns what is wrong, in words; "" if nothing is."""


class StatusServer:
    """A small server; by default nobody outside the machine reaches it.

    ``/healthz`` answers 503 with the reason when the worker should be restarted, ``/readyz`` while it is not yet, or
    not any more, doing its work.
    """

    def __init__(self, registry: CollectorRegistry, *, is_healthy: Check, is_ready: Check) -> None:
        self._registry = registry
        #: Whether somebody has read the metrics: a counter that is born above 0 is not seen to grow.
        self.was_read = False
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/healthz", _answering(is_healthy))
        application.router.add_get("/readyz", _answering(is_ready))
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which is a free one if ``port`` is 0.

        :raises OSError: the port is taken.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        answer = web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
        self.was_read = True
        return answer


def _answering(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        problem = check()
        return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)

    return answer
