"""What a reliable transport costs when all goes well: microseconds of CPU added to a call.

``request`` is the transport alone, around one in memory that makes nothing; ``client.get``
is the whole call of a client, beside the same client without. The contenders and the bare
one alternate in small batches, and a batch counts the CPU of this thread. Of each dozen of
rounds the fastest batch of either side counts: what was slower was disturbed.

Read :func:`request`, then :func:`get` and :func:`acquire`.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.harness import Row
from benchmarks.http_contenders import RETRYING, Contender, Empty, Ours, installed, limiters

ROUNDS = 12
GROUPS = 5
"""Ratios of a row."""
GOALS = {("sync", False): 4.0, ("async", False): 5.0, ("sync", True): 12.0, ("async", True): 12.0}
CONTEXT_GOAL = 1.10

URL = "https://api.example.com/v1/orders?after=2024-01-01"
ASKED = {"authorization": "Bearer 0123456789abcdef", "accept": "application/json"}
ANSWERED = [
    (b"Date", b"Tue, 24 Nov 2026 10:00:00 GMT"),
    (b"Content-Type", b"application/json"),
    (b"Content-Length", b"15"),
    (b"Connection", b"keep-alive"),
    (b"Server", b"nginx"),
    (b"Vary", b"Accept-Encoding"),
    (b"X-Request-Id", b"5d0c1f0e4b7a4a59b1f0a4d6a2f8c1e9"),
]
BODY = b'{"orders": [7]}'
TOLD = (b"RateLimit-Policy", b'"default";q=100000000;w=60')


def answers(lib: Any, told: bool) -> list[Any]:
    """Return headers of answers; each tells another number of what is left."""
    if not told:
        return [lib.Headers(ANSWERED)]
    left = range(90_000_000, 90_000_000 - 997, -1)
    return [
        lib.Headers([*ANSWERED, TOLD, (b"RateLimit", b'"default";r=%d;t=60' % each)])
        for each in left
    ]


class InMemory:
    """Answers from memory; with ``reuse`` it makes no response but returns the same one."""

    def __init__(self, lib: Any, *, told: bool = False, reuse: bool = False) -> None:
        self._response, self._headers = lib.Response, answers(lib, told)
        self._stream, self._at = lib.ByteStream(BODY), 0
        self._one = lib.Response(200, headers=self._headers[0], stream=self._stream)
        self._reuse = reuse

    def handle_request(self, request: Any) -> Any:
        at = self._at = (self._at + 1) % len(self._headers)
        if not self._reuse:
            return self._response(200, headers=self._headers[at], stream=self._stream)
        one = self._one
        one.headers, one.stream, one.extensions = self._headers[at], self._stream, {}
        return one

    async def handle_async_request(self, request: Any) -> Any:
        return self.handle_request(request)

    def close(self) -> None: ...
    async def aclose(self) -> None: ...
    def __enter__(self) -> InMemory:
        return self

    async def __aenter__(self) -> InMemory:
        return self

    def __exit__(self, *_: object) -> None: ...
    async def __aexit__(self, *_: object) -> None: ...


def _inner(lib: Any, is_async: bool, **options: Any) -> Any:
    base = lib.AsyncBaseTransport if is_async else lib.BaseTransport
    return type("InMemory", (InMemory, base), {})(lib, **options)


# -- Seconds ---------------------------------------------------------------------------


def seconds(calls: dict[str, Callable[[], Any]], number: int) -> list[dict[str, float]]:
    """Return CPU seconds of a call, by name, for each group of rounds."""
    coroutines = {name: inspect.iscoroutinefunction(call) for name, call in calls.items()}

    def batch(name: str) -> float:
        call = calls[name]
        if coroutines[name]:
            return asyncio.run(_abatch(call, number))
        began = time.thread_time()
        for _ in range(number):
            call()
        return (time.thread_time() - began) / number

    for name in calls:
        batch(name)
    gc.collect()
    gc.freeze()
    groups, order = [], list(calls)
    for _ in range(GROUPS):
        best = dict.fromkeys(calls, float("inf"))
        for turn in range(ROUNDS):
            for name in order if turn % 2 == 0 else order[::-1]:
                best[name] = min(best[name], batch(name))
        groups.append(best)
    gc.unfreeze()
    return groups


async def _abatch(call: Callable[[], Awaitable[Any]], number: int) -> float:
    began = time.thread_time()
    for _ in range(number):
        await call()
    return (time.thread_time() - began) / number


def _faces(quick: bool) -> Iterator[tuple[str, bool, int]]:
    for face in ("sync", "async"):
        yield face, face == "async", 200 if quick else 1_000


# -- Rows ------------------------------------------------------------------------------


def request(quick: bool) -> Iterator[Row]:
    """Yield what each transport or wrapper adds to one that answers from memory."""
    lib = import_module("httpx")
    for face, is_async, number in _faces(quick):
        for told in (False, True):
            kinds: Sequence[type[Contender]] = [Contender, Empty, *installed(RETRYING)]
            calls = {kind.name: once(kind, lib, is_async=is_async, told=told) for kind in kinds}
            measured = seconds(calls, number)
            for kind in kinds[1:]:
                yield Row(
                    f"request {face}, {'limits told' if told else 'no limits'}",
                    kind.name,
                    "1 µs",
                    [(its[kind.name] - its[Contender.name]) * 1e6 for its in measured],
                    GOALS[face, told] if kind is Ours else None,
                )


def once(kind: type[Contender], lib: Any, *, is_async: bool, told: bool) -> Callable[[], Any]:
    """Return a request by a contender, around a transport in memory that makes nothing."""
    asked = lib.Request(
        "GET", URL, headers=ASKED, extensions={"timeout": lib.Timeout(5.0).as_dict()}
    )
    contender = kind(is_async=is_async)
    transport = contender.transport(_inner(lib, is_async, told=told, reuse=True))
    if is_async:
        handle = contender.around(transport.handle_async_request)

        async def send() -> Any:
            return await handle(asked)

        return send
    handle_here = contender.around(transport.handle_request)
    return lambda: handle_here(asked)


def get(quick: bool) -> Iterator[Row]:
    """Yield what ``client.get`` costs with each, over what it costs without."""
    for name in ("httpx", "httpx2"):
        if find_spec(name) is None:
            continue
        lib = import_module(name)
        for face, is_async, number in _faces(quick):
            kinds: list[type[Contender]] = [Contender, *installed(RETRYING)]
            calls = {}
            for kind in kinds:
                if kind.name == "httpx-retries" and name != "httpx":
                    continue  # it takes transports of httpx only
                contender = kind(is_async=is_async)
                transport = contender.transport(_inner(lib, is_async))
                client = (lib.AsyncClient if is_async else lib.Client)(
                    transport=transport, headers=ASKED
                )
                calls[kind.name] = _got(contender, client)
            measured = seconds(calls, max(100, number // 5))
            for each in calls:
                if each != Contender.name:
                    yield Row(
                        f"client.get {face}",
                        each,
                        f"{name} alone",
                        [its[each] / its[Contender.name] for its in measured],
                        CONTEXT_GOAL if each == Ours.name else None,
                    )


def _got(contender: Contender, client: Any) -> Callable[[], Any]:
    call = contender.around(client.get)
    if contender.is_async:

        async def send() -> Any:
            return await call(URL)

        return send
    return lambda: call(URL)


def acquire(quick: bool) -> Iterator[Row]:
    """Yield what a free slot costs; of our pacer, to take it and to give it back."""
    calls = {name: build() for name, build in limiters().items()}
    measured = seconds(calls, 500 if quick else 2_000)
    for name in calls:
        yield Row("acquire", name, "1 µs", [its[name] * 1e6 for its in measured])
