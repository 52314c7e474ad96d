"""Who agreed to which mapping, and the commands around it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from syncsdk.errors import ConfigurationError
from syncsdk.mapping import text
from syncsdk.mapping.approval import Approval, approval, approve, assert_approved

APP = '''
"""Contacts become customers."""

from attrs import define, field

from syncsdk.mapping import REJECT, TRUNCATE, about, drop, label, mapping, step, text, to


@define
class Contact:
    id: int
    name: str
    secret: str = field(metadata=about(sensitive=True))


@define
class Customer:
    number: str
    name: str = field(metadata=about(max=40, meaning="As it is printed"))


@step(version="1")
def tidy(name: str) -> str:
    """Put single spaces between words."""
    return " ".join(name.split())


@mapping(owner="crm-team", approved="customers.approved.toml")
def customers(s: Contact) -> Customer:
    """A contact becomes a customer."""
    drop(s.secret, why="nobody's business")
    return to(Customer)(
        number=label("C-{}", s.id),
        name=text(tidy(s.name), max=40, over=TRUNCATE, why="the form is narrow"),
    )


@mapping
def unkept(s: Contact) -> Customer:
    drop(s.secret, why="nobody's business")
    return to(Customer)(number=label("C-{}", s.id), name=text(s.name, max=40, over=REJECT))
'''


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(APP, encoding="utf-8")
    return path


def loaded(path: Path) -> Any:
    name = f"approval_{path.parent.name.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_an_approval_says_who_agreed_to_what(app: Path) -> None:
    mapper = loaded(app).customers

    assert approval(mapper) is None
    with pytest.raises(AssertionError, match=r"app\.customers was never approved"):
        assert_approved(mapper)
    path = approve(
        mapper, who='Ada "A" Lovelace', role="Finance", date=date(2026, 3, 1), note="שלום\n\x7f"
    )

    assert path == app.parent / "customers.approved.toml"
    told = approval(mapper)
    assert told == Approval(
        "app.customers",
        mapper.digest,
        told.document if told else "",
        'Ada "A" Lovelace',
        "Finance",
        date(2026, 3, 1),
        "שלום\n\x7f",
    )
    assert_approved(mapper)


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("over=TRUNCATE", "over=REJECT", "the record is refused"),
        ("max=40, over", "max=30, over", "at most 30 characters"),
        ('version="1"', 'version="2"', ""),
        ('"C-{}"', '"K-{}"', "K-"),
    ],
)
def test_a_change_of_the_rules_needs_a_new_approval(
    app: Path, before: str, after: str, line: str
) -> None:
    approve(loaded(app).customers, who="Ada", role="Finance", date=date(2026, 3, 1))
    changed = app.parent / "new"
    changed.mkdir()
    for name in ("customers.approved.toml", "customers.approved.md"):
        (changed / name).write_text((app.parent / name).read_text("utf-8"), "utf-8")
    (changed / "app.py").write_text(APP.replace(before, after, 1), encoding="utf-8")

    with pytest.raises(AssertionError) as caught:
        assert_approved(loaded(changed / "app.py").customers)

    said = str(caught.value)
    assert "is not what Ada (Finance) approved on 2026-03-01" in said
    assert any(each.startswith("+") and line in each for each in said.splitlines())
    assert "secret" not in said


def test_a_reason_may_change_without_a_new_approval(app: Path) -> None:
    approve(loaded(app).customers, who="Ada", role="Finance", date=date(2026, 3, 1))
    app.write_text(APP.replace("the form is narrow", "the label is narrow"), encoding="utf-8")
    mapper = loaded(app).customers

    assert_approved(mapper)
    told = approval(mapper)
    assert told is not None
    approve(mapper, who="Ada", role="Finance", date=date(2026, 3, 1))
    again = approval(mapper)
    assert again is not None
    assert again.digest == told.digest
    assert again.document != told.document


def test_an_approval_is_of_one_mapping(app: Path) -> None:
    module = loaded(app)
    path = approve(module.customers, who="Ada", role="Finance", date=date(2026, 3, 1))

    with pytest.raises(ConfigurationError, match="does not say where its approval is kept"):
        approval(module.unkept)
    with pytest.raises(ConfigurationError, match="nobody agrees"):
        approve(module.customers, who=" ", role="Finance", date=date(2026, 3, 1))
    path.write_text(path.read_text("utf-8").replace("app.customers", "app.others"), "utf-8")
    with pytest.raises(AssertionError, match=r"is the approval of app\.others"):
        assert_approved(module.customers)
    for broken in ("who = ", 'who = "Ada"\n', 'who = "Ada"\nnobody = 1\n'):
        path.write_text(broken, "utf-8")
        with pytest.raises(ConfigurationError, match="is not an approval"):
            approval(module.customers)


# -- The commands ----------------------------------------------------------------------


def syncsdk(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "syncsdk.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    rows = [{"id": n, "name": "x" * n, "secret": "hunter2"} for n in (1, 50, 2)] + [{"id": None}]
    path = tmp_path / "sample.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    return path


def test_document_writes_what_is_signed(app: Path, sample: Path) -> None:
    shown = syncsdk("document", "app.py:customers", "--sample", str(sample), cwd=app.parent)
    written = syncsdk("document", "app.py:customers", "--out", "c.html", cwd=app.parent)
    as_json = syncsdk("document", "app.py:customers", "--format", "csv", "--json", cwd=app.parent)

    assert shown.returncode == written.returncode == as_json.returncode == 0, shown.stderr
    assert "cut to 40 characters" in shown.stdout
    assert "As it is printed" in shown.stdout
    assert "hunter2" not in shown.stdout
    assert (app.parent / "c.html").read_text("utf-8").startswith("<!doctype html>")
    assert "cut to 40 characters" in json.loads(as_json.stdout)["document"]


def test_approve_writes_the_approval_and_says_what_changed(app: Path) -> None:
    first = syncsdk(
        "approve", "app.py:customers", "--who", "Ada", "--role", "Finance", cwd=app.parent
    )
    app.write_text(APP.replace("max=40, over", "max=30, over"), encoding="utf-8")
    second = syncsdk(
        "approve", "app.py:customers", "--who", "Bob", "--role", "Sales", "--json", cwd=app.parent
    )

    assert first.returncode == second.returncode == 0, first.stderr
    assert "customers is approved by Ada (Finance)" in first.stdout
    assert any("at most 30 characters" in line for line in json.loads(second.stdout)["changed"])
    assert 'who = "Bob"' in (app.parent / "customers.approved.toml").read_text("utf-8")
    assert (
        syncsdk(
            "approve", "app.py:unkept", "--who", "Ada", "--role", "x", cwd=app.parent
        ).returncode
        == 2
    )


def test_profile_tells_what_the_sample_holds(app: Path, sample: Path) -> None:
    shown = syncsdk(
        "profile", "app.py:customers", "--sample", str(sample), "--key", "id", cwd=app.parent
    )
    missed = syncsdk(
        "profile", "app.py:customers", "--sample", str(sample), "--maps", "99", "--html", "p.html",
        cwd=app.parent,
    )  # fmt: skip
    as_json = syncsdk(
        "profile", "app.py:customers", "--sample", str(sample), "--json", cwd=app.parent
    )

    assert shown.returncode == as_json.returncode == 0, shown.stderr
    assert missed.returncode == 1
    assert "error: " in missed.stderr
    assert json.loads(as_json.stdout)["records"] == 4
    page = (app.parent / "p.html").read_text("utf-8")
    for each in (shown.stdout, missed.stdout, as_json.stdout, page):
        assert "hunter2" not in each
        assert "$.name" in each


def test_scaffold_drafts_and_decides_nothing(app: Path, sample: Path) -> None:
    draft = syncsdk("scaffold", "app.py:Contact", "app.py:Customer", cwd=app.parent)
    described = syncsdk("scaffold", "--sample", str(sample), "--name", "Row", cwd=app.parent)
    neither = syncsdk("scaffold", cwd=app.parent)

    assert "def contact_to_customer(s: Contact) -> Customer:" in draft.stdout
    assert "class Row:" in described.stdout
    assert "hunter2" not in described.stdout
    assert neither.returncode == 2
    assert "scaffold takes two classes or a sample" in neither.stderr


def test_a_sample_that_is_no_json_names_its_line(app: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"id": 1}\n{oops\n', encoding="utf-8")

    bad = syncsdk("profile", "app.py:customers", "--sample", "bad.jsonl", cwd=tmp_path)
    none = syncsdk("profile", "app.py:customers", "--sample", "none.jsonl", cwd=tmp_path)
    wrong = syncsdk("document", "app.py:Contact", cwd=tmp_path)

    assert "line 2 of bad.jsonl is not JSON" in bad.stderr
    assert "none.jsonl cannot be read" in none.stderr
    assert "and not a Mapping" in wrong.stderr
    assert bad.returncode == none.returncode == wrong.returncode == 2


def test_a_rule_is_not_a_function_to_call() -> None:
    with pytest.raises(ConfigurationError):
        text("x")
