"""What type checkers see of mappings: every seeded mistake, and nothing in what is right.

The mappings are in ``data/typing``: ``systems`` has the classes at both ends, ``good`` has
mappings that run, ``mistakes`` one mistake for each mapping, on a line marked
``# mistake: <name>``. Each checker runs once over all of them. A mistake is seen if a
checker reports an error on the very line of its mark.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from syncsdk.mapping import TypedMapper, rules
from syncsdk.values import UNSET
from tests.data.typing import good
from tests.data.typing.systems import (
    ErpContact,
    ErpLists,
    ErpMoney,
    ErpName,
    ErpPlace,
    ErpPlaces,
    ErpPosition,
    ErpReach,
    ErpStanding,
    ErpTimes,
    ErpUse,
    State,
)

REPO: Final = Path(__file__).parents[1]
DATA: Final = REPO / "tests" / "data" / "typing"
FILES: Final = [f"tests/data/typing/{name}.py" for name in ("systems", "good", "mistakes")]
CHECKERS: Final = ("mypy", "pyright")

UNSEEN: Final[Mapping[tuple[str, str], str]] = {
    ("mypy", "NotRequired key without missing"): "mypy takes [...] of such a key for its value",
}
"""Mistakes that a checker does not see, and why; an entry that is no longer true fails."""


# -- What the checkers say -------------------------------------------------------------

Told = Mapping[tuple[str, int], str]
"""Messages by file and line."""


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments, *FILES],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def mypy_told() -> Told:
    # The data is no package on its own: its modules are named from the repository on.
    lines = run("mypy", "--strict", "--explicit-package-bases", "--output=json").splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return {
        (Path(item["file"]).name, item["line"]): item["message"]
        for item in found
        if item["severity"] == "error" and (REPO / item["file"]).parent == DATA
    }


def pyright_told() -> Told:
    told = json.loads(run("pyright", "--pythonpath", sys.executable, "--outputjson"))
    assert told["summary"]["filesAnalyzed"] == len(FILES)
    return {
        (Path(item["file"]).name, item["range"]["start"]["line"] + 1): item["message"]
        for item in told["generalDiagnostics"]
    }


@pytest.fixture(scope="module")
def told() -> Mapping[str, Told]:
    """What each checker says of all files; both run once."""
    return {"mypy": mypy_told(), "pyright": pyright_told()}


def marks(kind: str) -> dict[str, tuple[str, int]]:
    """Return the marked lines by name."""
    found = [
        (match[1], (path.name, number))
        for path in map(REPO.joinpath, FILES)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if (match := re.search(rf"# {kind}: (.+)$", line))
    ]
    assert len(dict(found)) == len(found), "two marks have one name"
    return dict(found)


MISTAKES: Final = marks("mistake")


def of_each(names: Mapping[str, Any], known: Mapping[tuple[str, str], str]) -> list[Any]:
    return [
        pytest.param(
            checker,
            name,
            id=f"{checker}-{name.replace(' ', '_')}",
            marks=[pytest.mark.xfail(reason=known[checker, name], strict=True)]
            if (checker, name) in known
            else [],
        )
        for name in names
        for checker in CHECKERS
    ]


@pytest.mark.parametrize(("checker", "name"), of_each(MISTAKES, UNSEEN))
def test_a_mistake_is_seen_on_its_line(told: Mapping[str, Told], checker: str, name: str) -> None:
    assert MISTAKES[name] in told[checker]


@pytest.mark.parametrize("checker", CHECKERS)
def test_nothing_else_is_reported(told: Mapping[str, Told], checker: str) -> None:
    marked = set(MISTAKES.values())

    assert {at: said for at, said in told[checker].items() if at not in marked} == {}


# -- The data itself -------------------------------------------------------------------


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if type(node) is ast.Call]


def test_each_mistake_has_a_mapping_of_its_own() -> None:
    tree = ast.parse((DATA / "mistakes.py").read_text("utf-8"))
    spans = [
        range(node.decorator_list[0].lineno, (node.end_lineno or 0) + 1)
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    ]
    lines = [line for _, line in MISTAKES.values()]

    assert len(lines) >= 24
    assert {name for name, _ in MISTAKES.values()} == {"mistakes.py"}
    assert all(sum(line in span for span in spans) == 1 for line in lines)
    assert all(sum(line in span for line in lines) <= 1 for span in spans)


def test_known_exceptions_name_marks() -> None:
    assert {name for _, name in UNSEEN} <= MISTAKES.keys()


def test_every_word_is_used_in_what_is_right() -> None:
    tree = ast.parse((DATA / "good.py").read_text("utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}

    assert set(rules.__all__) - used == set()


def test_text_is_used_in_all_its_forms() -> None:
    forms = {
        (frozenset({"missing", "absent"} & given), "max" in given)
        for call in calls(DATA / "good.py")
        if isinstance(call.func, ast.Name) and call.func.id == "text"
        for given in [{str(each.arg) for each in call.keywords}]
    }

    assert len(forms) == 6


# -- What is right runs ----------------------------------------------------------------

HOME: Final = {"kind": "main", "city": " Köln, Germany ", "street": "", "since": "2020"}
SHOP: Final = {"kind": "billing", "city": "x" * 50, "street": "Ring 1", "since": "2019"}

CONTACT: Final[dict[str, Any]] = {
    "id": 7,
    "name": "Lovelace",
    "firstName": "Ada",
    "nickname": "n/a",
    "email": "Ada@Example.org",
    "mobile": "",
    "phone": "+49 (221) 5",
    "stage": "customer",
    "old_stage": None,
    "channel": None,
    "newsletter": "Y",
    "visits": "many",
    "seats": None,
    "balance": "10.005",
    "discount": 0.25,
    "created_at": "2026-03-29T14:00:00+02:00",
    "seen_at": "2026-03-29T02:30:00",
    "birthday": "10.12.1815",
    "office": HOME,
    "home": None,
    "addresses": [HOME, SHOP],
    "items": [{"sku": "ab-12", "quantity": 2, "price": 0.1}],
    "tags": ["x"],
    "legacy_code": "P",
}

LEAD: Final = CONTACT | {"mobile": "nobody", "phone": " ", "stage": "?", "newsletter": True}

ORDER: Final = {
    "orderNumber": 12,
    "kind": "return",
    "total": "19.90",
    "remark": "by hand, to the door",
    "placed_at": "2026-06-01T12:00:00",
    "buyer": {"mail": "a@b.org", "name": " "},
    "ship_to": {"city": "Bonn"},
    "ship_from": {"city": "Ulm"},
    "tags": [],
}

KOELN: Final = ErpPlace("Köln, Germany", None)
CUT: Final = ErpPlace("x" * 40, "Ring 1")
NOON: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)


RUNS: Final = [
    pytest.param(good.place, SHOP, CUT, id="place"),
    pytest.param(
        good.position,
        {"sku": "ab-12", "quantity": "2", "price": "0.105"},
        ErpPosition("AB-12", 2, Decimal("0.11")),
        id="position",
    ),
    pytest.param(
        good.contact,
        CONTACT,
        ErpContact(
            "CRM-7",
            ErpName("Ada Lovelace", "AL", None),
            ErpReach("ada@example.org", "+492215", UNSET),
            ErpStanding(State.ACTIVE, None, State.PROSPECT),
            ErpUse(0, None, True),
            ErpMoney(Decimal("10.00"), Decimal("0.2500")),
            ErpTimes(
                datetime(2026, 3, 29, 12, tzinfo=UTC),
                datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
                None,
            ),
            ErpPlaces(KOELN, CUT),
            ErpLists([KOELN, CUT], [ErpPosition("AB-12", 2, Decimal("0.10"))]),
            "crm",
        ),
        id="contact",
    ),
    pytest.param(
        good.lead,
        LEAD | {"birthday": None, "seen_at": None},
        ErpContact(
            "P/7",
            ErpName("Lovelace", "Ada", "n/a"),
            ErpReach("a@b.org", None, "-"),
            ErpStanding(State.ARCHIVED, None, State.PROSPECT),
            ErpUse(0, None, True),
            ErpMoney(Decimal("10.00"), Decimal("0.25")),
            ErpTimes(datetime(1970, 1, 1, tzinfo=UTC), None, date(1900, 1, 1)),
            ErpPlaces(KOELN, None),
            ErpLists([], [ErpPosition("AB-12", 2, Decimal("0.10"))]),
            "crm",
        ),
        id="lead",
    ),
    pytest.param(
        good.branch,
        {"kind": "a", "city": "b.org", "since": "old"},
        ErpReach("a@b.org", None, UNSET),
        id="branch",
    ),
    pytest.param(
        good.offices,
        CONTACT | {"home": SHOP},
        ErpPlaces(KOELN, CUT),
        id="offices",
    ),
    pytest.param(
        good.buyer,
        {"mail": "a@b.org", "name": "Ada"},
        {"mail": "a@b.org", "name": "Ada"},
        id="buyer",
    ),
    pytest.param(good.guest, {"mail": "a@b.org"}, {"mail": "a@b.org", "name": None}, id="guest"),
    pytest.param(good.city, {"city": "Bonn"}, ErpPlace("Bonn", None), id="city"),
    pytest.param(
        good.entry,
        ORDER | {"placed_at": "2026-06-01T12:00:00Z", "coupon": "C5"},
        {
            "number": "S12",
            "kind": "CRN",
            "amount": Decimal("19.90"),
            "remark": "by hand, to the door",
            "coupon": "C5",
            "placed": NOON,
            "party": {"mail": "a@b.org", "name": None},
            "place": ErpPlace("Bonn", None),
        },
        id="entry",
    ),
    pytest.param(
        good.entries("A", "UTC"),
        ORDER,
        {
            "number": "A-12",
            "kind": "INV",
            "amount": Decimal("19.90"),
            "remark": "by hand,",
            "placed": NOON,
            "party": {"mail": "a@b.org", "name": None},
            "place": None,
        },
        id="entries",
    ),
]
"""A mapping, a record, and what it becomes."""


@pytest.mark.parametrize(("run_it", "record", "expected"), RUNS)
def test_what_is_right_runs(run_it: TypedMapper[Any, Any], record: Any, expected: Any) -> None:
    assert run_it(record) == expected
    assert run_it.map_batch([record])[0].__class__ is tuple


def test_every_mapping_of_what_is_right_is_run() -> None:
    defined = {name for name, value in vars(good).items() if isinstance(value, TypedMapper)}

    assert {case.id for case in RUNS} == defined | {"entries"}
