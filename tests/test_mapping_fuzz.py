"""The fuzzer of the mapper: it sees what it should, and uses all of the vocabulary."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncsdk.mapping import support
from syncsdk.mapping.checks import _DECISIONS, _NEEDS, _ONLY, _TAKES
from syncsdk.mapping.rules import Decision
from syncsdk.mapping.tracing import Made, Rule, questions
from tests.fuzzing import CASES, HOSTILE, SURFACES, Case, Failures, check, decoded, told


def random_inputs(number: int) -> Iterator[bytes]:
    draws = random.Random(5)
    for _ in range(number):
        yield draws.randbytes(draws.randint(2, 40))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.mapper.name)
def test_good_records_are_taken_on_every_surface(case: Case) -> None:
    for record in case.good:
        assert case.mapper.explain(record).issues == ()
        for surface in dict.fromkeys(SURFACES):
            check(case, record, surface)


def test_random_inputs_find_nothing(tmp_path: Path) -> None:
    failures = Failures(tmp_path)
    for data in random_inputs(300):
        failures.one(data)

    assert failures.smallest == {}


def test_a_planted_exception_is_found_and_told_with_the_smallest_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = support.said

    def planted(value: object) -> str:
        if isinstance(value, bytes):
            raise LookupError(value)
        return said(value)

    monkeypatch.setattr(support, "said", planted)
    failures = Failures(tmp_path)
    found: list[str] = []
    for data in random_inputs(3_000):
        failures.one(data)
        found = [where for where in failures.smallest if where.startswith("LookupError in ")]
        if found:
            break

    (where,) = found
    words = failures.smallest[where]
    assert f"FAILED: {where}" in capsys.readouterr().out
    assert any(where in told_in.read_text() for told_in in tmp_path.glob("*.txt"))
    replayed = bytes.fromhex(words.rpartition("--replay ")[2])
    assert failures.attempt(replayed) == where
    assert len(replayed) <= 12


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("map_batch", "taken alone, and refused in a batch"),
        ("explain", "explained as something else"),
    ],
)
def test_forms_that_disagree_are_found(name: str, broken: str) -> None:
    class Wrong:
        """A mapping one of whose forms answers for another record."""

        def __call__(self, record: Any) -> Any:
            return case.mapper(record)

        def __getattr__(self, asked: str) -> Any:
            real = getattr(case.mapper, asked)
            if asked != name:
                return real
            if name == "map_batch":
                return lambda records: real([5, *records[1:]] if len(records) > 1 else records)
            return lambda _: real(case.good[1])

    case = CASES[0]
    with pytest.raises(AssertionError, match=broken):
        check(Case(Wrong(), case.good), case.good[0])  # type: ignore[arg-type]


def test_an_input_is_always_the_same_record() -> None:
    for data in random_inputs(200):
        one, other = decoded(data), decoded(data)
        assert (one[0].mapper.name, one[2]) == (other[0].mapper.name, other[2])
        assert len(told(one[1])) == len(told(other[1]))  # but for addresses of objects


def test_any_hostile_value_can_be_told() -> None:
    for make in HOSTILE:
        assert len(told([make()])) < 20_000


def rules_of(made: Made) -> Iterator[Rule]:
    for value in made.values.values():
        if isinstance(value, Made):
            yield from rules_of(value)
        for rule in questions(value):
            yield rule
            if "mapping" in rule.settings:
                yield from rules_of(rule.settings["mapping"].read.made)


def test_the_cases_use_every_rule_with_every_word_of_every_decision() -> None:
    said: dict[str, dict[str, set[str]]] = {}
    for case in CASES:
        for rule in rules_of(case.mapper.read.made):
            for name, setting in rule.settings.items():
                word = setting.word if isinstance(setting, Decision) else "a value"
                said.setdefault(rule.kind, {}).setdefault(name, set()).add(word)
            said.setdefault(rule.kind, {})

    assert said.keys() == _TAKES.keys()
    for kind, names in _TAKES.items():
        known = names - {"absent", "null", "empty"} if "missing" in _NEEDS.get(kind, ()) else names
        assert said[kind].keys() == known, kind
        for name in known & _DECISIONS.keys():
            value = {"a value"} - {"a value" for _ in [name] if name in _ONLY or kind == "nested"}
            assert said[kind][name] == _DECISIONS[name] | value, (kind, name)
    assert any(case.mapper.read.needs for case in CASES)
