"""C4.2: ``Retry-After`` as a number: ``-5``, ``0``, ``2.0``, ``1e9``, ``NaN``, ``soon``, lists."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncsdk.resilience.headers import LONGEST, Reading, retry_after

from .harness import NOON, OWN, answer, report

WAITS = [
    pytest.param(["2"], 2.0, id="2"),
    pytest.param(["2.0"], 2.0, id="2.0 (Shopify)"),
    pytest.param(["2."], 2.0, id="2."),
    pytest.param(["0.5"], 0.5, id="0.5"),
    pytest.param(["1.5e1"], 15.0, id="1.5e1"),
    pytest.param(["007"], 7.0, id="leading zeros"),
    pytest.param([" 2 "], 2.0, id="spaces around"),
    pytest.param(["2, 3"], 2.0, id="2, 3"),
    pytest.param(["2", "3"], 2.0, id="two header lines"),
]
NONE = [
    pytest.param(["0"], 0.0, id="0"),
    pytest.param(["0.0"], 0.0, id="0.0"),
    pytest.param(["-5"], None, id="-5"),
    pytest.param(["-0"], None, id="-0"),
    pytest.param(["+5"], None, id="+5"),
    pytest.param(["NaN"], None, id="NaN"),
    pytest.param(["inf"], None, id="inf"),
    pytest.param(["Infinity"], None, id="Infinity"),
    pytest.param(["soon"], None, id="soon"),
    pytest.param([""], None, id="empty"),
    pytest.param(["٥"], None, id="Arabic digits"),
    pytest.param(["²"], None, id="superscript"),
    pytest.param(["0x10"], None, id="hexadecimal"),
    pytest.param(["1_000"], None, id="1_000"),
    pytest.param(["5s"], None, id="5s"),
    pytest.param(["PT5S"], None, id="ISO 8601 duration"),
    pytest.param(["5 seconds"], None, id="5 seconds"),
    pytest.param(["1e999"], None, id="1e999"),
    pytest.param(["9" * 400], None, id="400 digits"),
    pytest.param(['"5"'], None, id="quoted"),
    pytest.param([", 5"], None, id="empty, then 5"),
]
MUCH = [
    pytest.param(["1e3"], 1_000.0, id="1e3"),
    pytest.param(["1e9"], LONGEST, id="1e9"),
    pytest.param(["1e99"], LONGEST, id="1e99"),
    pytest.param(["999999999999999"], LONGEST, id="15 digits"),
]


def joined(values: list[str]) -> str:
    raw = [(b"Retry-After", value.encode()) for value in values]
    return Reading().told(raw)["retry-after"]


def lines(values: list[str]) -> list[str]:
    return [f"Retry-After: {value}" for value in values]


@pytest.mark.parametrize(("values", "seconds"), WAITS + NONE + MUCH)
def test_a_number_is_read_or_ignored(values: list[str], seconds: float | None) -> None:
    assert retry_after(joined(values), now=NOON) == seconds


@given(st.text(st.characters(max_codepoint=255)))
@example("Sun, 22 Nov 2026 12:00:07 " + "+" * 99)
def test_whatever_it_says_is_read_or_ignored(text: str) -> None:
    seconds = retry_after(text, now=NOON)

    assert seconds is None or 0.0 <= seconds <= LONGEST


@pytest.mark.parametrize(("values", "seconds"), WAITS)
def test_a_number_is_waited_for(
    values: list[str], seconds: float, server: Any, caller: Any
) -> None:
    server.answers(answer(429, *lines(values)), answer())
    call = caller()

    assert call().status_code == 200
    assert call.waits == [seconds]
    assert server.seen[1].at - server.seen[0].at >= seconds


@pytest.mark.parametrize(("values", "seconds"), NONE)
def test_after_nothing_or_nonsense_the_wait_is_our_own(
    values: list[str], seconds: float | None, server: Any, caller: Any
) -> None:
    server.answers(answer(429, *lines(values)), answer())
    call = caller()

    assert call().status_code == 200
    assert call.waits == OWN[:1]


@pytest.mark.parametrize(("values", "seconds"), MUCH)
def test_too_long_a_wait_ends_the_call_at_once(
    values: list[str], seconds: float, server: Any, caller: Any
) -> None:
    server.answers(answer(429, *lines(values), body=b"later"), answer())
    call = caller()

    response = call()

    assert (response.status_code, response.content) == (429, b"later")
    assert call.waits == []
    assert report(response).retry_after == seconds
    assert NOON + timedelta(seconds=report(response).retry_after)
    assert call.gates[0].pacer.until - call.clock.monotonic() <= LONGEST


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        pytest.param(["retry-after-ms: 1500"], [1.5], id="milliseconds"),
        pytest.param(["retry-after-ms: 1500", "Retry-After: 2"], [1.5], id="the finer one"),
        pytest.param(["retry-after-ms: soon", "Retry-After: 2"], [2.0], id="nonsense, then 2"),
        pytest.param(["retry-after-ms: -1"], OWN[:1], id="negative"),
        pytest.param(["retry-after-ms: 0"], OWN[:1], id="none"),
    ],
)
def test_milliseconds_are_the_same_in_a_finer_unit(
    headers: list[str], waits: list[float], server: Any, caller: Any
) -> None:
    server.answers(answer(429, *headers), answer())
    call = caller()

    assert call().status_code == 200
    assert call.waits == waits


def test_absurd_milliseconds_close_nothing_for_ever(server: Any, caller: Any) -> None:
    server.answers(answer(429, "retry-after-ms: 1e99"), answer())
    call = caller()

    assert report(call()).retry_after == LONGEST
