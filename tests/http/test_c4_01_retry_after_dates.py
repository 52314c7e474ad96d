"""C4.1: ``Retry-After`` as a date: past, 1994, 9999, the three forms, without a zone."""

from __future__ import annotations

from typing import Any

import pytest

from syncsdk.resilience.headers import date_of, retry_after

from .harness import NOON, OWN, answer, date, report

FORMS = [
    pytest.param("Sun, 22 Nov 2026 12:00:07 GMT", 7.0, id="IMF-fixdate"),
    pytest.param("Sunday, 22-Nov-26 12:00:07 GMT", 7.0, id="RFC 850"),
    pytest.param("Sun Nov 22 12:00:07 2026", 7.0, id="asctime"),
    pytest.param("Sun, 22 Nov 2026 12:00:07", 7.0, id="no GMT"),
    pytest.param("Sun, 22 Nov 2026 12:00:07 UTC", 7.0, id="UTC for GMT"),
    pytest.param("Sun, 22 Nov 2026 13:00:07 +0100", 7.0, id="zone in digits"),
    pytest.param("22 Nov 2026 12:00:07 GMT", 7.0, id="no day of the week"),
    pytest.param("sun, 22 nov 2026 12:00:07 gmt", 7.0, id="lower case"),
    pytest.param("  Sun, 22 Nov 2026 12:00:07 GMT\t", 7.0, id="white space around"),
    pytest.param("Sun, 22 Nov 2026 11:59:00 GMT", 0.0, id="past date"),
    pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", 0.0, id="1994"),
    pytest.param("Sun, 06-Nov-94 08:49:37 GMT", 0.0, id="94"),
    pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", 0.0, id="epoch"),
]
NONSENSE = [
    pytest.param("Sun, 99 Nov 2026 12:00:07 GMT", id="day 99"),
    pytest.param("Sun, 22 Foo 2026 12:00:07 GMT", id="month Foo"),
    pytest.param("Sun, 22 Nov 2026 25:00:00 GMT", id="hour 25"),
    pytest.param("Sun, 22 Nov 99999 12:00:07 GMT", id="year 99999"),
    pytest.param("Fri, 31 Dec 9999 23:59:59 -2359", id="past the end of time"),
    pytest.param("Sun, 22 Nov 2026 12:00:07 +9999", id="zone of 100 hours"),
    pytest.param("Sun, 22 Nov", id="cut off"),
    pytest.param("tomorrow", id="word"),
    pytest.param("2026-11-22T12:00:07Z", id="ISO 8601 is no HTTP date"),
]


@pytest.mark.parametrize(("text", "seconds"), FORMS)
def test_a_date_is_so_many_seconds_from_now(text: str, seconds: float) -> None:
    assert retry_after(text, now=NOON) == seconds


@pytest.mark.parametrize("text", NONSENSE)
def test_what_is_no_date_says_nothing(text: str) -> None:
    assert date_of(text) is None
    assert retry_after(text, now=NOON) is None


@pytest.mark.parametrize(("text", "seconds"), FORMS)
def test_a_date_is_waited_for(text: str, seconds: float, server: Any, caller: Any) -> None:
    server.answers(answer(429, f"Retry-After: {text}"), answer())
    call = caller()

    response = call()

    assert response.status_code == 200
    assert call.waits == [seconds or OWN[0]]
    assert report(response).attempts == 2


@pytest.mark.parametrize("text", NONSENSE)
def test_after_nonsense_the_wait_is_our_own(text: str, server: Any, caller: Any) -> None:
    server.answers(answer(429, f"Retry-After: {text}"), answer())
    call = caller()

    assert call().status_code == 200
    assert call.waits == OWN[:1]


@pytest.mark.parametrize(
    "text",
    ["Fri, 31 Dec 9999 23:59:59 GMT", date(61)],
    ids=["9999", "a second past the deadline"],
)
def test_a_date_past_the_deadline_ends_the_call_at_once(
    text: str, server: Any, caller: Any
) -> None:
    server.answers(answer(503, f"Retry-After: {text}", body=b"closed"), answer())
    call = caller()

    response = call()

    assert (response.status_code, response.content) == (503, b"closed")
    assert call.waits == []
    assert report(response).retry_after >= 61.0
    assert len(server.seen) == 1
