"""Parts that somebody replaced: another transport below, tenacity's waits and stops, our gates."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
import tenacity
from httpx_aiohttp import AiohttpTransport

from syncsdk.http import Budget, Gates, Guard, RateLimit, Retry, UnsafeToRetry

from .harness import OWN, Caller, Flavour, Server, answer, free_port, report


@pytest.fixture
def aiohttp(server: Server, clock: Any, portals: dict[str, Any]) -> Iterator[Any]:
    """Make callers over the transport of httpx-aiohttp; its connections must come back."""
    made: list[Caller] = []

    def make(client: Any = None, **options: Any) -> Caller:
        portal = portals["asyncio"]
        flavour = Flavour("httpx", "asyncio")
        made.append(Caller(flavour, portal, server, clock, AiohttpTransport, client or {}, options))
        return made[-1]

    yield make
    for each in made:
        session = each.transport._inner.client
        taken = set() if session is None else set(session.connector._acquired)
        each.close()
        assert not taken, "a connection leaked"


TROUBLE = [
    pytest.param(answer(429, "Retry-After: 3"), id="429"),
    pytest.param(answer(503, body=b"<html>down</html>"), id="503"),
    pytest.param(answer(403, body=b"rate limit"), id="403"),
]


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("body", [b"whole", [b"chunk1", b"chunk2"]], ids=["bytes", "iterator"])
def test_aiohttp_sends_again_byte_for_byte(
    body: Any, trouble: Any, server: Any, aiohttp: Any
) -> None:
    server.answers(trouble, trouble, answer(body=b"fine"))
    call = aiohttp()

    response = call("PUT", content=body if isinstance(body, bytes) else call.body(body))

    assert response.content == b"fine"
    assert report(response).attempts == 3
    assert {seen.body for seen in server.seen} == {
        b"whole" if body == b"whole" else b"chunk1chunk2"
    }
    assert server.connections == 1


def test_aiohttp_uses_one_connection_for_21_throttled_attempts(server: Any, aiohttp: Any) -> None:
    server.answers(answer(429, "Retry-After: 1", body=b"too many"))
    call = aiohttp(retry=Retry(attempts=21))

    response = call()

    assert (response.status_code, response.content) == (429, b"too many")
    assert len(server.seen) == 21
    assert server.connections == 1


@pytest.mark.parametrize("fault", ["close", "reset"])
def test_aiohttp_a_post_without_an_answer_is_not_sent_again(
    fault: str, server: Any, aiohttp: Any
) -> None:
    """It turns a lost connection into a ConnectTimeout, though the request had left."""
    server.answers(answer(fault=fault), answer())

    with pytest.raises(UnsafeToRetry) as caught:
        aiohttp()("POST", content=b"pay")

    assert caught.value.maybe_applied
    assert len(server.seen) == 1


@pytest.mark.parametrize("fault", ["close", "reset"])
def test_aiohttp_a_get_without_an_answer_is_sent_again(
    fault: str, server: Any, aiohttp: Any
) -> None:
    server.answers(answer(fault=fault), answer(fault=fault), answer(body=b"fine"))

    assert aiohttp()().content == b"fine"


def test_aiohttp_nobody_listens(server: Any, aiohttp: Any) -> None:
    call = aiohttp()

    with pytest.raises((call.lib.ConnectError, call.lib.ConnectTimeout)) as caught:
        call("POST", f"http://127.0.0.1:{free_port()}/", content=b"pay")

    assert not isinstance(caught.value, UnsafeToRetry)
    assert call.waits == OWN


def test_aiohttp_a_timeout_of_a_post(server: Any, aiohttp: Any) -> None:
    server.answers(answer(fault="hang"))
    call = aiohttp(client={"timeout": 0.1})

    with pytest.raises(UnsafeToRetry) as caught:
        call("POST")

    assert isinstance(caught.value, call.lib.ReadTimeout)


def test_aiohttp_a_body_that_is_cut_is_raised(server: Any, aiohttp: Any) -> None:
    server.answers(answer(body=b"0123456789", fault="cut"))
    call = aiohttp()

    with pytest.raises(call.lib.ReadError):
        call()


def test_aiohttp_gzip_is_guarded(server: Any, aiohttp: Any) -> None:
    server.answers(answer(200, "Content-Encoding: gzip", body=gzip.compress(bytes(1 << 20))))

    assert aiohttp()().content == bytes(1 << 20)
    call = aiohttp(guard=Guard(max_body=1_000))
    with pytest.raises(call.lib.DecodingError, match="max_body"):
        call()


def test_aiohttp_an_unwanted_body_without_end_is_given_up(server: Any, aiohttp: Any) -> None:
    server.answers(answer(503, fault="endless"), answer(body=b"fine"))

    assert aiohttp()().content == b"fine"


def test_aiohttp_an_early_exit(server: Any, aiohttp: Any) -> None:
    server.answers(answer(fault="endless"), answer(body=b"fine"))
    call = aiohttp()
    opened = call.open()
    assert opened.chunk()
    opened.close()

    assert call().content == b"fine"


# -- Any client ------------------------------------------------------------------------


def test_a_mocked_transport(caller: Any, flavour: Any) -> None:
    statuses = iter([503, 429, 200])

    def handle(request: Any) -> Any:
        return flavour.lib.Response(next(statuses), content=request.content)

    call = caller(inner=lambda **options: flavour.lib.MockTransport(handle))

    response = call("PUT", content=b"echo")

    assert (response.status_code, response.content) == (200, b"echo")
    assert report(response).attempts == 3


def test_a_mocked_body_of_an_iterator(caller: Any, flavour: Any) -> None:
    got: list[bytes] = []

    def handle(request: Any) -> Any:
        got.append(request.content)
        return flavour.lib.Response(503 if len(got) < 3 else 200)

    call = caller(inner=lambda **options: flavour.lib.MockTransport(handle))

    assert call("PUT", content=call.body([b"a", b"b"])).status_code == 200
    assert got == [b"ab"] * 3


def test_two_transports_share_their_gates(server: Any, caller: Any) -> None:
    gates = Gates(RateLimit(), Budget())
    first = caller(gates=gates, retry=Retry(attempts=1))
    second = caller(gates=gates)
    server.answers(answer(429, "Retry-After: 30", body=b"no"), answer())
    first(headers={"Authorization": "a"})

    second(headers={"Authorization": "b"})
    second(headers={"Authorization": "a"})

    arrivals = {seen.header("authorization"): seen.at for seen in server.seen}
    assert arrivals["b"] == 0.0
    assert arrivals["a"] >= 30.0


@pytest.mark.parametrize(
    ("wait", "waits"),
    [
        pytest.param(tenacity.wait_fixed(2), [2.0, 2.0], id="fixed"),
        pytest.param(tenacity.wait_exponential(min=1, max=8), [1.0, 2.0], id="exponential"),
        pytest.param(tenacity.wait_chain(*map(tenacity.wait_fixed, (3, 5))), [3, 5], id="chain"),
        pytest.param(lambda state: float("nan"), [20.0, 20.0], id="not a number"),
        pytest.param(lambda state: -1.0, [20.0, 20.0], id="negative"),
        pytest.param(lambda state: float("inf"), [20.0, 20.0], id="infinite"),
    ],
)
def test_a_wait_of_tenacity(wait: Any, waits: list[float], server: Any, caller: Any) -> None:
    server.answers(answer(503), answer(503), answer())
    call = caller(retry=Retry(wait=wait))

    assert call().status_code == 200
    assert call.waits == waits


def test_a_wait_of_tenacity_is_never_shorter_than_the_servers(server: Any, caller: Any) -> None:
    server.answers(answer(503, "Retry-After: 9"), answer(429, "Retry-After: 9"), answer())
    call = caller(retry=Retry(wait=tenacity.wait_fixed(2)))

    assert call().status_code == 200
    assert call.waits == [9.0, 9.0]


@pytest.mark.parametrize(
    ("stop", "attempts"),
    [
        pytest.param(tenacity.stop_after_attempt(2), 2, id="attempts"),
        pytest.param(tenacity.stop_after_delay(1), 2, id="delay"),
        pytest.param(tenacity.stop_before_delay(3), 2, id="before a delay"),
        pytest.param(tenacity.stop_never, 4, id="never, but for our own"),
    ],
)
def test_a_stop_of_tenacity(stop: Any, attempts: int, server: Any, caller: Any) -> None:
    server.answers(answer(503))
    call = caller(retry=Retry(stop=stop, wait=tenacity.wait_fixed(2)))

    assert report(call()).attempts == attempts
