"""C4.13: lost after it was sent, so maybe applied; or never left, so safe."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import pytest

from syncsdk.errors import TransientError
from syncsdk.http import Retry, UnsafeToRetry
from syncsdk.resilience.calls import FAILURES, Failure

from .harness import OWN, Server, answer, failing, free_port, report

UNSAFE = ["POST", "PATCH"]
SAFE = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]
NEVER_LEFT = ["ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"]
UNKNOWN = [
    "ReadError", "ReadTimeout", "WriteError", "WriteTimeout", "CloseError", "RemoteProtocolError",
]  # fmt: skip
FINAL = ["LocalProtocolError", "UnsupportedProtocol", "DecodingError"]


def test_every_failure_has_its_class() -> None:
    assert {name for name, its in FAILURES.items() if its is Failure.NEVER_LEFT} == {*NEVER_LEFT}
    assert {name for name, its in FAILURES.items() if its is Failure.UNKNOWN} == {*UNKNOWN}


@pytest.mark.parametrize("method", UNSAFE + SAFE)
@pytest.mark.parametrize("name", NEVER_LEFT)
def test_what_never_left_is_sent_again(
    name: str, method: str, server: Any, caller: Any, flavour: Any
) -> None:
    call = caller(inner=failing(flavour, name, name))

    response = call(method, content=b"{}")

    assert response.status_code == 200
    assert (report(response).attempts, report(response).maybe_applied) == (3, False)
    assert len(server.seen) == 1
    assert call.waits == OWN[:2]


@pytest.mark.parametrize("name", NEVER_LEFT)
def test_what_never_left_keeps_its_type_in_the_end(name: str, caller: Any, flavour: Any) -> None:
    call = caller(inner=failing(flavour, *[name] * 4))

    with pytest.raises(getattr(call.lib, name), match="scripted") as caught:
        call("POST")

    assert type(caught.value) is getattr(call.lib, name)
    assert caught.value.request.method == "POST"
    assert call.transport._inner.asked == 4
    assert call.waits == OWN


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("name", UNKNOWN)
def test_what_may_be_repeated_is_sent_again_when_it_was_lost(
    name: str, method: str, server: Any, caller: Any, flavour: Any
) -> None:
    call = caller(inner=failing(flavour, name))

    response = call(method)

    assert response.status_code == 200
    assert report(response).maybe_applied
    assert len(server.seen) == 1


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize("name", UNKNOWN)
def test_what_may_not_be_repeated_is_raised_when_it_was_lost(
    name: str, method: str, server: Any, caller: Any, flavour: Any
) -> None:
    call = caller(inner=failing(flavour, name))

    with pytest.raises(UnsafeToRetry, match=name) as caught:
        call(method, headers={"Authorization": "Bearer hunter2"}, params={"key": "hunter2"})

    assert isinstance(caught.value, getattr(call.lib, name))
    assert isinstance(caught.value, TransientError)
    assert caught.value.maybe_applied
    assert caught.value.request.method == method
    assert "hunter2" not in f"{caught.value}{caught.value!r}"
    assert "idempotency key" in str(caught.value)
    assert server.seen == []
    assert call.waits == []


@pytest.mark.parametrize("name", FINAL)
def test_what_would_fail_again_is_raised_at_once(name: str, caller: Any, flavour: Any) -> None:
    call = caller(inner=failing(flavour, name))

    with pytest.raises(getattr(call.lib, name)) as caught:
        call("GET")

    assert type(caught.value) is getattr(call.lib, name)
    assert call.waits == []


@pytest.mark.parametrize("method", UNSAFE)
def test_a_timeout_after_a_post_was_fully_sent(method: str, server: Any, caller: Any) -> None:
    server.answers(answer(fault="hang"), answer())
    call = caller(client={"timeout": 0.1})

    with pytest.raises(UnsafeToRetry) as caught:
        call(method, content=b"pay")

    assert isinstance(caught.value, call.lib.ReadTimeout)
    assert caught.value.maybe_applied
    assert [seen.body for seen in server.seen] == [b"pay"]


def test_a_timeout_of_a_get(server: Any, caller: Any) -> None:
    server.answers(answer(fault="hang"), answer())
    call = caller(client={"timeout": 0.1})

    response = call("GET")

    assert response.status_code == 200
    assert report(response).attempts >= 2


@pytest.mark.parametrize("fault", ["close", "reset"])
@pytest.mark.parametrize("method", UNSAFE)
def test_a_connection_that_ends_without_an_answer(
    method: str, fault: str, server: Any, caller: Any
) -> None:
    server.answers(answer(fault=fault), answer())

    call = caller()

    with pytest.raises(UnsafeToRetry) as caught:
        call(method, content=b"pay")

    assert isinstance(caught.value, (call.lib.ReadError, call.lib.RemoteProtocolError))
    assert len(server.seen) == 1


def test_nobody_listens(caller: Any) -> None:
    call = caller()
    url = f"http://127.0.0.1:{free_port()}/"

    with pytest.raises(call.lib.ConnectError) as caught:
        call("POST", url, content=b"pay")

    assert not isinstance(caught.value, UnsafeToRetry)
    assert call.waits == OWN


def test_somebody_listens_again_after_a_while(server: Any, caller: Any) -> None:
    call = caller()
    port = free_port()
    late: list[Server] = []

    def listen() -> None:
        if not late and len(call.waits) == 2:
            late.append(Server(port))

    call.clock.during = listen
    response = call("POST", f"http://127.0.0.1:{port}/", content=b"pay")

    assert response.status_code == 200
    assert [seen.body for seen in late[0].seen] == [b"pay"]
    late[0].close()


def test_no_free_connection_in_the_pool(server: Any, caller: Any) -> None:
    def small(**options: Any) -> Any:
        lib = call_lib
        limits = lib.Limits(max_connections=1)
        kind = lib.AsyncHTTPTransport if is_async else lib.HTTPTransport
        return kind(limits=limits, **options)

    probe = caller()
    call_lib, is_async = probe.lib, probe.flavour.is_async
    call = caller(inner=small, client={"timeout": call_lib.Timeout(5.0, pool=0.02)})
    server.answers(answer(body=b"x" * 300_000))
    held = call.open()

    with pytest.raises(call.lib.PoolTimeout) as caught:
        call("POST")
    assert not isinstance(caught.value, UnsafeToRetry)
    assert len(server.seen) == 1

    call.clock.during = held.left
    assert call("POST").status_code == 200


def test_a_lost_answer_after_a_throttle(server: Any, caller: Any) -> None:
    server.answers(answer(429), answer(fault="reset"), answer())

    with pytest.raises(UnsafeToRetry):
        caller()("POST")

    assert len(server.seen) == 2


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_post_whose_fate_is_unknown_is_returned_with_its_answer(
    status: int, server: Any, caller: Any
) -> None:
    server.answers(answer(status, body=b"oh"), answer())

    response = caller()("POST")

    assert (response.status_code, response.content) == (status, b"oh")
    assert report(response).maybe_applied
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [425, 429])
def test_a_post_that_was_refused_is_sent_again(status: int, server: Any, caller: Any) -> None:
    server.answers(answer(status), answer(201))

    response = caller()("POST", content=b"pay")

    assert response.status_code == 201
    assert not report(response).maybe_applied
    assert [seen.body for seen in server.seen] == [b"pay", b"pay"]


def test_the_cause_of_an_error_is_kept_and_leads_to_an_end(server: Any, caller: Any) -> None:
    call = caller(retry=Retry(attempts=2))
    url = f"http://127.0.0.1:{free_port()}/"

    with pytest.raises(call.lib.ConnectError) as caught:
        call("GET", url)

    chain: list[BaseException] = []
    error: BaseException | None = caught.value
    while error is not None:
        assert error not in chain, "the cause of an error is itself"
        chain.append(error)
        error = error.__cause__
    assert type(chain[1]).__module__.startswith("httpcore")
    assert traceback.format_exception(caught.value)


def test_the_cause_of_an_unsafe_one_is_what_the_transport_raised(server: Any, caller: Any) -> None:
    server.answers(answer(fault="reset"))

    with pytest.raises(UnsafeToRetry) as caught:
        caller()("POST")

    cause = caught.value.__cause__
    assert cause is not None
    assert type(cause).__name__ in ("ReadError", "RemoteProtocolError")


def test_an_unsafe_one_survives_a_trip_to_another_process(server: Any, caller: Any) -> None:
    server.answers(answer(fault="reset"))
    with pytest.raises(UnsafeToRetry) as caught:
        caller()("POST")

    again = pickle.loads(pickle.dumps(caught.value))

    assert isinstance(again, UnsafeToRetry)
    assert str(again) == str(caught.value)


def test_whatever_a_transport_raises_that_is_no_failure_is_raised_as_it_is(
    server: Any, caller: Any
) -> None:
    def broken() -> Any:
        raise KeyError("mine")
        yield b""

    async def broken_later() -> Any:
        raise KeyError("mine")
        yield b""

    call = caller()

    with pytest.raises(KeyError, match="mine"):
        call("PUT", content=broken_later() if call.flavour.is_async else broken())

    assert call.waits == []
