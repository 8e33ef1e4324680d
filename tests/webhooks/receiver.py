"""A partner's endpoint: a real HTTP server that answers as it is told to, and notes what it gets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Answers = Callable[[int], int]
"""How the n-th request (from 0) is answered."""


@dataclass
class Request:
    headers: dict[str, str]
    body: bytes
    status: int
    at: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Also a context manager. ``answers`` and ``delay_s`` may be changed while it runs."""

    def __init__(self, answers: Answers = lambda _: 200, port: int = 0, **headers: str) -> None:
        self.answers = answers
        self.delay_s = 0.0
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with receiver._lock:
                    status = receiver.answers(len(receiver.requests))
                    found = Request({name.lower(): value for name, value in self.headers.items()}, body, status)
                    receiver.requests.append(found)
                time.sleep(receiver.delay_s)
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", "4")
                    self.end_headers()
                    self.wfile.write(b"said")
                except OSError:
                    pass  # whoever asked did not wait

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"

    def taken(self) -> list[Request]:
        """Those that were answered with 2xx."""
        with self._lock:
            return [each for each in self.requests if each.status < 300]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
