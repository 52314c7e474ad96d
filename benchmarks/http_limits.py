"""How much of a server's limit is used, how often it has to refuse, and who gets how much.

Each server of ``http_servers`` stands behind a real one on this machine, 20 ms away or
more. One or four processes with 16 workers each make one call after the other for half a
minute, and know nothing of each other. Every contender has a server of its own, and all of
them run at the same time: together they use well under one core.

``used`` is what was accepted of what the limit allowed in the whole time, its burst
included; ``steady`` is the same of the last two thirds, without. ``429s`` are for each
accepted request. ``p99`` is of the seconds of a call, until it is accepted. ``fair`` is
what the process with the least got over what the one with the most got; ``least`` is the
former over an even share. ``cpu`` is what the clients used, of one core.

With few seconds the start is most of a run, and the goals mean little.

Read :data:`SERVERS`, then :func:`utilisation`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.http_contenders import PACING, Contender, Ours, installed

WORKERS = 16
PROCESSES = (1, 4)
SECONDS = 30.0
FEW_SECONDS = 6.0


@dataclass(frozen=True)
class Served:
    """A server: its limit, what that allows, and what is promised there.

    Attributes:
        limit: kind and arguments, of ``http_processes.LIMITS``.
        rate, burst: requests a second, and those that may come at once before.
        known: requests and seconds, for who has to know.
        latency: seconds.
        steady, used: the least of one process.
        refused: the most for each accepted, of one process.
        p99: seconds of a call, of one process, at most.
        is_window: all of it is there again at one moment.
    """

    limit: Sequence[Any]
    rate: float
    burst: float
    known: tuple[float, float]
    latency: float = 0.02
    steady: float = 0.98
    used: float | None = None
    refused: float = 0.001
    p99: float | None = None
    is_window: bool = False

    def goals(self, processes: int) -> dict[str, float]:
        """Return what is promised, by the name of the column."""
        told = {"steady": self.steady, "used": self.used, "429s": self.refused, "p99": self.p99}
        if processes > 1:
            told = {"steady": 0.95, "429s": max(0.02, self.refused)}
            told |= {"least": 0.5} if self.is_window else {}
            told |= {"fair": 0.6} if self.limit[0] == "bucket" and self.refused < 0.02 else {}
        return {name: goal for name, goal in told.items() if goal is not None}


SERVERS = {
    "bucket of 50, 50/s": Served(
        ("bucket", 50, 50), 50, 50, (50, 1), refused=0.0, used=0.95, p99=1.7
    ),
    "bucket of 10, 50/s": Served(
        ("bucket", 50, 10), 50, 10, (10, 0.2), refused=0.0, used=0.88, p99=1.7
    ),
    "window of 10 s, 50/s": Served(
        ("window", 500, 10.0), 50, 0, (500, 10), refused=0.0, used=0.95, p99=1.7, is_window=True
    ),
    "the same in epoch seconds": Served(
        ("window", 500, 10.0, "epoch"), 50, 0, (500, 10),
        refused=0.0, used=0.95, p99=1.7, is_window=True,
    ),
    "Retry-After only, 50/s": Served(
        ("bucket", 50, 50, "retry-after"), 50, 50, (50, 1), steady=0.93, refused=0.03
    ),
    "naked 429, 50/s": Served(
        ("bucket", 50, 10, "none"), 50, 10, (10, 0.2), steady=0.95, refused=0.03
    ),
    "used/limit, 50/s": Served(("bucket", 50, 40, "used"), 50, 40, (40, 0.8), steady=0.95),
    "sliding log of 10 s, 50/s": Served(
        ("log", 500, 10.0), 50, 0, (500, 10), steady=0.94, is_window=True
    ),
    "window of 5 s, 20/s": Served(
        ("window", 100, 5.0), 20, 0, (100, 5), steady=0.95, is_window=True
    ),
    "bucket of 20, 150/s, 60 ms": Served(
        ("bucket", 150, 20), 150, 20, (20, 20 / 150), 0.06, steady=0.95
    ),
    "bucket of 30, 7/s, 150 ms": Served(
        ("bucket", 7, 30), 7, 30, (30, 30 / 7), 0.15, steady=0.95
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Use:
    """One line: what a contender made of one server's limit."""

    HEAD: ClassVar[tuple[str, ...]] = (
        "server", "processes", "contender",
        "used", "steady", "429s", "p99", "fair", "least", "cpu", "goal", "met",
    )  # fmt: skip

    server: str
    processes: int
    contender: str
    measured: dict[str, float]
    goals: dict[str, float] = field(default_factory=dict)

    @property
    def missed(self) -> list[str]:
        """The columns that do not keep their goal."""
        at_most = ("429s", "p99")
        return [
            name
            for name, goal in self.goals.items()
            if (self.measured[name] > goal if name in at_most else self.measured[name] < goal)
        ]

    @property
    def met(self) -> bool | None:
        """Whether all goals are kept; None without one."""
        return not self.missed if self.goals else None

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {
            "benchmark": f"utilisation {self.server}",
            "processes": self.processes,
            "contender": self.contender,
            **{name: round(value, 4) for name, value in self.measured.items()},
            "goals": self.goals,
            "met": self.met,
        }

    def cells(self) -> tuple[str, ...]:
        """Return its text for each column of :attr:`HEAD`."""
        numbers = [
            f"{value:.3f}" if name == "429s" else f"{value:.2f}"
            for name, value in self.measured.items()
        ]
        goal = ", ".join(f"{name} {goal:g}" for name, goal in self.goals.items())
        met = {True: "yes", False: f"NO: {', '.join(self.missed)}", None: ""}[self.met]
        return self.server, str(self.processes), self.contender, *numbers, goal, met


class Process:
    """One end, in a process of its own; see ``http_processes``."""

    def __init__(self, role: str) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.http_processes", role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.communicate()

    def tell(self, **job: Any) -> None:
        """Have it start a job."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(job) + "\n")
        self._popen.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Wait for its next line."""
        assert self._popen.stdout is not None
        told = self._popen.stdout.readline()
        if not told:
            raise RuntimeError("a process of the benchmark failed; its error stands above")
        heard: dict[str, Any] = json.loads(told)
        return heard


@dataclass
class Side:
    """A contender's server and its processes."""

    kind: type[Contender]
    server: Process
    port: int
    clients: Sequence[Process]

    def start(self, served: Served, processes: int, start: float, seconds: float) -> None:
        job = {"start": start, "seconds": seconds}
        self.server.tell(limit=served.limit, latency=served.latency, **job)
        for number, client in enumerate(self.clients[:processes]):
            client.tell(
                contender=self.kind.name,
                url=f"http://127.0.0.1:{self.port}",
                process=number,
                workers=WORKERS,
                known=served.known,
                share=1 / processes if self.kind.knows_others else 1.0,
                **job,
            )

    def ended(self, name: str, served: Served, processes: int, seconds: float) -> Use:
        told, clients = self.server.hear(), [each.hear() for each in self.clients[:processes]]
        by_process = [*told["accepted"], *[0] * processes][:processes]
        accepted = sum(by_process)
        took = sorted(each for its in clients for each in its["took"]) or [0.0]
        slowest = took[-1]
        took += sorted(each for its in clients for each in its["pending"] if each > slowest)
        measured = {
            "used": accepted / (served.rate * seconds + served.burst),
            "steady": told["steady"] / (served.rate * seconds * 2 / 3),
            "429s": told["refused"] / max(1, accepted),
            "p99": took[int(len(took) * 0.99)],
            "fair": min(by_process) / max(1, *by_process),
            "least": min(by_process) * processes / max(1, accepted),
            "cpu": sum(its["cpu"] for its in clients) / seconds,
        }
        goals = served.goals(processes) if self.kind is Ours else {}
        return Use(name, processes, self.kind.name, measured, goals)


def utilisation(quick: bool, seconds: float | None = None) -> Iterator[Use]:
    """Yield a line for each server, number of processes, and contender.

    Args:
        quick: 6 seconds, which is mostly the start.
        seconds: of one run instead.
    """
    seconds = seconds or (FEW_SECONDS if quick else SECONDS)
    kinds = installed(PACING)
    for missing in set(PACING) - set(kinds):
        print(f"{missing.name} is not installed", file=sys.stderr)
    with ExitStack() as stack:
        sides = []
        for kind in kinds:
            server = stack.enter_context(Process("server"))
            clients = [stack.enter_context(Process("client")) for _ in range(max(PROCESSES))]
            sides.append((kind, server, clients))
        ready = [
            Side(kind, server, server.hear()["port"], [each for each in clients if not each.hear()])
            for kind, server, clients in sides
        ]
        for name, served in SERVERS.items():
            for processes in PROCESSES:
                start = time.monotonic() + 0.5
                going = [side for side in ready if processes > 1 or not side.kind.knows_others]
                for side in going:
                    side.start(served, processes, start, seconds)
                for side in going:
                    yield side.ended(name, served, processes, seconds)
