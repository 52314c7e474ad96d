"""A declared mapping beside the same by hand, and beside other libraries.

Twelve fields, one of them an address picked from a list: see ``mapping_declared``. First
all contenders map every odd and every bad value of ``mapping_records``: each must give the
same rows and refuse the same records, or the benchmark fails. The libraries call the same
functions for values (``mapping_cleaning``); msgspec and glom tell the first fault of a
record only, all others tell them all. Those that are not installed are left out.

Everything runs in one process and uses no file and no network, so that seconds are those
of this thread's CPU (``time.thread_time``): who else runs on the machine disturbs less.

``fingerprint`` compares with ``json.dumps`` of the same row as a dict. ``definition`` reads,
checks and compiles the mapping, in units of 10 ms; ``profile`` counts what a system holds,
in units of 100 µs a record. See ``python -m benchmarks mapping --profile`` for what each
field costs on either side.
"""

from __future__ import annotations

import ast
import gc
import inspect
import json
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from typing import Any

from benchmarks import mapping_by_hand, mapping_declared
from benchmarks.harness import BY_HAND, Differs, Row
from benchmarks.mapping_declared import BATCH
from benchmarks.mapping_records import BAD, ODD, every, good, some_bad
from syncsdk.mapping import shapes
from syncsdk.values import Fingerprints

LIBRARIES = ("cattrs", "pydantic", "adaptix", "msgspec", "glom")
GOOD_GOAL = 1.0
BAD_GOAL = 1.2
BAD_SHARE = 0.05
FINGERPRINT_GOAL = 1.5
SLOW = {"glom": 10}
"""How many times fewer records are mapped, with the floor too."""

Maps = Callable[[list[Any]], Sequence[Any]]


def run(quick: bool) -> Iterator[Row]:
    """Yield the rows."""
    number, rounds = (2_000, 11) if quick else (3_000, 21)
    sides = _sides()
    _check(sides)
    floor = sides.pop(BY_HAND)
    for name, records, goal in (
        ("good records", good(number), GOOD_GOAL),
        (f"bad records {BAD_SHARE * 100:.0f} %", some_bad(number, BAD_SHARE), BAD_GOAL),
    ):
        for side, maps in sides.items():
            some = records[: number // SLOW.get(side, 1)]
            ratios = _ratios(maps, floor, some, rounds)
            yield Row(name, side, BY_HAND, ratios, goal if side == "syncsdk" else None)
    yield _fingerprint(number, rounds)
    yield _definition(rounds)
    if find_spec("syncsdk.mapping.profile") is not None:
        yield _profile(number // 4, rounds // 2)


def _sides() -> dict[str, Maps]:
    found: dict[str, Maps] = {
        BY_HAND: mapping_by_hand.customers,
        "syncsdk": mapping_declared.customers,
    }
    for library in LIBRARIES:
        if find_spec(library) is not None:
            found[library] = import_module(f"benchmarks.mapping_{library}").customers
    return found


def _check(sides: dict[str, Maps]) -> None:
    """Refuse to go on if two sides differ in a row, or in which records they refuse."""
    fits, refused = [*good(1_500), *every(ODD)], list(every(BAD))
    records = [*fits, *refused, *some_bad(1_500, 0.5)]
    made = {name: maps(records) for name, maps in sides.items()}
    for name, rows in made.items():
        for at, (row, expected) in enumerate(zip(rows, made[BY_HAND], strict=True)):
            mapped = row.__class__ is tuple
            if at < len(fits) + len(refused) and mapped != (at < len(fits)):
                raise Differs(f"{name} {'maps' if mapped else 'refuses'} record {at} of the check")
            # repr tells -0.00 from 0.00, and 1.0 from 1.00.
            if mapped != (expected.__class__ is tuple) or (mapped and repr(row) != repr(expected)):
                raise Differs(f"{name} and {BY_HAND} differ in record {at} of the check")


def _ratios(one: Maps, floor: Maps, records: list[Any], rounds: int) -> list[float]:
    """Return the seconds of one over those of the floor, forth and back."""
    gc.collect()
    gc.freeze()  # what was built so far is nobody's to look through
    batches = [records[start : start + BATCH] for start in range(0, len(records), BATCH)]
    ratios = []
    for turn in range(rounds):
        sides = (one, floor) if turn % 2 == 0 else (floor, one)
        took = {side: _seconds(side, batches) for side in sides}
        ratios.append(took[one] / took[floor])
    gc.unfreeze()
    return ratios


def _seconds(function: Callable[[Any], Any], each: Sequence[Any]) -> float:
    began = time.thread_time()
    for one in each:
        function(one)
    return time.thread_time() - began


def _fingerprint(number: int, rounds: int) -> Row:
    names = mapping_declared.define().fields
    rows = list(mapping_declared.customers(good(number)))
    records = {id(row): dict(zip(names, row, strict=True)) for row in rows}

    def dumped(batch: list[Any]) -> list[str]:
        return [json.dumps(records[id(row)], default=str) for row in batch]

    ratios = _ratios(Fingerprints(names).of_all, dumped, rows, rounds)
    return Row("fingerprint", "syncsdk", "json.dumps", ratios, FINGERPRINT_GOAL)


def _definition(rounds: int) -> Row:
    def once(_: int) -> None:
        shapes.shape.cache_clear()
        assert mapping_declared.define().source

    once(0)
    took = [_seconds(once, [0]) / 0.010 for _ in range(rounds)]
    return Row("definition", "syncsdk", "10 ms", took, 1.0)


def _profile(number: int, rounds: int) -> Row:
    profile = import_module("syncsdk.mapping.profile").profile
    mapper, records = mapping_declared.define(), some_bad(number, BAD_SHARE)

    def once(_: int) -> None:
        profile(mapper, records)

    once(0)
    took = [_seconds(once, [0]) / number / 100e-6 for _ in range(max(5, rounds))]
    return Row("profile", "syncsdk", "100 µs a record", took, 1.0)


# -- Where the time goes ---------------------------------------------------------------


def profile(quick: bool) -> str:
    """Return what each field costs by itself, on both sides, for good records.

    Each guarded block of the generated function runs alone over all records, and so does
    each block of the floor. Nested fields are within their field.
    """
    records, rounds = good(1_000 if quick else 3_000), 11 if quick else 31
    mapper = mapping_declared.define()
    compiled = mapper._wire
    ours = _blocks(compiled.source, compiled.call.__name__)
    theirs = _blocks(inspect.getsource(mapping_by_hand.customer), "customer")
    hits = [0] * len(compiled.counters)
    columns = {
        "syncsdk": {
            compiled.guards[int(guard)].field: _alone(body, compiled.call.__globals__, hits)
            for guard, body in ours.items()
        },
        BY_HAND: {name: _alone(body, vars(mapping_by_hand), hits) for name, body in theirs.items()},
    }
    empty = _alone([ast.Pass()], {}, hits)
    gc.collect()
    lines = [f"{'ns a record':16}" + "".join(f"{side:>10}" for side in columns)]
    for name in columns["syncsdk"]:
        line = f"{name:16}"
        for side in columns.values():
            pairs = [
                _seconds(side[name], [records]) - _seconds(empty, [records]) if name in side else 0
                for _ in range(rounds)
            ]
            line += f"{median(pairs) / len(records) * 1e9:10.0f}"
        lines.append(line)
    return "\n".join(lines)


def _blocks(source: str, function: str) -> dict[str, list[ast.stmt]]:
    """Return the guarded blocks of a function, by what its handler names first."""
    (found,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    blocks: dict[str, list[ast.stmt]] = {}
    for node in found.body:
        if isinstance(node, ast.Try):
            handler = ast.walk(node.handlers[0].body[0])
            name = next(str(each.value) for each in handler if isinstance(each, ast.Constant))
            blocks[name] = [node]
    return blocks


def _alone(body: list[ast.stmt], scope: dict[str, Any], hits: list[int]) -> Callable[..., None]:
    """Return a function that runs a block for each of a list of records."""
    lines = ast.unparse(ast.Module(body, [])).splitlines()
    head = "def alone(records):\n    bad = []\n    for r in records:\n        "
    names = dict(scope) | {"hits": hits}
    exec(head + "\n        ".join(lines), names)
    alone: Callable[..., None] = names["alone"]
    return alone
