"""What makes a call cheap leaves nothing out: what comes late is seen, and shares stay even."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from benchmarks.http_servers import Bucket
from syncsdk.http import AsyncReliableTransport, Guard, Quota, ReliableTransport
from syncsdk.resilience.headers import Reading
from syncsdk.resilience.pacing import Pacer

from .test_pacing import simulated


def test_a_limit_that_is_told_late_is_followed() -> None:
    pacer = Pacer()
    for now in (0.0, 0.1):
        assert pacer.ask("a", now) == 0.0
        pacer.done(now, accepted=True)
    assert pacer.ask("a", 0.2) == 0.0

    pacer.done(0.2, accepted=True, quotas=[Quota("w", 100.0, 0.0, 30.0, 60.0)])

    assert pacer.ask("a", 0.3) > 1.0


def test_a_gate_that_closes_when_no_limit_is_known_is_closed() -> None:
    pacer = Pacer()
    pacer.ask("a", 0.0)
    pacer.done(0.0, accepted=True)

    pacer.close(5.0)

    assert pacer.ask("a", 1.0) == 4.0
    assert pacer.ask("a", 5.0) == 0.0


@pytest.mark.parametrize("name", [b"RateLimit", b"ratelimit", b"RATELIMIT"])
def test_a_header_is_read_however_often_it_was_seen(name: bytes) -> None:
    reading = Reading()
    headers = [(b"X-Other", b"1"), (name, b'"a";r=5;t=1'), (b"Date", b"x")]

    read = [reading.told(headers) for _ in range(3)]

    assert read == [{"ratelimit": '"a";r=5;t=1', "date": "x"}] * 3


def test_headers_are_read_beside_any_number_of_invented_ones() -> None:
    reading = Reading()
    for number in range(2_000):
        reading.told([(b"X-%d" % number, b"1")])

    assert reading.told([(b"Retry-After", b"5")]) == {"retry-after": "5"}


class Long(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Thirty bytes in pieces of ten, without an encoding."""

    def __iter__(self) -> Iterator[bytes]:
        yield from [b"0123456789"] * 3

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


@pytest.mark.parametrize(("most", "is_read"), [(30, True), (29, False)])
def test_a_plain_answer_is_counted(most: int, is_read: bool) -> None:
    mocked = httpx.MockTransport(lambda request: httpx.Response(200, stream=Long()))
    with httpx.Client(transport=ReliableTransport(mocked, guard=Guard(max_body=most))) as client:
        if is_read:
            assert len(client.get("https://a.example").content) == 30
        else:
            with pytest.raises(httpx.DecodingError, match="max_body"):
                client.get("https://a.example")


@pytest.mark.parametrize(("most", "is_read"), [(30, True), (29, False)])
def test_a_plain_answer_is_counted_on_an_event_loop(most: int, is_read: bool) -> None:
    import asyncio

    async def got() -> int:
        mocked = httpx.MockTransport(lambda request: httpx.Response(200, stream=Long()))
        transport = AsyncReliableTransport(mocked, guard=Guard(max_body=most))
        async with httpx.AsyncClient(transport=transport) as client:
            return len((await client.get("https://a.example")).content)

    if is_read:
        assert asyncio.run(got()) == 30
    else:
        with pytest.raises(httpx.DecodingError, match="max_body"):
            asyncio.run(got())


@pytest.mark.parametrize(
    ("server", "latency"), [(Bucket(50, 50), 0.02), (Bucket(50, 10), 0.02), (Bucket(150, 20), 0.06)]
)
def test_processes_have_like_shares_of_a_bucket(server: Bucket, latency: float) -> None:
    run = simulated(server, processes=4, latency=latency)

    assert min(run.by_process) >= 0.6 * max(run.by_process)
