"""Whether memory stays flat: the most that a process held, however many records it read.

The peak resident size (``VmHWM``) of a first load in a process of its own: many records
against few, and against the floor on as many. Memory does not depend on who else runs, so
the processes of a round run at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import BY_HAND, ROUNDS, Row, Worker, same_rows, serving

FEW = 10_000


def run(quick: bool) -> Iterator[Row]:
    """Yield the rows; quick compares with ten times as many records, else a hundred."""
    many = FEW * (10 if quick else 100)
    itself, beside = [], []
    with serving(FEW) as short, serving(many) as long:
        for turn in range(ROUNDS):
            with Worker("contender") as few, Worker("contender") as own, Worker("by_hand") as hand:
                job = {"warm": False, "check": turn == 0}
                few.ask(short, ["first"], **job)
                own.ask(long, ["first"], **job)
                hand.ask(long, ["first"], **job)
                less, told, floor = few.answer(), own.answer(), hand.answer()
            same_rows({BY_HAND: floor, "syncsdk": told})
            itself.append(told["first"]["peak"] / less["first"]["peak"])
            beside.append(told["first"]["peak"] / floor["first"]["peak"])
    size = f"{many // 1000}k"
    yield Row(f"peak memory, {size} records", "syncsdk", f"itself, {FEW // 1000}k", itself, 1.1)
    yield Row(f"peak memory, {size} records", "syncsdk", BY_HAND, beside, 1.3)
