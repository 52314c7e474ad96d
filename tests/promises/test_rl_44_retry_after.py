"""RL-44: nothing is sent before the moment that a server asked to wait for, in whatever form."""

import time
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from syncsdk.errors import LimitedError
from syncsdk.http import ReliableTransport, Retry
from syncsdk.resilience import calls
from syncsdk.runtime import SimulatedRuntime, entered, left
from tests.promises import mutant, used

ASKED = 6.0


class Counting(httpx.BaseTransport):
    """A server that asks for six seconds, and counts who comes early."""

    def __init__(self, form: str, clock: Any, status: int = 429) -> None:
        self.form, self.clock, self.status = form, clock, status
        self.opens, self.early, self.came = 0.0, 0, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        now = self.clock.monotonic()
        self.came += 1
        self.early += now < self.opens
        if self.opens and now >= self.opens:
            return httpx.Response(200)
        if not self.opens:
            self.opens = now + ASKED
        return httpx.Response(self.status, headers=self.told(self.opens - now))

    def told(self, seconds: float) -> dict[str, str]:
        wall = self.clock.now()
        if self.form == "seconds":
            return {"Retry-After": f"{seconds:.0f}"}
        if self.form == "fraction":
            return {"Retry-After": f"{seconds:.3f}"}
        if self.form == "milliseconds":
            return {"Retry-After-Ms": f"{seconds * 1000:.0f}"}
        if self.form == "skewed date":  # a server whose clock is ten minutes slow
            wall -= timedelta(minutes=10)
        ends = (wall + timedelta(seconds=seconds + 1)).replace(microsecond=0)
        return {"Retry-After": format_datetime(ends, usegmt=True),
                "Date": format_datetime(wall.replace(microsecond=0), usegmt=True)}  # fmt: skip


FORMS = ["seconds", "fraction", "milliseconds", "date", "skewed date"]


@pytest.fixture
def clock() -> Any:
    runtime = SimulatedRuntime(1)
    token = entered(runtime)
    yield runtime
    left(token)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", FORMS)
def test_nobody_comes_early(form: str, status: int, clock: Any) -> None:
    server = Counting(form, clock, status)
    with used(calls.Call, "_asked"), httpx.Client(transport=ReliableTransport(server)) as client:
        assert client.get("http://shop.test/").status_code == 200
        assert client.get("http://shop.test/").status_code == 200

    assert (server.early, server.came) == (0, 3)


@pytest.mark.parametrize("form", FORMS)
def test_a_client_that_does_not_read_it_comes_early(form: str, clock: Any) -> None:
    server = Counting(form, clock)
    client = httpx.Client(transport=ReliableTransport(server))
    with mutant(calls.Call, "_asked", lambda *_: None), client:
        client.get("http://shop.test/")

    assert server.early


def test_a_wait_that_is_cut_to_the_deadline_comes_early(clock: Any) -> None:
    original = calls.Call._asked
    server = Counting("seconds", clock)
    client = httpx.Client(transport=ReliableTransport(server))
    with mutant(calls.Call, "_asked", lambda *given: min(original(*given) or 0.0, 2.0)), client:
        client.get("http://shop.test/")

    assert server.early


def test_a_wait_past_the_deadline_ends_at_once_and_says_when_to_resume(clock: Any) -> None:
    server = Counting("seconds", clock)
    transport = ReliableTransport(server, retry=Retry(deadline=5.0))
    began = time.monotonic()
    with httpx.Client(transport=transport) as client:
        answer = client.get("http://shop.test/")
        with pytest.raises(LimitedError) as caught:
            client.get("http://shop.test/")

    assert answer.status_code == 429
    assert answer.extensions["syncsdk"].retry_after == pytest.approx(ASKED)
    assert caught.value.retry_after == pytest.approx(ASKED)
    assert (server.early, server.came) == (0, 1)
    assert time.monotonic() - began < 1.0
