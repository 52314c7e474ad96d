"""C4.11: a throttle as 400 or 200, ``ok: false``, pages of proxies, 5 MB of HTML, no body."""

from __future__ import annotations

from typing import Any

import pytest

from syncsdk.http import Meaning, Retry
from syncsdk.resilience.calls import SHOPIFY_GRAPHQL, SIGNS, SLACK, meaning

from .harness import OWN, answer, report

GRAPHQL = (
    b'{"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}], "extensions": '
    b'{"cost": {"requestedQueryCost": 500, "actualQueryCost": null, "throttleStatus": '
    b'{"maximumAvailable": 1000, "currentlyAvailable": 80, "restoreRate": 50}}}}'
)
LIMITED = b'{"ok": false, "error": "ratelimited"}'
WITH_BODIES = Retry(signs=(SHOPIFY_GRAPHQL, SLACK, *SIGNS))


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(
            400, b'{"error": {"code": "SSS_REQUEST_LIMIT_EXCEEDED"}}', id="400 RESTlet (NetSuite)"
        ),
        pytest.param(200, GRAPHQL, id="200 GraphQL THROTTLED (Shopify)"),
        pytest.param(200, LIMITED, id="200 ok:false ratelimited (Slack)"),
        pytest.param(420, b"", id="420"),
        pytest.param(509, b"", id="509"),
    ],
)
def test_a_throttle_in_disguise_is_sent_again(
    status: int, body: bytes, method: str, server: Any, caller: Any
) -> None:
    server.answers(answer(status, body=body), answer(body=b'{"data": {}}'))
    call = caller(retry=WITH_BODIES)

    response = call(method)

    assert response.json() == {"data": {}}
    assert report(response).throttled == 1
    assert len(server.seen) == 2
    assert call.waits[0] == OWN[0]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(400, b'{"error": {"code": "INVALID_KEY"}}', id="400 of another kind"),
        pytest.param(200, b'{"ok": false, "error": "not_found"}', id="ok:false of another kind"),
        pytest.param(200, b'{"data": {"code": "THROTTLER"}}', id="nearly the same word"),
        pytest.param(200, b"<html>Sign in</html>", id="200 HTML error page"),
        pytest.param(200, b"", id="200 empty"),
        pytest.param(204, b"", id="204 without body"),
        pytest.param(304, b"", id="304 without body"),
    ],
)
def test_what_is_no_throttle_is_returned_as_it_came(
    status: int, body: bytes, server: Any, caller: Any
) -> None:
    server.answers(answer(status, body=body))
    call = caller(retry=WITH_BODIES)

    response = call("POST")

    assert (response.status_code, response.content) == (status, body)
    assert report(response).attempts == 1


@pytest.mark.parametrize("body", [GRAPHQL, LIMITED], ids=["GraphQL", "Slack"])
def test_without_its_sign_200_is_returned_as_it_came(body: bytes, server: Any, caller: Any) -> None:
    server.answers(answer(200, body=body))

    response = caller()("POST")

    assert response.content == body
    assert len(server.seen) == 1


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 300_000])
def test_a_body_that_is_looked_into_is_whole(size: int, server: Any, caller: Any) -> None:
    body = bytes(each % 251 for each in range(size))
    server.answers(answer(200, body=body))
    call = caller(retry=WITH_BODIES)

    assert call().content == body
    assert call().content == body
    assert server.connections == 1


def test_a_503_of_5_mb_of_html_costs_one_connection_and_little_time(
    server: Any, caller: Any
) -> None:
    server.answers(answer(503, "Content-Type: text/html", body=b"<p>" * 1_700_000), answer())
    call = caller()

    assert call().status_code == 200
    assert call.waits == OWN[:1]
    assert server.connections == 2


def test_a_503_of_5_mb_is_returned_whole_when_it_is_the_last(server: Any, caller: Any) -> None:
    server.answers(answer(503, body=b"<p>" * 1_700_000))

    assert len(caller(retry=Retry(attempts=1))().content) == 5_100_000


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_can_follow_a_throttle(
    status: int, server: Any, caller: Any
) -> None:
    server.answers(answer(429), answer(status))
    call = caller()

    response = call()

    assert (response.status_code, response.content) == (status, b"")
    assert server.connections == 1


def test_head_is_throttled_without_a_body(server: Any, caller: Any) -> None:
    server.answers(
        answer(429, "Content-Length: 100"),
        answer(200, "Content-Length: 100", "Content-Encoding: gzip"),
    )
    call = caller()

    response = call("HEAD")

    assert response.status_code == 200
    assert response.headers["content-length"] == "100"
    assert response.headers["content-encoding"] == "gzip"
    assert response.content == b""
    assert server.connections == 1


def test_a_call_that_goes_well_earns_its_token_also_where_bodies_are_looked_into(
    server: Any, caller: Any
) -> None:
    call = caller(retry=WITH_BODIES)
    call()
    (gate,) = call.gates
    gate.purse.tokens = 100.0

    call()

    assert gate.purse.tokens == 101.0


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_means_something(status: int) -> None:
    means = meaning(status, {})

    assert (means is Meaning.DONE) == (status < 400)
    if status in (420, 429, 509):
        assert means is Meaning.THROTTLED
    if status in (408, 500, 502, 503, 504, 529, 599):
        assert means is Meaning.UNAVAILABLE
    if status in (401, 403, 407):
        assert means is Meaning.UNAUTHENTICATED
    if status in (501, 505):
        assert means is Meaning.MISCONFIGURED
    if status in (400, 422, 418):
        assert means is Meaning.REJECTED
