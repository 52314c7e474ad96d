"""C4.5: when a limit ends: epoch seconds and milliseconds, delta, ISO minute, float, past, 2099."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsdk.http import Retry
from syncsdk.resilience.headers import LARGEST, LONGEST, Quota, Reading

from .harness import NOON, answer, epoch, report

RESETS = [
    pytest.param("30", 30.0, id="delta"),
    pytest.param("30.5", 30.5, id="float"),
    pytest.param("300000", 300.0, id="delta in milliseconds"),
    pytest.param(str(epoch(300)), 300.0, id="epoch seconds (GitHub)"),
    pytest.param(f"{epoch(300)}.25", 300.25, id="epoch seconds as a float"),
    pytest.param(f"{epoch(300)}000", 300.0, id="epoch milliseconds"),
    pytest.param("2026-11-22T12:05Z", 300.0, id="ISO minute (Jira)"),
    pytest.param("2026-11-22T12:05:00.500Z", 300.5, id="ISO with milliseconds"),
    pytest.param("2026-11-22T13:05:00+01:00", 300.0, id="ISO in another zone"),
    pytest.param("2026-11-22 12:05:00", 300.0, id="ISO without a zone is UTC"),
]
UNKNOWN = [
    pytest.param("0", id="zero"),
    pytest.param("-30", id="negative delta"),
    pytest.param(str(epoch(-30)), id="past epoch"),
    pytest.param("2026-11-22T11:59Z", id="past ISO"),
    pytest.param(str(epoch(73 * 365 * 86_400)), id="2099 as epoch"),
    pytest.param("2099-01-01T00:00Z", id="2099 as ISO"),
    pytest.param("9999-12-31T23:59:59-23:59", id="end of time"),
    pytest.param("0001-01-01T00:00:00+23:59", id="start of time"),
    pytest.param("1e3", id="exponent"),
    pytest.param("NaN", id="NaN"),
    pytest.param("inf", id="inf"),
    pytest.param("soon", id="word"),
    pytest.param("", id="empty"),
    pytest.param("9" * 400, id="400 digits"),
    pytest.param("1" + "0" * 14, id="year 5138"),
]


def told(reset: str, remaining: str = "0", **more: str) -> list[Quota]:
    headers = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": remaining, **more}
    return Reading().quotas(headers | {"x-ratelimit-reset": reset}, NOON)


def lines(reset: str) -> list[str]:
    return ["X-RateLimit-Limit: 100", "X-RateLimit-Remaining: 0", f"X-RateLimit-Reset: {reset}"]


@pytest.mark.parametrize(("reset", "seconds"), RESETS)
def test_a_reset_is_so_many_seconds_away(reset: str, seconds: float) -> None:
    assert told(reset) == [Quota("x-ratelimit", 100.0, 0.0, seconds)]


@pytest.mark.parametrize("reset", UNKNOWN)
def test_a_reset_that_is_past_or_absurd_was_not_told(reset: str) -> None:
    assert told(reset) == [Quota("x-ratelimit", 100.0, 0.0, None)]


@given(
    st.text(st.characters(max_codepoint=255)),
    st.text(st.characters(max_codepoint=255)),
    st.text(st.characters(max_codepoint=255)),
)
def test_whatever_is_told_is_read_or_ignored(limit: str, remaining: str, reset: str) -> None:
    for quota in told(reset, remaining, **{"x-ratelimit-limit": limit}):
        assert quota.remaining is not None
        assert 0.0 <= quota.remaining <= LARGEST
        assert quota.reset is None or 0.0 < quota.reset <= LONGEST


@pytest.mark.parametrize(("reset", "seconds"), RESETS)
def test_nothing_goes_before_the_reset(
    reset: str, seconds: float, server: Any, caller: Any
) -> None:
    server.answers(answer(200, *lines(reset)), answer())
    call = caller(retry=Retry(deadline=1_000.0))
    call()

    assert call().status_code == 200
    arrived = server.seen[1].at
    assert seconds <= arrived <= seconds + 1.0


@pytest.mark.parametrize("reset", UNKNOWN)
def test_a_reset_that_makes_no_sense_blocks_nobody(reset: str, server: Any, caller: Any) -> None:
    server.answers(answer(200, *lines(reset)), answer())
    call = caller()
    call()

    assert call().status_code == 200
    assert server.seen[1].at <= 15.0


def test_a_reset_past_the_deadline_ends_the_call_at_once(server: Any, caller: Any) -> None:
    server.answers(answer(200, *lines(str(epoch(3_000)))), answer())
    call = caller()
    call()

    with pytest.raises(call.lib.PoolTimeout) as caught:
        call()

    assert caught.value.retry_after == pytest.approx(3_000.0)
    assert call.waits == []
    assert len(server.seen) == 1


def test_a_throttle_that_tells_its_reset_only_is_returned_readable(
    server: Any, caller: Any
) -> None:
    server.answers(answer(429, *lines(str(epoch(3_000))), body=b"hourly limit"), answer())
    call = caller()

    response = call()

    assert (response.status_code, response.content) == (429, b"hourly limit")
    assert report(response).retry_after == pytest.approx(3_000.0, abs=1.0)
    assert sum(call.waits) < 1.0
    assert len(server.seen) == 1
