"""Runs many worlds, in several processes, and counts what they met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from attrs import define, field

from .world import FAULTS, POINTS, Violation, World

CHUNK = 250


@define
class Tally:
    """What a number of worlds met.

    Attributes:
        worlds: how many were run.
        hits: how often each fault and each crash point struck.
        failed: the seeds that failed, and how.
    """

    worlds: int = 0
    hits: Counter[str] = field(factory=Counter)
    failed: dict[int, str] = field(factory=dict)

    def add(self, other: Tally) -> None:
        self.worlds += other.worlds
        self.hits += other.hits
        self.failed.update(other.failed)

    def table(self) -> str:
        lines = [f"{self.worlds} worlds, {len(self.failed)} failed"]
        lines += [f"  fault  {self.hits[name]:8}  {name}" for name in FAULTS]
        lines += [f"  crash  {self.hits[name]:8}  {name}" for name in POINTS]
        lines += [
            f"  FAILED: python -m tests.simulation {seed}  # {how}"
            for seed, how in list(self.failed.items())[:20]
        ]
        return "\n".join(lines)


def run(seeds: Iterable[int]) -> Tally:
    """Run worlds one after the other."""
    tally = Tally()
    for seed in seeds:
        world = World(seed)
        try:
            world.live()
        except (Exception, Violation) as error:
            tally.failed[seed] = f"{type(error).__name__} {error}"
        tally.worlds += 1
        tally.hits += world.hits
    return tally


def run_all(first: int, last: int, jobs: int) -> Tally:
    """Run the worlds of the seeds from ``first`` to below ``last`` in ``jobs`` processes."""
    tally = Tally()
    chunks = [range(at, min(at + CHUNK, last)) for at in range(first, last, CHUNK)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for part in pool.map(run, chunks):
            tally.add(part)
    return tally


def violations(seeds: Iterable[int], source: str = "", sink: str = "") -> Iterator[str]:
    """Return the names of the invariants that these worlds break, in the order of seeds.

    What is not a violation is raised: a mutant has to be caught by its harm.
    """
    for seed in seeds:
        world = World(seed, source, sink)
        try:
            world.live()
        except Violation as violation:
            yield violation.invariant
