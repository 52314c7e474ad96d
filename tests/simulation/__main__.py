"""``python -m tests.simulation [SEED | FIRST LAST] [--jobs N]``.

One seed is replayed and its failure shown whole; a range is counted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from .runner import run_all
from .world import POINTS, World

ENOUGH = 20_000
FEWEST_HITS = 100


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    if len(chosen.seeds) == 1:
        World(chosen.seeds[0]).live()
        print(f"world {chosen.seeds[0]} holds")
        return 0
    first, last = chosen.seeds or (0, ENOUGH)
    started = time.monotonic()
    tally = run_all(first, last, chosen.jobs)
    print(tally.table())
    print(f"  in {time.monotonic() - started:.0f} s")
    rare = [point for point in POINTS if tally.hits[point] < FEWEST_HITS]
    if rare and tally.worlds >= ENOUGH:
        print(f"  FAILED: struck fewer than {FEWEST_HITS} times: {', '.join(rare)}")
        return 1
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
