"""C4.16: PATCH is not sent again by default; nor is what nobody knows."""

from __future__ import annotations

from typing import Any

import pytest

from syncsdk.http import Retry, UnsafeToRetry

from .harness import answer


@pytest.mark.parametrize("method", ["PATCH", "POST", "LOCK", "FROBNICATE"])
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_it_is_not_sent_again(status: int, method: str, server: Any, caller: Any) -> None:
    server.answers(answer(status, "Retry-After: 1"), answer())
    call = caller()

    assert call(method).status_code == status
    assert len(server.seen) == 1
    assert call.waits == []


def test_a_lost_patch_is_not_sent_again(server: Any, caller: Any) -> None:
    server.answers(answer(fault="reset"), answer())

    with pytest.raises(UnsafeToRetry):
        caller()("PATCH")

    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [425, 429])
def test_a_refused_patch_is_sent_again(status: int, server: Any, caller: Any) -> None:
    server.answers(answer(status), answer())

    assert caller()("PATCH").status_code == 200


@pytest.mark.parametrize("method", ["PATCH", "patch", "Patch"])
def test_who_knows_better_can_say_so(method: str, server: Any, caller: Any) -> None:
    server.answers(answer(500), answer())
    call = caller(retry=Retry(methods={"GET", method}))

    assert call("PATCH").status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_who_wants_less_can_say_so(method: str, server: Any, caller: Any) -> None:
    server.answers(answer(500), answer())
    call = caller(retry=Retry(methods=()))

    assert call(method).status_code == 500


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"])
def test_what_is_idempotent_is_sent_again(method: str, server: Any, caller: Any) -> None:
    server.answers(answer(500), answer())

    assert caller()(method).status_code == 200
    assert [seen.method for seen in server.seen] == [method] * 2
