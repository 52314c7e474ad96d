"""What a dead server gets from many threads: requests that were sent for each call.

A hundred threads make 20 calls each through one client, of a server that refuses
connections, then of one that answers 503. Own waits are a thousandth of what they are by
default: how long a contender waits changes nothing here, for the server stays dead.

Read :func:`amplification`.
"""

from __future__ import annotations

import itertools
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx

from benchmarks.harness import Row
from benchmarks.http_contenders import RETRYING, Contender, Ours, installed

THREADS, CALLS = 100, 20
GOAL = 1.05


class Refused(httpx.HTTPTransport):
    """Counts what is sent to a port of this machine where nobody listens."""

    def __init__(self) -> None:
        super().__init__(limits=httpx.Limits(max_connections=None))
        self.sent = itertools.count()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        next(self.sent)
        return super().handle_request(request)


class Down(httpx.BaseTransport):
    """Counts what is sent, and answers 503."""

    def __init__(self) -> None:
        self.sent = itertools.count()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        next(self.sent)
        return httpx.Response(503, text="down")


def amplification(quick: bool) -> Iterator[Row]:
    """Yield requests for each call; quick is not shorter, but leaves out refused connections."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, so that no other takes it, and not listening
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        for name, server in (("refused", Refused), ("503", Down)):
            kinds: list[type[Contender]] = [Contender, *installed(RETRYING)]
            for kind in kinds:
                if quick and server is Refused and kind is not Ours:
                    continue
                yield Row(
                    f"amplification, {name}",
                    kind.name,
                    "1 a call",
                    [_sent(kind(is_async=False, waits=0.001), server(), url)],
                    GOAL if kind is Ours else None,
                )


def _sent(contender: Contender, server: Any, url: str) -> float:
    """Return requests a call."""
    logging.getLogger("stamina").setLevel(logging.ERROR)
    with httpx.Client(transport=contender.transport(server)) as client:
        call = contender.around(client.get)

        def work() -> None:
            for _ in range(CALLS):
                try:
                    call(url)
                except httpx.TransportError:
                    continue

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return float(next(server.sent)) / (THREADS * CALLS)
