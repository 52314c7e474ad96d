"""What the transport that sends is told of time: never less than nothing, never what was before."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from syncsdk.errors import TimedOutError
from syncsdk.http import Retry

from .harness import Failing, answer, failing

PHASES = ("connect", "read", "write", "pool")


@pytest.fixture
def told(flavour: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float | None]]:
    """The timeouts of every attempt, in seconds."""
    seen: list[dict[str, float | None]] = []
    name = "handle_async_request" if flavour.is_async else "handle_request"
    original = getattr(Failing, name)

    def watched(self: Failing, request: Any) -> Any:
        seen.append(dict(request.extensions["timeout"]))
        return original(self, request)

    monkeypatch.setattr(Failing, name, watched)
    return seen


def same(seconds: float | None) -> dict[str, float | None]:
    return dict.fromkeys(PHASES, seconds)


def test_the_clients_timeouts_hold_while_there_is_time(
    told: Any, server: Any, caller: Any, flavour: Any
) -> None:
    caller(inner=failing(flavour), client={"timeout": 5.0})()

    assert told == [same(5.0)]


def test_no_phase_lasts_longer_than_there_is_time(
    told: Any, server: Any, caller: Any, flavour: Any
) -> None:
    server.answers(answer(429, "Retry-After: 50"), answer())

    caller(inner=failing(flavour), client={"timeout": 30.0})()

    assert told == [same(30.0), same(10.0)]


def test_a_client_without_timeouts_gets_the_rest_of_the_deadline(
    told: Any, server: Any, caller: Any, flavour: Any
) -> None:
    server.answers(answer(429, "Retry-After: 50"), answer())

    caller(inner=failing(flavour), client={"timeout": None})()

    assert told == [same(60.0), same(10.0)]


def test_the_timeout_of_an_attempt(told: Any, caller: Any, flavour: Any) -> None:
    call = caller(
        inner=failing(flavour), client={"timeout": 30.0}, retry=Retry(attempt_timeout=7.0)
    )
    call(timeout=call.lib.Timeout(3.0, read=20.0))

    assert told == [{"connect": 3.0, "read": 7.0, "write": 3.0, "pool": 3.0}]


@pytest.mark.parametrize("deadline", [math.inf, 1e300, 1e12])
@pytest.mark.parametrize("timeout", [None, 5.0])
def test_a_deadline_beyond_all_clocks_is_none(
    deadline: float, timeout: float | None, server: Any, caller: Any, flavour: Any
) -> None:
    server.answers(answer(429), answer(body=b"fine"))
    call = caller(client={"timeout": timeout}, retry=Retry(deadline=deadline))

    assert call().content == b"fine"


def test_without_any_time_nothing_is_sent(server: Any, caller: Any) -> None:
    call = caller(retry=Retry(deadline=0.0))

    with pytest.raises(TimedOutError) as caught:
        call()

    assert isinstance(caught.value, call.lib.PoolTimeout)
    assert server.seen == []


def test_a_redirect_has_its_own_time(told: Any, server: Any, caller: Any, flavour: Any) -> None:
    server.answers(answer(429, "Retry-After: 50"), answer(302, "Location: /there"), answer())

    caller(inner=failing(flavour), client={"timeout": 30.0, "follow_redirects": True})()

    assert told == [same(30.0), same(10.0), same(30.0)]


def test_a_request_that_is_sent_once_more_has_its_own_time(
    told: Any, server: Any, caller: Any, flavour: Any
) -> None:
    server.answers(answer(429, "Retry-After: 50"), answer())
    call = caller(inner=failing(flavour), client={"timeout": 30.0})
    request = call.opened.build_request("GET", "/")

    call.run(call.opened.send, request)
    call.run(call.opened.send, request)

    assert told == [same(30.0), same(10.0), same(30.0)]


def test_the_total_holds_for_a_server_that_never_answers(server: Any, caller: Any) -> None:
    server.answers(answer(fault="hang"))
    call = caller(real=True, client={"timeout": None}, retry=Retry(deadline=0.15, attempts=99))

    with pytest.raises(call.lib.TimeoutException):
        call()


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_takes_real_time_without_a_run(status: int, server: Any, caller: Any) -> None:
    server.clock = time.monotonic
    server.answers(answer(status, "Retry-After: 0.05"), answer(body=b"fine"))
    call = caller(real=True, retry=Retry(base=0.0))

    assert call().content == b"fine"
    assert 0.05 <= server.seen[1].at - server.seen[0].at < 2.0
