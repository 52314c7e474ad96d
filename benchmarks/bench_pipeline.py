"""HTTP to SQLite with all state kept, against the same by hand without any.

Four rounds of work on the same records: ``first`` (an empty destination), ``unchanged``
and ``changed`` (everything is read again, nothing or one record in a hundred differs),
each with the standard library and with the extra ``fast``, with keys in the order of the
cursor (``sequential``) and with UUIDs (``random``). The floor parses, maps and writes
everything each time; what it takes for ``changed`` is its share of the same round.

``500 records`` is a whole process, from its start to its end. ``state`` is what keeping
state costs, in microseconds a record instead of a ratio: the store's look-up and commit,
and the fingerprint. See ``python -m benchmarks pipeline --profile`` for where time goes.

With ``--quick`` a run takes a tenth of a second: what a run costs once (the lease, the last
commit) then shows in the ratio of ``unchanged`` and ``changed``. The goals are for 100k.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

from benchmarks.harness import BY_HAND, ROUNDS, Measured, Row, Worker, same_rows, serving

PHASES = ("first", "unchanged", "changed")
LABELS = {"first": "first load", "unchanged": "unchanged", "changed": "1 % changed"}
GOALS = {
    ("plain", "first"): 1.5,
    ("plain", "unchanged"): 1.1,
    ("plain", "changed"): 1.1,
    ("fast", "first"): 1.5,
    ("fast", "unchanged"): 0.5,
    ("fast", "changed"): 0.5,
}
NAMES = {"plain": "syncsdk", "fast": "syncsdk [fast]", "table": "syncsdk, SqlTable"}
STATE_GOAL = 20.0
"""Microseconds a record."""


def run(quick: bool) -> Iterator[Row]:
    """Yield the rows; how many records were read stands in each name."""
    records = 5_000 if quick else 100_000
    for keys in ("sequential", "random"):
        yield from _loads(records, keys)
    yield from _process()


def _loads(records: int, keys: str) -> Iterator[Row]:
    variants = [name for name in NAMES if _has(name) and (name, keys) != ("table", "random")]
    pairs: dict[str, list[tuple[Measured, Measured]]] = {name: [] for name in variants}
    with serving(records, keys=keys) as url, ExitStack() as stack:
        floor = stack.enter_context(Worker("by_hand"))
        workers = {name: stack.enter_context(Worker("contender", name)) for name in variants}
        for turn in range(ROUNDS):
            done: dict[str, Measured] = {}
            sides = [BY_HAND, *variants]
            # Forth and back, so that nobody always has the machine's better minute.
            for name in sides if turn % 2 == 0 else sides[::-1]:
                if name == BY_HAND:
                    done[name] = floor.work(url, PHASES)
                else:
                    done[name] = workers[name].work(url, _phases(name), stages=True)
            same_rows({name: done[name] for name in sides})
            for name in variants:
                pairs[name].append((done[BY_HAND], done[name]))
    for name in variants:
        for phase in _phases(name):
            (read,) = {own[phase]["read"] for _, own in pairs[name]}
            yield Row(
                f"{LABELS[phase]} sqlite {_thousands(read)} {keys}",
                NAMES[name],
                BY_HAND,
                [own[phase]["seconds"] / hand[phase]["seconds"] for hand, own in pairs[name]],
                GOALS.get((name, phase)),
            )
    for phase in PHASES[:2]:
        yield Row(
            f"state, {LABELS[phase]} sqlite {_thousands(records)} {keys}",
            NAMES["plain"],
            "1 µs a record",
            [_state(own[phase]) / own[phase]["read"] * 1e6 for _, own in pairs["plain"]],
            STATE_GOAL,
        )


def _has(variant: str) -> bool:
    if variant == "fast":
        return find_spec("msgspec") is not None
    if variant == "table":
        return find_spec("sqlalchemy") is not None and _connector()
    return True


def _connector() -> bool:
    try:
        return find_spec("syncsdk.connectors.sql") is not None
    except ModuleNotFoundError:
        return False


def _phases(side: str) -> tuple[str, ...]:
    return PHASES[:1] if side == "table" else PHASES


def _state(phase: dict[str, Any]) -> float:
    stages = phase["stages"]
    return sum(stages.get(name, 0.0) for name in ("store.look_up", "store.commit", "fingerprint"))


def _thousands(number: int) -> str:
    return f"{number // 1000}k" if number % 1000 == 0 else str(number)


def _process() -> Iterator[Row]:
    ratios = []
    with serving(500) as url:
        for turn in range(ROUNDS + 1):
            floor, own = _whole(url, "by_hand"), _whole(url, "contender")
            if turn:  # the first pair reads the modules from the disk
                ratios.append(own / floor)
    yield Row("500 records, process start to end", NAMES["plain"], BY_HAND, ratios, 1.5)


def _whole(url: str, side: str) -> float:
    began = time.perf_counter()
    with Worker(side) as worker:
        worker.work(url, PHASES[:1], check=False, warm=False)
    return time.perf_counter() - began


def profile(quick: bool) -> str:
    """Return where the time of the contender goes: its parts undistorted, then functions.

    The parts are measured a batch at a time; ``engine`` is all that is not one of them:
    checking, planning, fingerprints, settling. The functions are told by cProfile, which
    makes small Python functions look more expensive than they are.
    """
    records = 10_000 if quick else 50_000
    lines = []
    with serving(records) as url:
        for variant in ("plain", "fast"):
            if not _has(variant):
                continue
            with Worker("by_hand") as hand, Worker("contender", variant) as contender:
                floor = hand.work(url, PHASES)
                own = contender.work(url, PHASES, stages=True)
                contender.work(url, PHASES[:2], profile=25)
            for phase in PHASES:
                stages = dict(own[phase]["stages"])
                stages["(fingerprint)"] = stages.pop("fingerprint", 0.0)
                known = sum(value for name, value in stages.items() if name[0] != "(")
                stages["engine"] = own[phase]["seconds"] - known
                shown = ", ".join(f"{k} {v / records * 1e6:.1f}" for k, v in stages.items())
                total = own[phase]["seconds"] / records * 1e6
                hand = floor[phase]["seconds"] / records * 1e6
                lines.append(
                    f"{NAMES[variant]}, {LABELS[phase]}: {total:.1f} µs a record "
                    f"(by hand {hand:.1f}): {shown}"
                )
    return "\n".join(lines)
