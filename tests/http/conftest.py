"""The server, the clock and the caller of every test; nothing may leak."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from .harness import FLAVOURS, Caller, Clock, Flavour, Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let nobody fail for what httpx and httpcore leave behind.

    Of a body that is not read to its end they leave generators to the garbage collector,
    their own and those in them, and trio warns of it, in whatever test it is by then.
    """
    theirs = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(theirs)


@pytest.fixture(scope="package")
def portals() -> Iterator[dict[str, Any]]:
    """One event loop of each kind, in a thread of its own."""
    with ExitStack() as stack:
        yield {
            loop: stack.enter_context(start_blocking_portal(loop)) for loop in ("asyncio", "trio")
        }


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that answers 200 until it is scripted."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def clock(server: Server) -> Clock:
    """A clock that passes in waits only; the server writes its time down."""
    clock = Clock()
    server.clock = clock.monotonic
    return clock


@pytest.fixture(params=FLAVOURS, ids=str)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Every client in turn."""
    return request.param  # type: ignore[no-any-return]


Make = Callable[..., Caller]


@pytest.fixture
def caller(
    flavour: Flavour,
    server: Server,
    clock: Clock,
    portals: dict[str, Any],
) -> Iterator[Make]:
    """Make callers; at the end, whatever they took must have been given back.

    ``caller(real=True)`` has the real clock, ``inner=`` makes the transport that sends,
    ``client=`` are options of the client, all others those of the transport.
    """
    made: list[Caller] = []

    def make(
        *, real: bool = False, inner: Any = None, client: Any = None, **options: Any
    ) -> Caller:
        caller = Caller(
            flavour,
            portals.get(flavour.loop),
            server,
            None if real else clock,
            inner,
            client or {},
            options,
        )
        made.append(caller)
        return caller

    yield make
    for each in made:
        each.close()
