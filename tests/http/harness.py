"""A server that does as scripted, a clock that passes in waits only, and a caller of any client.

A test scripts :class:`Server` with :func:`answer`, makes a :class:`Caller`, calls, and looks
at what came back, at ``server.seen`` and at ``call.waits``. Its body is written once and runs
over every flavour: httpx and httpx2, in threads, on asyncio and on trio.
"""

from __future__ import annotations

import importlib
import inspect
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import define, field, frozen

from syncsdk.http.transports import AsyncReliableTransport, CallReport, ReliableTransport
from syncsdk.runtime import SimulatedRuntime, entered, left

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
"""The wall clock time at which every test starts."""
DRAW = 0.5
"""What is drawn for every random number: own waits are half of the longest."""
OWN = [0.125, 0.25, 0.5]
"""Seconds of the first waits of our own, with the defaults of Retry and :data:`DRAW`."""


def date(seconds: float = 0.0) -> str:
    """Return the HTTP date so many seconds after the start."""
    return (NOON + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")


def epoch(seconds: float = 0.0) -> int:
    """Return the epoch's seconds so many seconds after the start."""
    return int((NOON + timedelta(seconds=seconds)).timestamp())


class Clock(SimulatedRuntime):
    """Time that passes in waits only, and is written down.

    Attributes:
        waits: seconds of every wait.
        during: called in each wait, to let something happen meanwhile; awaited if need be.
        wrong: seconds by which the wall clock is fast.
        tick: seconds that pass with every look at it.
    """

    def __init__(self) -> None:
        self._elapsed = 0.0
        self.waits: list[float] = []
        self.during: Callable[[], Any] = lambda: None
        self.wrong = 0.0
        self.tick = 0.0
        super().__init__(0, start=NOON)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._elapsed

    @elapsed.setter
    def elapsed(self, to: float) -> None:
        """Take note of a wait: ``pause`` of a thread moves the clock so."""
        if to > self._elapsed:
            self._waited(to - self._elapsed)

    def skip(self, seconds: float) -> None:
        """Let time pass in which nobody waits."""
        self._elapsed += seconds

    def monotonic(self) -> float:
        self._elapsed += self.tick
        return self._elapsed

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.wrong)

    def random(self) -> float:
        return DRAW

    async def sleep(self, seconds: float) -> None:
        meanwhile = self._waited(seconds)
        if inspect.isawaitable(meanwhile):
            await meanwhile

    def _waited(self, seconds: float) -> Any:
        self.waits.append(seconds)
        self._elapsed += seconds
        return self.during()


# -- The server ------------------------------------------------------------------------


@frozen
class Seen:
    """A request as it came.

    Attributes:
        connection: counts connections from 1.
        at: seconds of the test's clock.
        is_whole: the body came to its end.
    """

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int
    at: float
    is_whole: bool

    def header(self, name: str) -> str | None:
        """Return the value of a header, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)


@frozen
class Answer:
    """One scripted answer; see :func:`answer`."""

    status: int
    lines: tuple[str | bytes, ...]
    body: bytes
    fault: str | None
    delay: float
    chunked: bool


def answer(
    status: int = 200,
    *lines: str | bytes,
    body: bytes = b"",
    fault: str | None = None,
    delay: float = 0.0,
    chunked: bool = False,
) -> Answer:
    """Return an answer to script a server with.

    Args:
        status: three digits.
        lines: of headers, as ``Retry-After: 5``; sent as they are.
        body: sent with its length, unless ``lines`` tell another, or in chunks.
        fault: ``close`` or ``reset`` the connection instead of an answer; ``hang``: never
            answer; ``cut`` or ``cut and reset`` in the middle of the body; ``stall`` in the
            middle of the body; ``endless``: a body without end; ``drip``: one of its bytes
            each 10 ms; ``unread``: answer before the request's body is read, and close;
            ``last``: close the connection after the answer, without saying so.
        delay: real seconds before it.
        chunked: send the body in chunks of 16 KiB.
    """
    return Answer(status, lines, body, fault, delay, chunked)


class Server:
    """An HTTP/1.1 server on loopback that gives its scripted answers in order.

    The last one is repeated. Everything that came is in ``seen``.
    """

    def __init__(self, port: int = 0) -> None:
        self.seen: list[Seen] = []
        self.clock: Callable[[], float] = time.monotonic
        self._answers: list[Answer] = [answer()]
        self._given = 0
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._leaving = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def answers(self, *answers: Answer) -> None:
        """Script what comes next."""
        self._answers, self._given = list(answers), 0

    @property
    def connections(self) -> int:
        """How many there were."""
        return len(self._connections)

    def close(self) -> None:
        """End all connections."""
        self._leaving.set()
        self._socket.close()
        for each in self._connections:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            threading.Thread(
                target=self._serve, args=(connection, len(self._connections)), daemon=True
            ).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        reader = connection.makefile("rb")
        try:
            while (head := _head(reader)) is not None:
                with self._lock:
                    given = self._answers[min(self._given, len(self._answers) - 1)]
                    self._given += 1
                method, path, headers = head
                body, is_whole = b"", True
                if given.fault != "unread":
                    body, is_whole = _body(reader, dict(headers))
                self.seen.append(Seen(method, path, headers, body, number, self.clock(), is_whole))
                if given.delay:
                    self._leaving.wait(given.delay)
                if not self._gave(connection, given, method):
                    return
        except OSError:
            pass
        finally:
            reader.close()
            connection.close()

    def _gave(self, connection: socket.socket, given: Answer, method: str) -> bool:
        """Send an answer; return whether the connection goes on."""
        fault = given.fault
        if fault == "reset":
            _reset(connection)
        if fault == "hang":
            self._leaving.wait(5.0)
        if fault in ("close", "reset", "hang"):
            return False
        head, body = _rendered(given)
        if method == "HEAD":
            body = b""
        if fault is None:
            connection.sendall(head + body)
            return True
        if fault in ("unread", "last"):
            connection.sendall(head + body)
            return False
        if fault == "endless":
            connection.sendall(head)
            while not self._leaving.is_set():
                connection.sendall(b"4000\r\n" + bytes(0x4000) + b"\r\n")
        if fault == "drip":
            connection.sendall(head)
            for at in range(len(body)):
                connection.sendall(body[at : at + 1])
                if self._leaving.wait(0.01):
                    break
            return True
        connection.sendall(head + body[: len(body) // 2])
        if fault == "stall":
            self._leaving.wait(5.0)
        if fault == "cut and reset":
            time.sleep(0.02)  # what was sent before a reset may be lost with it
            _reset(connection)
        return False


def _head(reader: Any) -> tuple[str, str, list[tuple[str, str]]] | None:
    first = reader.readline()
    if not first.endswith(b"\n"):
        return None
    method, path, _ = first.decode("latin-1").split(" ", 2)
    headers = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name.lower(), value.strip()))
    return method, path, headers


def _body(reader: Any, headers: dict[str, str]) -> tuple[bytes, bool]:
    """Return a request's body, and whether it came to its end."""
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size = reader.readline()
            if not size.strip():
                return body, False
            chunk = reader.read(int(size, 16))
            reader.readline()
            if not chunk:
                return body, True
            body += chunk
    length = int(headers.get("content-length", 0))
    body = reader.read(length)
    return body, len(body) == length


def _rendered(given: Answer) -> tuple[bytes, bytes]:
    lines = [line.encode("utf-8") if isinstance(line, str) else line for line in given.lines]
    names = [line.partition(b":")[0].lower() for line in lines]
    body = given.body
    if given.chunked or given.fault == "endless":
        lines.append(b"Transfer-Encoding: chunked")
        pieces = [body[at : at + 0x4000] for at in range(0, len(body), 0x4000)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"
    elif b"content-length" not in names and given.status not in (204, 304):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join((b"HTTP/1.1 %d Said" % given.status, *lines, b"", b"")), body


def _reset(connection: socket.socket) -> None:
    """Let the close that follows send RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


# -- The client ------------------------------------------------------------------------


@frozen
class Flavour:
    """A client, and what it waits on: ``sync``, ``asyncio`` or ``trio``."""

    package: str
    loop: str

    def __str__(self) -> str:
        return f"{self.package} {self.loop}"

    @property
    def lib(self) -> Any:
        """The package."""
        return importlib.import_module(self.package)

    @property
    def is_async(self) -> bool:
        """Whether it has an event loop."""
        return self.loop != "sync"


FLAVOURS = [
    Flavour(package, loop)
    for package in ("httpx", "httpx2")
    for loop in ("sync", "asyncio", "trio")
]


@define(eq=False)
class Caller:
    """Calls a server through a reliable transport, in one flavour.

    Args:
        flavour: the client.
        portal: runs coroutines; None for the synchronous ones.
        server: whom to call.
        clock: None for the real one.
        inner: makes the transport that sends; the client's own by default.
        client: options of the client.
        options: of the reliable transport.
    """

    flavour: Flavour
    portal: Any
    server: Server
    clock: Clock | None
    inner: Callable[..., Any] | None = None
    client: dict[str, Any] = field(factory=dict)
    options: dict[str, Any] = field(factory=dict)
    transport: Any = field(init=False)
    opened: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        lib, is_async = self.flavour.lib, self.flavour.is_async
        make = self.inner or (lib.AsyncHTTPTransport if is_async else lib.HTTPTransport)
        kind = AsyncReliableTransport if is_async else ReliableTransport
        self.transport = kind(make(verify=False), **self.options)
        self.opened = (lib.AsyncClient if is_async else lib.Client)(
            transport=self.transport, base_url=self.server.url, trust_env=False, **self.client
        )

    @property
    def lib(self) -> Any:
        """The client's package, for its exceptions."""
        return self.flavour.lib

    @property
    def waits(self) -> list[float]:
        """Seconds of every wait so far, rounded to microseconds."""
        assert self.clock is not None
        return [round(each, 6) for each in self.clock.waits]

    @property
    def gates(self) -> list[Any]:
        """The gates of all quotas so far."""
        return list(self.transport._gates._gates.values())

    def __call__(self, method: str = "GET", path: str = "/", **options: Any) -> Any:
        """Make a call; return its answer, read to its end."""
        return self.run(self.opened.request, method, path, **options)

    def open(self, method: str = "GET", path: str = "/", **options: Any) -> Opened:
        """Make a call; return its answer, unread."""
        request = self.opened.build_request(method, path, **options)
        return Opened(self, self.run(self.opened.send, request, stream=True))

    def body(self, chunks: Iterable[bytes]) -> Any:
        """Return a body that can be iterated once, as the flavour takes it."""

        async def later() -> Any:
            for chunk in chunks:
                yield chunk

        return later() if self.flavour.is_async else iter(list(chunks))

    def run(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call ``function`` of the client where it belongs, with the clock."""
        if self.flavour.is_async:
            return self.portal.call(self._awaited, function, args, options)
        token = None if self.clock is None else entered(self.clock)
        try:
            return function(*args, **options)
        finally:
            if token is not None:
                left(token)

    async def _awaited(self, function: Any, args: Any, options: Any) -> Any:
        token = None if self.clock is None else entered(self.clock)
        try:
            return await function(*args, **options)
        finally:
            if token is not None:
                left(token)

    def close(self) -> None:
        """Close the client; fail if a slot of a pool or of a pacer is still taken."""
        pool = getattr(self.transport._inner, "_pool", None)
        taken = "" if pool is None else str(pool)
        self.run(self.opened.aclose if self.flavour.is_async else self.opened.close)
        if pool is not None:
            found = re.search(r"Requests: (\d+) active, (\d+) queued \| Connections: (\d+)", taken)
            assert found is not None, taken
            assert found.groups() == ("0", "0", "0"), f"a slot leaked: {taken}"
        for gate in self.gates:
            assert gate.pacer.inflight == 0, "a slot of the pacer leaked"
            assert not gate.pacer._line, "somebody still stands in line"


@define(eq=False)
class Opened:
    """An answer that is read piece by piece."""

    call: Caller
    response: Any
    _chunks: Any = None

    def chunk(self) -> bytes:
        """Return the next bytes."""
        if self._chunks is None:
            is_async = self.call.flavour.is_async
            self._chunks = self.response.aiter_bytes() if is_async else self.response.iter_bytes()
        if self.call.flavour.is_async:
            got: bytes = self.call.run(self._chunks.__anext__)
            return got
        return next(self._chunks)  # type: ignore[no-any-return]

    def read(self) -> bytes:
        """Return all bytes."""
        response = self.response
        got: bytes = self.call.run(response.aread if self.call.flavour.is_async else response.read)
        return got

    def left(self) -> Any:
        """Leave the rest from within the loop: to be awaited, if there is one."""
        return self.response.aclose() if self.call.flavour.is_async else self.response.close()

    def rest(self) -> bytes:
        """Return what is left, piece by piece."""
        pieces = []
        with suppress(StopIteration, StopAsyncIteration):
            while True:
                pieces.append(self.chunk())
        return b"".join(pieces)

    def close(self) -> None:
        """Leave the rest."""
        if self.call.flavour.is_async:
            if self._chunks is not None:
                self.call.run(self._chunks.aclose)
            self.call.run(self.response.aclose)
        else:
            self.call.run(self.response.close)


class Failing:
    """A transport that raises at first, then sends.

    Args:
        inner: sends.
        errors: names of the client's exceptions, in their order; None to send.
    """

    def __init__(self, lib: Any, inner: Any, errors: Iterable[str | None]) -> None:
        self._lib = lib
        self._pool = getattr(inner, "_pool", None)
        self._inner = inner
        self._errors = iter(errors)
        self.asked = 0

    def _raise(self) -> None:
        self.asked += 1
        name = next(self._errors, None)
        if name is not None:
            raise getattr(self._lib, name)("scripted")

    def handle_request(self, request: Any) -> Any:
        self._raise()
        return self._inner.handle_request(request)

    async def handle_async_request(self, request: Any) -> Any:
        self._raise()
        return await self._inner.handle_async_request(request)

    def close(self) -> None:
        self._inner.close()

    async def aclose(self) -> None:
        await self._inner.aclose()


def failing(flavour: Flavour, *errors: str | None) -> Callable[..., Failing]:
    """Return what makes a transport that raises these, one a time, before it sends."""
    lib = flavour.lib
    make = lib.AsyncHTTPTransport if flavour.is_async else lib.HTTPTransport
    return lambda **options: Failing(lib, make(**options), errors)


def report(response: Any) -> CallReport:
    """Return what a call came to."""
    found = response.extensions["syncsdk"]
    assert isinstance(found, CallReport)
    return found
