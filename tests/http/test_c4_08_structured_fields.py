"""C4.8: malformed structured fields, unknown policies, several, repeated, huge, then absent.

The library ``http_sf`` is the oracle: whatever it refuses we refuse or ignore, and what we
read means the same.
"""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import http_sf
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncsdk.http import Retry
from syncsdk.resilience.headers import Quota, Reading, structured

from .harness import NOON, answer, report

WRITTEN = [
    '"a";r=5;t=3', '"a";r=5, "b";r=6', 'token;x', 'a, b;c=?0', '"q\\"uo\\\\te"', "1, 2.5, -3",
    ":aGVsbG8=:;k", "?1", "*t/o:k", "a;b;c=1;b=2", "a ; b", "a; b", "a;  b=1", " a", "a ", "a ,b",
    "a\t,\tb", "999999999999999", "123456789012.123", "-0", "-0.5", "", "  ",
    "a;*b=1", "a;b.c=1",
    # malformed
    "a,", ",a", "a,,b", "a;", "a;;b", "a;B", "a;=1", "a;b=", '"open', '"\\n"', '"tab\t"', "1.",
    ".5", "1.2345", "1234567890123.1", "9999999999999999", "--1", "+1", "1e3", "?2", "?", ":a",
    ":=:", ":a:", "a b", "a;b c", "é", '"é"', "{}",
    "a=1", "\ta", "a\n", "a;b=\t1", "a;b= 1", "a;b =1", "-",
    ":aGVs bG8=:", ":a=Vs:",
    # well formed, and not read here
    "(a b)", "(a b);c, d", "@1659578233", '%"f%c3%bc"', "a;b=@1", '()',
]  # fmt: skip
NOT_READ = (list, tuple, http_sf.DisplayString)

PIECES = st.sampled_from(
    [*'abzAZ019"\\;=,.-+?:*/()@% \t', "r=5", ";t=3", '"a"', "?1", ":aGk=:", "12.5", ", ", "é"]
)
FIELDS = st.lists(PIECES, max_size=14).map("".join)


def oracle(text: str) -> list[Any] | None:
    try:
        found = http_sf.parse(text.encode("latin-1"), tltype="list")
    except http_sf.StructuredFieldError:
        return None
    return list(found)


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, bytes):
        return isinstance(ours, str) and base64.b64decode(ours + "==") == theirs
    if isinstance(theirs, Decimal):
        return isinstance(ours, float) and ours == float(theirs)
    if isinstance(theirs, http_sf.Token):
        return isinstance(ours, str) and ours == str(theirs)
    return type(ours) is type(theirs) and bool(ours == theirs)


def is_read_here(item: Any, parameters: dict[str, Any]) -> bool:
    values = [item, *parameters.values()]
    return not any(
        isinstance(each, NOT_READ) or type(each).__name__ == "datetime" for each in values
    )


def agrees(text: str) -> None:
    theirs, ours = oracle(text), structured(text)
    if theirs is None:
        assert ours is None
    elif all(is_read_here(*each) for each in theirs):
        assert ours is not None
        assert len(ours) == len(theirs)
        for (item, parameters), (their_item, their_parameters) in zip(ours, theirs, strict=True):
            assert same(item, their_item)
            assert list(parameters) == list(their_parameters)
            for key, value in their_parameters.items():
                assert same(parameters[key], value)
    else:
        assert ours is None


@pytest.mark.parametrize("text", WRITTEN, ids=repr)
def test_a_field_means_what_the_oracle_says(text: str) -> None:
    agrees(text)


@given(FIELDS)
def test_any_field_means_what_the_oracle_says(text: str) -> None:
    agrees(text)


@given(st.text(st.characters(max_codepoint=255), max_size=20))
@example('"a";r=abc')
@example("limit=5, remaining=x")
def test_no_text_does_any_harm(text: str) -> None:
    for told in ({"ratelimit": text}, {"ratelimit": '"a";r=1', "ratelimit-policy": text}):
        for quota in Reading().quotas(told, NOON):
            assert quota.remaining is not None
            assert quota.remaining >= 0.0


@given(FIELDS)
@example("limit=5 remaining=3")
@example('"limit=5";remaining=3')
@example("x, remaining=3")
@example("remaining=3,")
@example("remaining=3;;w")
def test_of_a_field_that_the_oracle_refuses_nothing_is_believed(text: str) -> None:
    try:
        http_sf.parse(text.encode("latin-1"), tltype="dictionary")
    except http_sf.StructuredFieldError:
        if oracle(text) is None:
            assert Reading().quotas({"ratelimit": text}, NOON) == []


def read(limit: str, policy: str | None = None) -> list[Quota]:
    told = {"ratelimit": limit} | ({} if policy is None else {"ratelimit-policy": policy})
    return Reading().quotas(told, NOON)


@pytest.mark.parametrize(
    ("limit", "policy", "expected"),
    [
        pytest.param(
            '"a";r=5;t=3', '"a";q=9;w=60', [Quota("a", 9, 5, 3, 60)], id="draft 10"
        ),
        pytest.param("a;r=5;t=3", "a;q=9;w=60", [Quota("a", 9, 5, 3, 60)], id="tokens for names"),
        pytest.param(
            "limit=9, remaining=5, reset=3", "9;w=60", [Quota("ratelimit", 9, 5, 3, 60)],
            id="draft 7",
        ),
        pytest.param(
            "limit=9, remaining=5, reset=3", '"a";q=9;w=60',
            [Quota("ratelimit", 9, 5, 3, 60)], id="draft 7 with a later policy",
        ),
        pytest.param('"a";r=5', None, [Quota("a", None, 5, None)], id="no policy"),
        pytest.param('"a";r=5', '"b";q=9;w=60', [Quota("a", None, 5)], id="unknown policy name"),
        pytest.param('"a";t=3', '"a";q=9', [], id="no r"),
        pytest.param('"a";r=-1', None, [], id="r negative"),
        pytest.param('"a";r=abc', None, [], id="r a word"),
        pytest.param('"a";r="5"', None, [], id="r a text"),
        pytest.param('"a";r', None, [], id="r a flag"),
        pytest.param('"a";r=5;t=-3', None, [Quota("a", None, 5, None)], id="t negative"),
        pytest.param('"a";r=5;t=0', None, [Quota("a", None, 5, None)], id="t zero"),
        pytest.param('"a";r=5;t=99999999', None, [Quota("a", None, 5, None)], id="t in 3 years"),
        pytest.param('"a";r=5;t=x', None, [Quota("a", None, 5, None)], id="t a word"),
        pytest.param('"a";r=5', '"a";q=x;w=y', [Quota("a", None, 5)], id="q and w words"),
        pytest.param('"a";r=5', '"a";q=9;w=0', [Quota("a", 9, 5)], id="w zero"),
        pytest.param(
            '"a";r=5', '"a";q=9;qu="content-bytes"', [], id="counts bytes: not ours to pace"
        ),
        pytest.param(
            '"a";r=5', '"a";q=9;qu="concurrent-requests"',
            [Quota("a", 9, 5, None, None, True)], id="counts requests in flight",
        ),
        pytest.param('"a";r=5', '"a";q=9;qu="cows"', [], id="counts something unknown"),
        pytest.param(
            '"a";r=5;t=3, "b";r=0;t=60', '"a";q=9;w=60, "b";q=1;w=60',
            [Quota("a", 9, 5, 3, 60), Quota("b", 1, 0, 60, 60)], id="several policies",
        ),
        pytest.param('"a";r=5;pk=:aGk=:', None, [Quota("a", None, 5)], id="partition key"),
        pytest.param('"a";r=5,', None, [], id="malformed"),
        pytest.param('"a";r=5', '"a";q=', [Quota("a", None, 5)], id="malformed policy"),
        pytest.param("5;r=5", None, [], id="name a number"),
        pytest.param("", None, [], id="empty"),
    ],
)  # fmt: skip
def test_a_limit_is_read_or_ignored(limit: str, policy: str | None, expected: list[Quota]) -> None:
    assert read(limit, policy) == expected


MALFORMED = [
    pytest.param('RateLimit: "a";r=0;t=9,', id="trailing comma"),
    pytest.param('RateLimit: "a;r=0;t=9', id="open string"),
    pytest.param('RateLimit: "a";r=abc;t=9', id="r a word"),
    pytest.param('RateLimit: "a";;r=0;t=9', id="two semicolons"),
    pytest.param('RateLimit: "ä";r=0;t=9', id="not ASCII"),
    pytest.param("RateLimit: remaining=soon", id="old form, a word"),
    pytest.param("RateLimit: " + "x" * 90_000, id="90 kB"),
    pytest.param("RateLimit-Policy: " + '"a";q=1;w=9,' * 5_000 + '"b"', id="60 kB of policies"),
    pytest.param('RateLimit-Policy: "a";q=x;w=y', id="policy alone"),
]


@pytest.mark.parametrize("line", MALFORMED)
def test_what_is_malformed_changes_nothing(line: str, server: Any, caller: Any) -> None:
    server.answers(answer(200, line))
    call = caller()

    responses = [call() for _ in range(3)]

    assert [each.status_code for each in responses] == [200] * 3
    assert report(responses[0]).quotas == []
    assert call.waits == []


def test_100_kb_of_a_header_end_no_worse_than_without_us(server: Any, caller: Any) -> None:
    server.answers(answer(200, "RateLimit: " + "x" * 120_000), answer())
    call = caller()

    try:
        response = call()
    except call.lib.RemoteProtocolError:
        pass
    else:
        assert response.status_code == 200


def test_of_several_policies_the_tightest_holds(server: Any, caller: Any) -> None:
    policy = 'RateLimit-Policy: "burst";q=100;w=60, "hourly";q=1000;w=3600'
    server.answers(answer(200, policy, 'RateLimit: "burst";r=90;t=30, "hourly";r=0;t=50'), answer())
    call = caller()

    call()
    call()

    assert server.seen[1].at >= 50.0


def test_a_repeated_header_is_one_list(server: Any, caller: Any) -> None:
    server.answers(
        answer(200, 'RateLimit: "a";r=90;t=30', 'ratelimit: "b";r=0;t=50', "RateLimit-Policy: a"),
        answer(),
    )
    call = caller()

    first = call()
    call()

    assert [each.name for each in report(first).quotas] == ["a", "b"]
    assert server.seen[1].at >= 50.0


@pytest.mark.parametrize("repeated", ["X-RateLimit-Remaining", "Retry-After"])
def test_a_repeated_number_crashes_nothing(repeated: str, server: Any, caller: Any) -> None:
    server.answers(answer(429, f"{repeated}: 0", f"{repeated}: 0"), answer())
    call = caller()

    assert call().status_code == 200


def test_present_then_absent_the_last_that_was_said_fades(server: Any, caller: Any) -> None:
    limits = ['RateLimit-Policy: "a";q=100;w=10', 'RateLimit: "a";r=0;t=5']
    server.answers(answer(200, *limits), answer())
    call = caller(retry=Retry(deadline=100.0))

    for _ in range(20):
        call()

    assert server.seen[1].at >= 5.0
    assert server.seen[-1].at < 30.0
