"""How two sides are compared: fresh processes that alternate, and the ratio of each pair.

Decides what a :class:`Row` says and how processes are started. Leaves to the ``bench_*``
modules what is compared, and to ``worker`` what runs in a process.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias

ROUNDS = 5
"""Alternations for a row: the fewest of which a median says something."""

BY_HAND = "by hand"

Measured: TypeAlias = dict[str, dict[str, Any]]
"""What a worker saw, by phase."""


@dataclass(frozen=True)
class Row:
    """One line of the result.

    Attributes:
        benchmark: what was done.
        contender, floor: who did it; the floor is the divisor.
        ratios: contender over floor, one for each alternation.
        goal: the ratio that is promised (at most); None where nothing is.
    """

    HEAD: ClassVar[tuple[str, ...]] = (
        "benchmark",
        "contender",
        "floor",
        "ratio",
        "low",
        "high",
        "goal",
        "met",
    )

    benchmark: str
    contender: str
    floor: str
    ratios: Sequence[float]
    goal: float | None = None

    @property
    def ratio(self) -> float:
        """The median of the alternations: half of them were better."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the goal; None without one."""
        return None if self.goal is None else self.ratio <= self.goal

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {
            "benchmark": self.benchmark,
            "contender": self.contender,
            "floor": self.floor,
            "ratio": round(self.ratio, 3),
            "low": round(min(self.ratios), 3),
            "high": round(max(self.ratios), 3),
            "goal": self.goal,
            "met": self.met,
        }

    def cells(self) -> tuple[str, ...]:
        """Return its text for each column of :attr:`HEAD`."""
        shown = self.as_json()
        numbers = [f"{shown[name]:.2f}" for name in ("ratio", "low", "high")]
        goal = "" if self.goal is None else f"<= {self.goal:g}"
        met = {True: "yes", False: "NO", None: ""}[self.met]
        return self.benchmark, self.contender, self.floor, *numbers, goal, met


class Line(Protocol):
    """What a table is made of: a :class:`Row`, or something with columns of its own."""

    HEAD: ClassVar[tuple[str, ...]]

    @property
    def met(self) -> bool | None: ...
    def as_json(self) -> dict[str, Any]: ...
    def cells(self) -> tuple[str, ...]: ...


def table(lines: Iterable[Line]) -> str:
    """Return lines as text in columns; those with other columns make another table."""
    tables: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for line in lines:
        tables.setdefault(line.HEAD, [line.HEAD]).append(line.cells())
    return "\n\n".join(map(_columns, tables.values()))


def _columns(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


class Differs(Exception):
    """Two sides did not end with the same rows: their times cannot be compared."""


@contextmanager
def serving(records: int, *, keys: str = "sequential") -> Iterator[str]:
    """Serve so many contacts from another process; yields the address.

    Args:
        records: how many.
        keys: ``sequential``, or ``random`` for UUIDs in no order.
    """
    command = [sys.executable, "-m", "benchmarks.server", str(records), keys]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_root()
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        if not address:
            raise RuntimeError("the server of the benchmark did not start")
        try:
            yield address
        finally:
            server.stdin.close()  # which ends it


class Worker:
    """A process of one side, for as many jobs as are asked of it; see ``worker``.

    Each job starts with an empty directory. What a process does once (imports,
    certificates) is done before the first one is timed, unless ``warm`` is False.
    """

    def __init__(self, side: str, variant: str = "plain") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", side, variant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_root(),
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ask(self, url: str, phases: Sequence[str], **job: Any) -> None:
        """Have it start a job; see ``worker`` for what a job holds."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"url": url, "phases": phases, **job}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Measured:
        """Wait for the job, and return what it measured, by phase."""
        assert self._process.stdout is not None
        told = self._process.stdout.readline()
        if not told:
            raise RuntimeError("a worker of the benchmark failed; its error stands above")
        measured: Measured = json.loads(told)
        return measured

    def work(self, url: str, phases: Sequence[str], **job: Any) -> Measured:
        """Do a job and return what it measured, by phase."""
        self.ask(url, phases, **job)
        return self.answer()


def same_rows(sides: Mapping[str, Measured]) -> None:
    """Refuse to go on if the destinations of any two sides differ after any phase."""
    (first, reference), *others = sides.items()
    for name, measured in others:
        for phase, outcome in measured.items():
            expected = reference[phase]
            if (outcome["rows"], outcome["digest"]) != (expected["rows"], expected["digest"]):
                raise Differs(
                    f"after '{phase}' the rows of {name} ({outcome['rows']}, digest "
                    f"{outcome['digest']}) are not those of {first} ({expected['rows']}, "
                    f"digest {expected['digest']})"
                )


def _root() -> Path:
    return Path(__file__).parent.parent
