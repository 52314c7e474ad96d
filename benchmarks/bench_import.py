"""What starting costs: importing, each time in a fresh interpreter.

``import syncsdk`` is a table of names that loads nothing; the second row is what an app
pays that names the parts of a pipeline, and has no goal of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.harness import ROUNDS, Row

HTTPX = "import httpx"
ROWS = (
    ("import syncsdk", "import syncsdk", 0.8),
    ("import Pipeline and SQLiteStore", "from syncsdk import Pipeline, SQLiteStore", None),
)


def run(quick: bool) -> Iterator[Row]:
    """Yield the rows."""
    for statement in (HTTPX, *(statement for _, statement, _ in ROWS)):
        seconds(statement)  # leaves compiled modules behind, and warms the disk's cache
    for name, statement, goal in ROWS:
        ratios = [seconds(statement) / seconds(HTTPX) for _ in range(ROUNDS * (2 if quick else 5))]
        yield Row(name, "syncsdk", "import httpx", ratios, goal)


def seconds(statement: str) -> float:
    """Return how long a statement takes in a fresh interpreter, its start not counted."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    return float(subprocess.check_output([sys.executable, "-c", code]))
