"""Reliable HTTP beside what others offer: its price, its calm in a storm, its use of limits.

``request``, ``client.get`` and ``acquire`` (``http_cost``) are what a call costs when all
goes well, ``amplification`` (``http_storm``) is what a dead server gets, and the second
table (``http_limits``) says how much of a server's limit is used, by one process and by
four. Contenders that are not installed are left out; they are no dependencies:
``pip install httpx-retries stamina aiolimiter botocore token-bucket limits throttled-py
pyrate-limiter``.

A part alone is ``python -m benchmarks http --part utilisation``; ``--seconds`` is how long
each of its runs lasts instead of 30 seconds, or 6 with ``--quick``. See ``--profile`` for
the functions that a call goes through.
"""

from __future__ import annotations

import cProfile
import inspect
import io
import pstats
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from benchmarks import http_cost, http_limits, http_storm
from benchmarks.harness import Line
from benchmarks.http_contenders import Ours

PARTS: dict[str, Callable[..., Iterator[Any]]] = {
    "request": http_cost.request,
    "get": http_cost.get,
    "acquire": http_cost.acquire,
    "amplification": http_storm.amplification,
    "utilisation": http_limits.utilisation,
}


def run(quick: bool, part: str | None = None, seconds: float | None = None) -> Iterator[Line]:
    """Yield the rows.

    Args:
        quick: fewer of all.
        part: one of :data:`PARTS`; None for all.
        seconds: of one run against a server.
    """
    if part is not None and part not in PARTS:
        raise SystemExit(f"no part is named {part}: there are {', '.join(PARTS)}")
    for name, rows in PARTS.items():
        if part in (None, name):
            options: dict[str, Any] = {"seconds": seconds, "quick": quick}
            yield from rows(**{each: options[each] for each in inspect.signature(rows).parameters})


def profile(quick: bool) -> str:
    """Return the functions that a call without and with limits goes through."""
    shown = io.StringIO()
    for told in (False, True):
        call = http_cost.once(Ours, httpx, is_async=False, told=told)
        profiler = cProfile.Profile()
        for _ in range(1_000 if quick else 20_000):
            profiler.runcall(call)
        stats = pstats.Stats(profiler, stream=shown)
        stats.sort_stats("tottime").print_stats(25)
    return shown.getvalue()
