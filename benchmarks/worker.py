"""One process of either side: does jobs one after the other and tells what it saw.

``python -m benchmarks.worker SIDE VARIANT`` reads a job a line from standard input and
answers with a line, both JSON objects. SIDE is ``by_hand`` or ``contender``, VARIANT one of
the contender's. A job holds ``url`` and ``phases`` (of ``first``, ``unchanged``,
``changed``; every phase reads all records, from the beginning), and may hold ``stages``
(measure the contender's parts), ``profile`` (how many functions to print), ``check`` (False:
do not read the destination after each phase) and ``warm`` (False: time the process's first
steps too).

It imports nothing that its side does not need: start-up is part of one benchmark.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any


def main() -> None:
    """Do jobs until standard input is closed."""
    name, variant = sys.argv[1:]
    side = import_module(f"benchmarks.{name}")
    if name == "contender":
        side.load = partial(side.load, variant=variant)
    warm = False
    for line in sys.stdin:
        job = json.loads(line)
        if job.get("warm", True) and not warm:
            with TemporaryDirectory() as directory:
                for phase in ("first", "unchanged"):
                    _prepared(side, f"{job['url']}/few", directory, phase)()
            warm = True
        with TemporaryDirectory() as directory:
            told = {phase: _measured(side, job, directory, phase) for phase in job["phases"]}
        print(json.dumps(told), flush=True)


def _measured(side: Any, job: dict[str, Any], directory: str, phase: str) -> dict[str, Any]:
    url = job["url"] + ("/changed" if phase == "changed" else "")
    stages = side.Stages() if job.get("stages") else None
    run = _prepared(side, url, directory, phase, stages)
    began, used = perf_counter(), process_time()
    read = run() if not job.get("profile") else _profiled(run, phase, job["profile"])
    seconds, cpu = perf_counter() - began, process_time() - used
    rows, digest = _contents(directory) if job.get("check", True) else (0, "")
    told = {
        "read": read,
        "seconds": seconds,
        "cpu": cpu,
        "rows": rows,
        "digest": digest,
        "peak": peak(),
    }
    if stages is not None:
        stages.fingerprints()
        told["stages"] = stages.seconds
    return told


def _prepared(
    side: Any, url: str, directory: str, phase: str, stages: Any = None
) -> Callable[[], int]:
    if not hasattr(side, "Stages"):
        return partial(side.load, url, f"{directory}/customers.db")
    return partial(side.load, url, directory, again=phase != "first", stages=stages)


def _profiled(run: Callable[[], int], phase: str, lines: int) -> int:
    import cProfile
    import pstats

    profiler = cProfile.Profile()
    read = profiler.runcall(run)
    print(f"\n-- {phase}", file=sys.stderr)
    pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(lines)
    return read


def _contents(directory: str) -> tuple[int, str]:
    """Return the number of rows of the destination and a digest of them all, in order."""
    import sqlite3
    from hashlib import blake2b

    digest, number = blake2b(digest_size=8), 0
    db = sqlite3.connect(f"{directory}/customers.db")
    for row in db.execute("SELECT * FROM customers ORDER BY number"):
        digest.update(repr(row).encode())
        number += 1
    db.close()
    return number, digest.hexdigest()


def peak() -> float:
    """Return the most memory that this process held, in MB."""
    try:
        # Not ru_maxrss: on Linux a child starts with its parent's.
        with open("/proc/self/status") as status:
            (line,) = [line for line in status if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
