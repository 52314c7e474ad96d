"""``python -m benchmarks [NAME ...] [--quick] [--json] [--profile]``; see the package."""

from __future__ import annotations

import argparse
import inspect
import json
import pkgutil
import sys
from importlib import import_module

import benchmarks
from benchmarks.harness import Line, table

PREFIX = "bench_"


def main() -> int:
    """Run the named benchmarks, or all; exit with 1 if a goal was missed."""
    found = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    names = [name.removeprefix(PREFIX) for name in found if name.startswith(PREFIX)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument(
        "--quick", action="store_true", help="fewer of all: 40 s a NAME at most, http 4 min"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    parser.add_argument(
        "--profile", action="store_true", help="print where the time goes instead, if NAME can"
    )
    parser.add_argument("--part", help="of a NAME that has parts")
    parser.add_argument("--seconds", type=float, help="of a run, if NAME takes them")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(names):
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}")
    modules = [import_module(f"benchmarks.{PREFIX}{name}") for name in asked.names or names]
    if asked.profile:
        for module in modules:
            if hasattr(module, "profile"):
                print(module.profile(asked.quick))
        return 0
    given = {"part": asked.part, "seconds": asked.seconds}
    options = {name: value for name, value in given.items() if value is not None}
    for module in modules:
        if strange := options.keys() - inspect.signature(module.run).parameters.keys():
            parser.error(f"{module.__name__} takes no --{strange.pop()}: name another NAME")
    rows: list[Line] = []
    for module in modules:
        for row in module.run(asked.quick, **options):
            rows.append(row)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(json.dumps([row.as_json() for row in rows], indent=1) if asked.json else table(rows))
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
