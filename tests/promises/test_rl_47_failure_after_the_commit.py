"""RL-47: a create that was done, and answered by a failure, is not sent again without a key."""

from typing import Any

import httpx
import pytest

from syncsdk.http import ReliableTransport, Retry, UnsafeToRetry
from syncsdk.resilience import calls
from tests.promises import mutant, used

FAILURES = [500, 502, 503, 504, "lost answer", "reset"]


class Shop(httpx.BaseTransport):
    """Creates an order at each call, knows idempotency keys, and fails right afterwards."""

    def __init__(self, failure: Any) -> None:
        self.failure, self.orders, self.seen, self.calls = failure, 0, set[str](), 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        key = request.headers.get("idempotency-key")
        if key not in self.seen:
            self.orders += 1
        if key is not None:
            self.seen.add(key)
        if self.calls % 2 == 0:
            return httpx.Response(201)
        if self.failure == "lost answer":
            raise httpx.ReadTimeout("no answer", request=request)
        if self.failure == "reset":
            raise httpx.RemoteProtocolError("closed", request=request)
        return httpx.Response(self.failure)


def create(shop: Shop, *, key: str | None = None, method: str = "POST") -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    transport = ReliableTransport(shop, retry=Retry(base=0.0))
    with httpx.Client(transport=transport) as client:
        return client.request(method, "http://shop.test/orders", json={}, headers=headers)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_create_without_a_key_is_sent_once(failure: Any, method: str) -> None:
    shop = Shop(failure)
    with used(calls.Call, "start"):
        if isinstance(failure, int):
            assert create(shop, method=method).status_code == failure
        else:
            with pytest.raises(UnsafeToRetry) as caught:
                create(shop, method=method)
            assert caught.value.maybe_applied
            assert isinstance(caught.value, httpx.TransportError)

    assert (shop.orders, shop.calls) == (1, 1)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_create_with_a_key_is_sent_again_and_happens_once(failure: Any) -> None:
    shop = Shop(failure)

    assert create(shop, key="order-7").status_code == 201
    assert (shop.orders, shop.calls) == (1, 2)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_client_that_repeats_everything_doubles_it(failure: Any) -> None:
    shop = Shop(failure)
    original = calls.Call.__init__

    def reckless(self: Any, *given: Any, **named: Any) -> None:
        original(self, *given, **{**named, "repeatable": True})

    with mutant(calls.Call, "__init__", reckless):
        create(shop)

    assert shop.orders == 2
