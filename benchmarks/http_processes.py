"""The two ends of ``http_limits``: a server with a limit, and a process of workers.

``python -m benchmarks.http_processes server`` (or ``client``) prints a line when it is
ready, reads a job a line, and answers each with a line when it is done; all are JSON.
Moments are those of ``time.monotonic``, which all processes of a machine share.

The server's clock starts with the job, at second 0 of ``http_servers``: what it tells in
seconds since 1970 is of its own time, and so is its ``Date``.

Read :class:`Server`, then :func:`work` and :class:`Wire`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import Counter
from email.utils import formatdate
from typing import Any, ClassVar

import httpx

from benchmarks.http_contenders import BY_NAME
from benchmarks.http_servers import EPOCH, Bucket, Limit, SlidingLog, Window

LIMITS: dict[str, Any] = {"bucket": Bucket, "window": Window, "log": SlidingLog}
AGAIN = 1.0
"""Seconds that a user waits who got a 429 in the end, before the same call is made again."""


# -- The server ------------------------------------------------------------------------


class Job:
    """What a server does for some seconds, and what it counted."""

    def __init__(
        self, limit: list[Any], *, latency: float, start: float, seconds: float, **_: Any
    ) -> None:
        kind, *given = limit
        self.limit: Limit = LIMITS[kind](*given)
        self.half = latency / 2
        self.start = start
        self.seconds = seconds
        self.accepted: Counter[int] = Counter()
        self.steady: Counter[int] = Counter()
        self.refused = 0
        self._date = (0, b"")

    def answer(self, process: int) -> bytes:
        """Return the response to a request that came in now."""
        now = time.monotonic() - self.start
        accepted, told = self.limit.take(now)
        if 0.0 <= now < self.seconds:
            self.accepted[process] += accepted
            self.refused += not accepted
            self.steady[process] += accepted and now >= self.seconds / 3
        second = int(EPOCH + now)
        if self._date[0] != second:
            self._date = second, formatdate(second, usegmt=True).encode()
        status = b"200 OK" if accepted else b"429 Too Many Requests"
        lines = b"".join(
            b"%s: %s\r\n" % (name.encode(), its.encode()) for name, its in told.items()
        )
        return (
            b"HTTP/1.1 %s\r\nDate: %s\r\nContent-Type: application/json\r\n%sContent-Length: 2"
            b"\r\n\r\n{}" % (status, self._date[1], lines)
        )


class Server(asyncio.Protocol):
    """One connection of HTTP/1.1, kept alive; the path is the number of the process.

    A request is decided half of the latency after it came, and answered another half later.
    """

    job: ClassVar[Job]

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._read = b""

    def data_received(self, data: bytes) -> None:
        self._read += data
        while b"\r\n\r\n" in self._read:
            head, _, self._read = self._read.partition(b"\r\n\r\n")
            process = int(head.split(b" ", 2)[1].rpartition(b"/")[2])
            job = Server.job
            asyncio.get_running_loop().call_later(job.half, self._decide, job, process)

    def _decide(self, job: Job, process: int) -> None:
        answer = job.answer(process)
        asyncio.get_running_loop().call_later(job.half, self._transport.write, answer)


async def serve() -> None:
    """Serve one job after the other until standard input is closed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        job = Server.job = Job(**json.loads(line))
        await asyncio.sleep(job.start + job.seconds - time.monotonic())
        told = {
            "accepted": list(job.accepted.values()),
            "steady": sum(job.steady.values()),
            "refused": job.refused,
        }
        print(json.dumps(told), flush=True)


# -- The client ------------------------------------------------------------------------


class Wire(httpx.AsyncBaseTransport):
    """HTTP/1.1 on sockets that are kept alive, and no more than that.

    It costs a tenth of what httpx's own does, so that many processes fit on a small machine.
    """

    def __init__(self) -> None:
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (url.raw_path, url.netloc))
        head = await reader.readuntil(b"\r\n\r\n")
        status, *lines = head[:-4].split(b"\r\n")
        headers = [
            (name, value.strip()) for name, _, value in (each.partition(b":") for each in lines)
        ]
        body = await reader.readexactly(int(headers[-1][1]))
        self._idle.append((reader, writer))
        return httpx.Response(
            int(status.split(b" ", 2)[1]), headers=headers, stream=httpx.ByteStream(body)
        )

    async def aclose(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def work(
    *,
    contender: str,
    url: str,
    process: int,
    workers: int,
    known: tuple[float, float],
    share: float,
    start: float,
    seconds: float,
    **_: Any,
) -> dict[str, Any]:
    """Let workers make one call after the other; return how long each took, in seconds.

    A call is over when it was accepted. Those that are under way at the end count with what
    they took so far, if that is more than the others'.
    """
    sides = BY_NAME[contender](is_async=True, known=known, share=share)
    ends, took, begun = start + seconds, list[float](), [start] * workers
    async with httpx.AsyncClient(transport=sides.transport(Wire()), timeout=60.0) as client:
        call = sides.around(client.get)

        async def one(number: int) -> None:
            while True:
                began = begun[number] = time.monotonic()
                while (await call(f"{url}/{process}")).status_code != 200:
                    await asyncio.sleep(AGAIN)
                took.append(time.monotonic() - began)

        await asyncio.sleep(start - time.monotonic())
        used = time.process_time()
        tasks = [asyncio.create_task(one(number)) for number in range(workers)]
        await asyncio.sleep(ends - time.monotonic())
        used = time.process_time() - used
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if error is not None and not isinstance(error, asyncio.CancelledError):
            raise error
    return {"took": took, "pending": [ends - each for each in begun], "cpu": used}


def main() -> None:
    """Be what the first argument says."""
    if sys.argv[1] == "server":
        asyncio.run(serve())
        return
    logging.disable()  # httpx-retries warns of each Retry-After that it cannot read
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        print(json.dumps(asyncio.run(work(**json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
