"""C4.17: a connection that was kept open and is closed on its first reuse."""

from __future__ import annotations

from typing import Any

import pytest

from syncsdk.http import Retry, UnsafeToRetry

from .harness import OWN, answer, report

FAULTS = pytest.mark.parametrize("fault", ["reset", "close"])


@FAULTS
def test_the_first_retry_is_free(fault: str, server: Any, caller: Any) -> None:
    server.answers(answer(), answer(fault=fault), answer())
    call = caller()
    call()
    (gate,) = call.gates
    before = gate.purse.tokens

    response = call()

    assert response.status_code == 200
    assert call.waits == []
    assert gate.purse.tokens == before
    assert [seen.connection for seen in server.seen] == [1, 1, 2]
    assert report(response).attempts == 2


@FAULTS
def test_it_does_not_count_as_an_attempt(fault: str, server: Any, caller: Any) -> None:
    server.answers(answer(), answer(fault=fault), answer(503), answer(503, body=b"down"))
    call = caller(retry=Retry(attempts=2))
    call()

    response = call()

    assert response.content == b"down"
    assert len(server.seen) == 4


@FAULTS
def test_a_second_one_is_paid_for(fault: str, server: Any, caller: Any) -> None:
    server.answers(answer(), answer(fault=fault), answer(fault=fault), answer())
    call = caller()
    call()
    (gate,) = call.gates

    call()

    assert call.waits == OWN[:1]
    assert gate.purse.tokens == gate.purse.budget.capacity - gate.purse.budget.cost


@FAULTS
def test_a_server_that_is_down_is_not_sent_twice_as_much(
    fault: str, server: Any, caller: Any
) -> None:
    server.answers(answer(fault=fault))
    call = caller()

    for _ in range(60):
        with pytest.raises((call.lib.ReadError, call.lib.RemoteProtocolError)):
            call()

    paid = 500 // 14
    assert len(server.seen) <= 60 + paid + 1


@FAULTS
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_may_not_be_repeated_is_not(method: str, fault: str, server: Any, caller: Any) -> None:
    server.answers(answer(), answer(fault=fault), answer())
    call = caller()
    call()

    with pytest.raises(UnsafeToRetry):
        call(method)

    assert len(server.seen) == 2


@FAULTS
def test_with_one_attempt_there_is_none(fault: str, server: Any, caller: Any) -> None:
    server.answers(answer(), answer(fault=fault), answer())
    call = caller(retry=Retry(attempts=1))
    call()

    with pytest.raises((call.lib.ReadError, call.lib.RemoteProtocolError)):
        call()

    assert len(server.seen) == 2


def test_a_server_that_closes_after_each_answer_is_no_trouble(server: Any, caller: Any) -> None:
    server.answers(answer(fault="last", body=b"bye"))
    call = caller()

    assert [call("GET").content for _ in range(10)] == [b"bye"] * 10
    assert 10 <= len(server.seen) <= 10 + sum(seen.connection for seen in server.seen)


@FAULTS
def test_its_body_goes_again_byte_for_byte(fault: str, server: Any, caller: Any) -> None:
    server.answers(answer(), answer(fault=fault), answer())
    call = caller()
    call()

    call("PUT", content=call.body([b"one ", b"two"]))

    assert [seen.body for seen in server.seen[1:]] == [b"one two"] * 2
