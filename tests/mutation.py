"""Plants random faults in the engine and in planning, and counts how many the suite finds.

``python -m tests.mutation [--count 200] [--seed 1] [--jobs 1] [--only N ...]``. Each fault is
one changed operator, constant, condition or statement in a copy of the package; the tests of
the flow, the promises, the telemetry and some worlds run over it and stop at the first
failure. The ``strict=`` of a zip is left alone: it guards against a mistake in the engine
itself. Faults that survive are printed, to be looked at by a person: some change nothing that
can be seen.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES = ("planning", "engine")
SUITES = (
    ["tests/test_planning.py", "tests/test_engine.py", "-k", "not run_async"],
    ["tests/promises", "tests/test_telemetry.py", "-k", "not run_async and not world"],
    ["tests/test_simulation.py", "-k", "worlds_hold or kind"],
)
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
}


def faults(tree: ast.Module) -> Iterator[tuple[int, str, ast.Module]]:
    """Return every fault that can be planted: line, what, and the changed tree."""
    nodes = list(ast.walk(tree))
    checks = {
        id(node.value) for node in nodes if isinstance(node, ast.keyword) if node.arg == "strict"
    }
    for at, node in enumerate(nodes):
        if id(node) in checks:
            continue
        for what in options(node):
            changed = copy.deepcopy(tree)
            mutate(list(ast.walk(changed))[at], what)
            yield getattr(node, "lineno", 0), what, changed


def options(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        return ["compare"]
    if isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in SWAPS:
        return ["operator"]
    if isinstance(node, ast.If | ast.IfExp):
        return ["never", "always"]
    if isinstance(node, ast.Constant) and type(node.value) in (bool, int):
        return ["constant"]
    if isinstance(node, ast.AugAssign):
        return ["skip"]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
        return ["skip"]
    if isinstance(node, ast.Raise):
        return ["skip"]
    return []


def mutate(node: ast.AST, what: str) -> None:
    if what == "compare":
        assert isinstance(node, ast.Compare)
        node.ops[0] = SWAPS[type(node.ops[0])]()  # type: ignore[assignment]
    elif what == "operator":
        node.op = SWAPS[type(node.op)]()  # type: ignore[attr-defined]
    elif what in ("never", "always"):
        node.test = ast.Constant(what == "always")  # type: ignore[attr-defined]
    elif what == "constant":
        value = node.value  # type: ignore[attr-defined]
        node.value = not value if type(value) is bool else value + 1  # type: ignore[attr-defined]
    else:
        node.__class__ = ast.Pass
        node.__dict__ = {
            name: value
            for name, value in node.__dict__.items()
            if name in ("lineno", "col_offset", "end_lineno", "end_col_offset")
        }


def dies(number: int, module: str, source: str) -> bool:
    """Whether the suite fails over a copy of the package with this source."""
    folder = Path(tempfile.mkdtemp(prefix=f"mutant-{number}-"))
    try:
        for name in ("syncsdk", "tests", "pyproject.toml"):
            origin = ROOT / name
            if origin.is_dir():
                shutil.copytree(origin, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(origin, folder / name)
        (folder / "syncsdk" / f"{module}.py").write_text(source)
        environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        for suite in SUITES:
            command = [sys.executable, "-m", "pytest", "-x", "-q", *suite]
            try:
                ended = subprocess.run(
                    command, cwd=folder, env=environment, capture_output=True, timeout=240
                )
            except subprocess.TimeoutExpired:
                return True
            if ended.returncode != 0:
                return True
        return False
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int, nargs="*", help="judge these of them again")
    chosen = parser.parse_args()
    made = []
    for module in MODULES:
        tree = ast.parse((ROOT / "syncsdk" / f"{module}.py").read_text())
        made += [(module, line, what, changed) for line, what, changed in faults(tree)]
    picked = random.Random(chosen.seed).sample(made, min(chosen.count, len(made)))
    print(f"{len(picked)} of {len(made)} faults", flush=True)

    def judge(number: int) -> bool:
        module, line, what, changed = picked[number]
        dead = dies(number, module, ast.unparse(ast.fix_missing_locations(changed)))
        if not dead:
            print(f"survived: {number} {module}.py:{line} {what}", flush=True)
        return dead

    with ThreadPoolExecutor(chosen.jobs) as pool:
        judged = list(pool.map(judge, chosen.only or range(len(picked))))
    print(f"{sum(judged)} of {len(judged)} found, {sum(judged) / len(judged):.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
