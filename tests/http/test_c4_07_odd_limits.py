"""C4.7: used/limit, ``0/0``, more left than the limit, negative, limit 0, a limit that changes."""

from __future__ import annotations

from typing import Any

import pytest

from syncsdk.resilience.headers import Quota, Reading

from .harness import NOON, answer, report


def read(**headers: str) -> list[Quota]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    reading = Reading()
    return reading.quotas(reading.told(raw), NOON)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param(
            {"X_Shopify_Shop_Api_Call_Limit": "32/40"}, [("shopify", 40, 8)], id="used/limit"
        ),
        pytest.param({"X_Shopify_Shop_Api_Call_Limit": "0/0"}, [], id="0/0"),
        pytest.param({"X_Shopify_Shop_Api_Call_Limit": "5/0"}, [], id="5/0"),
        pytest.param(
            {"X_Shopify_Shop_Api_Call_Limit": "50/40"}, [("shopify", 40, 0)], id="over the limit"
        ),
        pytest.param(
            {"X_Shopify_Shop_Api_Call_Limit": " 1 / 40 "}, [("shopify", 40, 39)], id="spaces"
        ),
        pytest.param({"X_Shopify_Shop_Api_Call_Limit": "-1/40"}, [], id="negative used"),
        pytest.param({"X_Shopify_Shop_Api_Call_Limit": "1/2/3"}, [("shopify", 2, 1)], id="1/2/3"),
        pytest.param({"X_Shopify_Shop_Api_Call_Limit": "many"}, [], id="word"),
        pytest.param(
            {"Sforce_Limit_Info": "api-usage=18/5000"}, [("salesforce", 5000, 4982)], id="labelled"
        ),
        pytest.param(
            {"Sforce_Limit_Info": "api-usage=25/5000; per-app-api-usage=17/250(appName=x)"},
            [("salesforce", 5000, 4975)],
            id="labelled, one of two",
        ),
        pytest.param(
            {"Sforce_Limit_Info": "per-app-api-usage=17/250(appName=x); api-usage=25/5000"},
            [("salesforce", 5000, 4975)],
            id="labelled, the second of two",
        ),
        pytest.param({"Sforce_Limit_Info": "other=1/2"}, [], id="another label"),
        pytest.param(
            {"X_RateLimit_Limit": "10", "X_RateLimit_Remaining": "99"},
            [("x-ratelimit", 10, 99)],
            id="more left than the limit",
        ),
        pytest.param(
            {"X_RateLimit_Limit": "10", "X_RateLimit_Remaining": "-3"},
            [("x-ratelimit", 10, 0)],
            id="negative left",
        ),
        pytest.param(
            {"X_RateLimit_Limit": "-10", "X_RateLimit_Remaining": "3"},
            [("x-ratelimit", None, 3)],
            id="negative limit",
        ),
        pytest.param(
            {"X_RateLimit_Limit": "0", "X_RateLimit_Remaining": "0"}, [], id="limit 0"
        ),
        pytest.param(
            {"X_RateLimit_Limit": "unlimited", "X_RateLimit_Remaining": "unlimited"},
            [],
            id="unlimited",
        ),
        pytest.param({"X_RateLimit_Limit": "10"}, [], id="a limit alone"),
        pytest.param(
            {"X_RateLimit_Remaining": "3"}, [("x-ratelimit", None, 3)], id="left alone (Reddit)"
        ),
        pytest.param(
            {"X_RateLimit_Remaining": "3.7"}, [("x-ratelimit", None, 3.7)], id="a fraction left"
        ),
        pytest.param(
            {"X_RateLimit_Remaining": "9" * 15}, [], id="absurdly many left"
        ),
        pytest.param(
            {"RateLimit_Limit": "100, 100;w=60", "RateLimit_Remaining": "5"},
            [("ratelimit", 100, 5)],
            id="limit with its policy",
        ),
        pytest.param(
            {"X_Rate_Limit": "700", "X_Rate_Limit_Remaining": "699"},
            [("zendesk", 700, 699)],
            id="Zendesk",
        ),
        pytest.param(
            {"X_Rate_Limit_Limit": "9", "X_Rate_Limit_Remaining": "8", "X_Rate_Limit_Reset": "5"},
            [("x-rate-limit", 9, 8)],
            id="X-Rate-Limit-Limit",
        ),
        pytest.param(
            {"X_HubSpot_RateLimit_Secondly": "10", "X_HubSpot_RateLimit_Secondly_Remaining": "9",
             "X_HubSpot_RateLimit_Daily": "250000",
             "X_HubSpot_RateLimit_Daily_Remaining": "249999"},
            [("hubspot-secondly", 10, 9), ("hubspot-daily", 250000, 249999)],
            id="HubSpot, two limits",
        ),
        pytest.param(
            {"X_MinLimit_Remaining": "59", "X_DayLimit_Remaining": "4999",
             "X_AppMinLimit_Remaining": "9999"},
            [("xero-minute", None, 59), ("xero-app-minute", None, 9999), ("xero-day", None, 4999)],
            id="Xero, three limits",
        ),
        pytest.param(
            {"X_RateLimit_Limit": "60", "X_RateLimit_Remaining": "1",
             "X_RateLimit_Resource": "search"},
            [("x-ratelimit:search", 60, 1)],
            id="GitHub names the resource",
        ),
    ],
)  # fmt: skip
def test_a_limit_is_read_or_ignored(
    headers: dict[str, str], expected: list[tuple[str, float | None, float]]
) -> None:
    assert [(each.name, each.limit, each.remaining) for each in read(**headers)] == expected


def test_documented_windows_are_known() -> None:
    assert [each.window for each in read(X_Rate_Limit="700", X_Rate_Limit_Remaining="6")] == [60.0]
    secondly = {
        "X_HubSpot_RateLimit_Max": "190",
        "X_HubSpot_RateLimit_Remaining": "189",
        "X_HubSpot_RateLimit_Interval_Milliseconds": "10000",
    }
    assert [each.window for each in read(**secondly)] == [10.0]


ODD = [
    pytest.param(["X-Shopify-Shop-Api-Call-Limit: 0/0"], id="0/0"),
    pytest.param(["X-RateLimit-Limit: 10", "X-RateLimit-Remaining: 99"], id="remaining > limit"),
    pytest.param(["X-RateLimit-Limit: 0", "X-RateLimit-Remaining: 0"], id="limit 0"),
    pytest.param(["X-RateLimit-Limit: -1", "X-RateLimit-Remaining: -1"], id="negative"),
    pytest.param(["X-Shopify-Shop-Api-Call-Limit: 40/40"], id="all used"),
    pytest.param(["RateLimit: \"a\";r=0", "RateLimit-Policy: \"a\";q=0;w=0"], id="all zero"),
]  # fmt: skip


@pytest.mark.parametrize("lines", ODD)
def test_whatever_is_told_calls_go_on(lines: list[str], server: Any, caller: Any) -> None:
    server.answers(answer(200, *lines))
    call = caller()

    statuses = [call().status_code for _ in range(5)]

    assert statuses == [200] * 5
    assert sum(call.waits) <= 60.0


def test_a_limit_that_shrinks_is_followed_at_once(server: Any, caller: Any) -> None:
    wide = ["X-RateLimit-Limit: 5000", "X-RateLimit-Remaining: 4000", "X-RateLimit-Reset: 40"]
    tight = ["X-RateLimit-Limit: 10", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 39"]
    server.answers(answer(200, *wide), answer(200, *tight), answer())
    call = caller()

    for _ in range(3):
        call()

    assert server.seen[1].at < 1.0
    assert server.seen[2].at >= 39.0


def test_a_limit_that_grows_is_followed_at_once(server: Any, caller: Any) -> None:
    tight = ["X-RateLimit-Limit: 10", "X-RateLimit-Remaining: 2", "X-RateLimit-Reset: 40"]
    wide = ["X-RateLimit-Limit: 5000", "X-RateLimit-Remaining: 4900", "X-RateLimit-Reset: 39"]
    server.answers(answer(200, *tight), answer(200, *tight), answer(200, *wide))
    call = caller()

    for _ in range(13):
        call()

    assert server.seen[2].at > 5.0
    ten_more = server.seen[12].at - server.seen[2].at
    assert ten_more < 5.0
    assert report(call()).quotas[0].limit == 5000.0
