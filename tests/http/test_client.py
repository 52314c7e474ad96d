"""Our own clients: where credentials go, what answers mean to a sync, how they are read."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from syncsdk.errors import (
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    FatalError,
    LimitedError,
    RecordError,
    RejectedError,
    SyncError,
    UnavailableError,
)
from syncsdk.http import AsyncClient, Budget, Client, Guard, RateLimit, Retry, parsed, raise_typed

from .harness import Server, answer

SECRETS = {
    "Authorization": "Bearer xyzzy",
    "X-Api-Key": "xyzzy",
    "Cookie": "session=xyzzy",
    "X-Anything-Of-Mine": "xyzzy",
}


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def url(server: Server, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{server.port}"


def told(server: Server) -> str:
    return repr([seen.headers for seen in server.seen])


# -- Credentials -----------------------------------------------------------------------


def test_credentials_go_to_the_origin_of_the_base_url(server: Server) -> None:
    with Client(url(server), headers=SECRETS) as client:
        client.get("/contacts")

    assert told(server).count("xyzzy") == len(SECRETS)


@pytest.mark.parametrize("how", ["redirect", "absolute link", "other port", "userinfo"])
def test_they_go_nowhere_else(how: str, server: Server, elsewhere: Server) -> None:
    other = f"{url(elsewhere)}/next"
    with Client(url(server), headers=SECRETS, follow_redirects=True) as client:
        if how == "redirect":
            server.answers(answer(307, f"Location: {other}"))
            client.post("/contacts", content=b"{}")
        elif how == "userinfo":
            client.get(f"http://127.0.0.1:{server.port}@127.0.0.1:{elsewhere.port}/next")
        else:
            client.get(other)

    assert len(elsewhere.seen) == 1
    assert "xyzzy" not in told(elsewhere)
    assert "accept" in told(elsewhere).lower()


def test_a_guard_may_refuse_them_instead(server: Server, elsewhere: Server) -> None:
    guard = Guard([url(server)], refuse=True)
    client = Client(url(server), headers=SECRETS, guard=guard)
    with client, pytest.raises(ConfigurationError, match="none of the origins of this client"):
        client.get(url(elsewhere))

    assert elsewhere.seen == []


@pytest.mark.parametrize("origin", ["api.example.com", "ftp://x", "https://", "https://a/b", "x"])
def test_an_origin_is_scheme_and_host(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="is no origin"):
        Guard([origin])


def test_an_asynchronous_client_guards_as_well(server: Server, elsewhere: Server) -> None:
    async def ask() -> None:
        async with AsyncClient(url(server), headers=SECRETS) as client:
            await asyncio.gather(*(client.get("/contacts") for _ in range(30)))
            await client.get(url(elsewhere))

    asyncio.run(ask())

    assert len(server.seen) == 30
    assert told(server).count("xyzzy") == 30 * len(SECRETS)
    assert "xyzzy" not in told(elsewhere)


def test_an_asynchronous_client_spreads_over_pools_and_uses_one_if_it_is_idle(
    server: Server,
) -> None:
    async def ask(at_once: int) -> int:
        async with AsyncClient(url(server)) as client:
            await client.get("/")
            before = server.connections
            for _ in range(3):
                await asyncio.gather(*(client.get("/") for _ in range(at_once)))
            assert client._transport._inner._busy == [0] * 8  # type: ignore[attr-defined]
            return server.connections - before

    assert asyncio.run(ask(1)) == 0
    assert 0 < asyncio.run(ask(16)) <= 16


# -- What an answer means --------------------------------------------------------------

KINDS: dict[int, type[SyncError] | None] = {
    200: None, 204: None, 301: None, 304: None, 400: RejectedError, 401: AuthenticationError,
    403: AuthenticationError, 404: RejectedError, 405: ConfigurationError, 408: UnavailableError,
    409: ConflictError, 410: RejectedError, 412: ConflictError, 413: RejectedError,
    415: ConfigurationError, 418: RejectedError, 422: RejectedError, 425: UnavailableError,
    429: LimitedError, 451: RejectedError, 499: RejectedError, 500: UnavailableError,
    501: ConfigurationError, 503: UnavailableError, 599: UnavailableError,
}  # fmt: skip


def said(status: int, body: bytes = b"", **headers: str) -> httpx.Response:
    request = httpx.Request("GET", "https://crm.test/contacts/jane@example.com?key=xyzzy")
    return httpx.Response(status, content=body, headers=headers, request=request)


@pytest.mark.parametrize("status", KINDS)
def test_a_status_becomes_an_error_of_the_tree(status: int) -> None:
    kind = KINDS[status]
    if kind is None:
        raise_typed(said(status))
        return
    with pytest.raises(kind) as caught:
        raise_typed(said(status))

    assert type(caught.value) is kind
    assert str(status) in str(caught.value)
    assert "jane" not in str(caught.value)
    assert "xyzzy" not in str(caught.value)
    assert type(pickle.loads(pickle.dumps(caught.value))) is kind


@pytest.mark.parametrize("status", [*range(400, 430), 444, 451, 499, *range(500, 531), 598, 999])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"\xff\x00", b'{"error": 5}'])
def test_no_failure_passes_for_success(status: int, body: bytes) -> None:
    with pytest.raises(SyncError) as caught:
        raise_typed(said(status, body))

    waits = status in (408, 420, 425, 429) or status >= 500 or isinstance(caught.value, FatalError)
    assert isinstance(caught.value, RecordError) != waits


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"type": "https://crm.test/problems/too-long", "title": "x"}', "https://crm.test"),
        (b'{"error": {"code": "resource_missing"}}', "resource_missing"),
        (b'{"code": "duplicate"}', "duplicate"),
        (b'{"code": "a\\u0000b"}', "422"),
        (b'{"code": {"a": 1}}', "{'a': 1}"),
        (b"nonsense", "422"),
    ],
)
def test_a_problem_tells_its_code_and_the_dead_letter_its_words(body: bytes, code: str) -> None:
    with pytest.raises(RejectedError) as caught:
        raise_typed(said(422, body))

    assert str(caught.value.code).startswith(code)
    assert caught.value.detail == body.decode()
    assert body.decode() not in str(caught.value)


def test_a_template_of_the_path_stands_in_the_text() -> None:
    response = said(404)
    response.request.extensions = {"url.template": "/contacts/{id}"}

    with pytest.raises(RejectedError, match=r"GET crm.test/contacts/\{id\} answered 404"):
        raise_typed(response)


def test_a_throttle_in_disguise_is_a_throttle() -> None:
    with pytest.raises(LimitedError):
        raise_typed(said(403, b"You have exceeded a secondary rate limit"))


def test_when_to_come_back_travels_along(server: Server) -> None:
    server.answers(answer(429, "Retry-After: 3600"))
    with Client(url(server)) as client, pytest.raises(LimitedError) as caught:
        raise_typed(client.get("/"))

    assert caught.value.retry_after == pytest.approx(3600, abs=5)


# -- How it is read --------------------------------------------------------------------


def test_numbers_are_read_digit_by_digit() -> None:
    body = b'{"id": 12345678901234567890, "sum": 0.30000000000000000004, "name": "\xc3\xa9"}'

    assert parsed(said(200, body)) == {
        "id": 12345678901234567890,
        "sum": Decimal("0.30000000000000000004"),
        "name": "é",
    }


@pytest.mark.parametrize(
    "body", [b"", b"<html>gateway</html>", b'{"a": NaN}', b"[" * 100_000, b"\xff", b'{"a": 1']
)
def test_what_is_no_json_is_told_without_being_quoted(body: bytes) -> None:
    with pytest.raises(UnavailableError, match="something that is not JSON") as caught:
        parsed(said(200, body, **{"content-type": "text/html; charset=utf-8"}))

    assert "gateway" not in str(caught.value)
    assert "text/html" in str(caught.value)


# -- Options ---------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [Retry(), RateLimit(5, burst=2), Budget(), Guard(["http://a"])])
def test_policies_are_values_that_can_be_pickled(policy: Any) -> None:
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert hash(policy) == hash(pickle.loads(pickle.dumps(policy)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Retry(attempts=0),
        lambda: Retry(deadline=-1.0),
        lambda: Retry(attempt_timeout=0.0),
        lambda: RateLimit(0),
        lambda: RateLimit(5, per=0.0),
        lambda: RateLimit(5, burst=0),
        lambda: RateLimit(concurrent=0),
        lambda: Budget(capacity=-1.0),
    ],
)
def test_policies_are_checked_when_they_are_built(wrong: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        wrong()


def test_httpx_options_go_through(server: Server) -> None:
    with Client(url(server), params={"v": "1"}, timeout=3.0, headers={"a": "b"}) as client:
        client.get("/x")

    assert client.timeout == httpx.Timeout(3.0)
    assert server.seen[0].path == "/x?v=1"
    assert server.seen[0].header("accept-encoding") == "gzip, deflate"
