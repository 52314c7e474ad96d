"""RL-16: a refresh token that rotates is used once, and its successor is kept before it is used."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from syncsdk import SQLiteStore
from syncsdk.errors import AuthenticationError
from syncsdk.http import OAuth2, OAuthTransport
from syncsdk.http.auth import Tokens
from tests.promises import mutant, used

WORKERS = 20
PROCESSES = 4


class Issuer:
    """A server with rotating refresh tokens: one that comes twice ends the authorisation."""

    def __init__(self) -> None:
        self.refresh, self.access, self.renewals, self.void = "r0", "", 0, False
        self._lock = threading.Lock()

    def answer(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            if request.url.path != "/token":
                good = request.headers["authorization"] == f"Bearer {self.access}"
                return httpx.Response(200 if good and not self.void else 401)
            token = parse_qs(request.content.decode())["refresh_token"][0]
            self.void = self.void or token != self.refresh
            if self.void:
                return httpx.Response(400, json={"error": "invalid_grant"})
            self.renewals += 1
            self.refresh, self.access = f"r{self.renewals}", f"a{self.renewals}"
            told = {"access_token": self.access, "refresh_token": self.refresh, "expires_in": 3600}
            return httpx.Response(200, json=told)

    def revoke(self) -> None:
        """Let every access token be refused from now on."""
        with self._lock:
            self.access = "nobody's"


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[tuple[Issuer, list[httpx.Client]]]:
    """Clients with a store each, on one file, as several processes have."""
    issuer = Issuer()
    with ExitStack() as stack:
        made = []
        for _ in range(PROCESSES):
            store = SQLiteStore(tmp_path / "sync.db")
            stack.callback(store.close)
            oauth = OAuth2("http://crm.test/token", "app", "s", refresh_token="r0", store=store)
            transport = OAuthTransport(httpx.MockTransport(issuer.answer), oauth)
            made.append(stack.enter_context(httpx.Client(transport=transport)))
        yield issuer, made


def asked_by_all(clients: list[httpx.Client]) -> list[Any]:
    """Return what 20 workers get at the same moment."""
    got: list[Any] = []
    ready = threading.Barrier(WORKERS)

    def work(client: httpx.Client) -> None:
        ready.wait()
        try:
            got.append(client.get("http://crm.test/contacts").status_code)
        except AuthenticationError as error:
            got.append(error)

    threads = [
        threading.Thread(target=work, args=(clients[number % PROCESSES],))
        for number in range(WORKERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_twenty_workers_whose_token_ends_renew_it_once(clients: Any) -> None:
    issuer, made = clients
    with used(OAuth2, "_settle"):
        assert asked_by_all(made) == [200] * WORKERS
        assert issuer.renewals == 1

        issuer.revoke()
        assert asked_by_all(made) == [200] * WORKERS
    assert (issuer.renewals, issuer.void) == (2, False)


def test_without_a_common_store_the_second_renewal_ends_it_for_all(clients: Any) -> None:
    issuer, made = clients
    forgotten: dict[int, Tokens] = {}

    def settle(self: OAuth2, tokens: Tokens, mine: str) -> None:
        forgotten[id(self)] = tokens

    def load(self: OAuth2) -> tuple[int, Tokens]:
        return 0, forgotten.get(id(self), Tokens())

    for client in made:
        client._transport._oauth.store.swap = lambda *_: True
    with mutant(OAuth2, "_load", load), mutant(OAuth2, "_settle", settle):
        got = asked_by_all(made)

    assert issuer.void, "a refresh token was used twice"
    assert any(isinstance(each, AuthenticationError) for each in got)


def test_a_token_is_kept_before_it_is_used(clients: Any) -> None:
    issuer, made = clients

    def dies(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/token":
            raise KeyboardInterrupt  # the process ends at its first use
        return issuer.answer(request)

    made[0]._transport._inner = httpx.MockTransport(dies)
    with pytest.raises(KeyboardInterrupt):
        made[0].get("http://crm.test/contacts")

    assert made[1].get("http://crm.test/contacts").status_code == 200
    assert issuer.renewals == 1


def test_a_token_that_is_not_kept_is_lost_with_its_process(clients: Any) -> None:
    issuer, made = clients

    def dies(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/token":
            raise KeyboardInterrupt
        return issuer.answer(request)

    made[0]._transport._inner = httpx.MockTransport(dies)
    lost = mutant(OAuth2, "_settle", lambda self, tokens, mine: None)
    with lost, pytest.raises(KeyboardInterrupt):
        made[0].get("http://crm.test/contacts")

    made[1]._transport._oauth.store.swap = lambda *_: True  # the claim of the first has run out
    anew = mutant(OAuth2, "_load", lambda self: (1, Tokens()))
    with anew, pytest.raises(AuthenticationError, match="Authorise the app again"):
        made[1].get("http://crm.test/contacts")
    assert issuer.void


def test_a_renewal_that_was_refused_looks_for_a_newer_token_once(clients: Any) -> None:
    issuer, made = clients
    assert made[0].get("http://crm.test/contacts").status_code == 200
    stale = made[1]._transport._oauth
    issuer.revoke()
    assert made[2].get("http://crm.test/contacts").status_code == 200

    stale._cached = Tokens("a1", 4e9, "r0")
    assert made[1].get("http://crm.test/contacts").status_code == 200
    assert (issuer.renewals, issuer.void) == (2, False)
