"""Who agreed to which mapping, and the commands around it; check 19 of a definition."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from syncsdk import (
    Batch,
    Changes,
    Listing,
    MemoryStore,
    Outcome,
    Pipeline,
    SinkCapabilities,
    SourceCapabilities,
    cli,
)
from syncsdk.connectors.files import JsonLines
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
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Bytecode is taken for that of a file of the same size, written in the same second.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
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


def test_19_the_digest_of_a_mapping_is_approved(app: Path) -> None:
    how = "Have it read and run `syncsdk approve`"

    def told() -> list[str]:
        with pytest.raises(AssertionError) as caught:
            assert_approved(loaded(app).customers)
        return str(caught.value).splitlines()

    assert told() == [f"app.customers was never approved. {how}"]

    path = approve(loaded(app).customers, who="Ada", role="Finance", date=date(2026, 3, 1))
    before = loaded(app).customers.digest
    assert_approved(loaded(app).customers)

    app.write_text(APP.replace("max=40, over", "max=30, over"), encoding="utf-8")
    after = loaded(app).customers.digest
    head, *lines = told()
    assert head == f"app.customers is not what Ada (Finance) approved on 2026-03-01. {how}"
    gone, come = ([line[1:] for line in lines if line[0] == sign] for sign in "-+")
    assert len(gone) + len(come) == len(lines)
    assert len(gone) == len(come)
    assert [before in line for line in gone].count(True) == 1
    assert [after in line for line in come].count(True) == 1
    for found, limit in (gone, "40"), (come, "30"):
        assert [f"at most {limit} characters" in line for line in found].count(True) == 1
        assert [f"cut to {limit} characters" in line for line in found].count(True) == 1

    path.write_text(path.read_text("utf-8").replace('"app.customers"', '"app.others"'), "utf-8")
    assert told() == [
        f"customers.approved.toml is the approval of app.others, and not of app.customers. {how}"
    ]


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("over=TRUNCATE", "over=REJECT", "the record is refused"),
        ("max=40, over", "max=30, over", "at most 30 characters"),
        ('version="1"', 'version="2"', "(step, version 2)"),
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


def test_19_a_run_warns_of_a_mapping_that_is_not_what_was_approved(app: Path) -> None:
    class Contacts:
        capabilities = SourceCapabilities(Listing())

        def read(self, after: str | None) -> Iterator[Batch]:
            yield Batch.of([{"id": 1, "name": "Ada", "secret": ""}], key="id")

    class Customers:
        capabilities = SinkCapabilities(upsert=True)

        def write(self, changes: Changes) -> Sequence[Outcome]:
            return changes.applied()

    def warnings(mapper: Any) -> list[str]:
        flow = Pipeline("p", source=Contacts(), mapping=mapper, sink=Customers(), owner="o")
        return flow.run(MemoryStore()).warnings

    module = loaded(app)
    assert warnings(module.unkept) == []
    assert warnings(module.customers) == [
        "app.customers was never approved. Have it read and run `syncsdk approve`"
    ]
    approve(module.customers, who="Ada", role="Head of Sales", date=date(2026, 3, 1))
    assert warnings(module.customers) == []
    app.write_text(APP.replace("max=40, over", "max=30, over"), encoding="utf-8")
    assert warnings(loaded(app).customers) == [
        "app.customers is not what Ada (Head of Sales) approved on 2026-03-01. Have it read and "
        "run `syncsdk approve`"
    ]
    (app.parent / "customers.approved.toml").write_text("no = toml = at all")
    (told,) = warnings(module.customers)
    assert told.startswith("the approval of app.customers cannot be read: customers.approved.toml")


def test_an_approval_is_of_one_mapping(app: Path) -> None:
    module = loaded(app)
    path = approve(module.customers, who="Ada", role="Finance", date=date(2026, 3, 1))

    with pytest.raises(ConfigurationError) as caught:
        assert_approved(module.unkept)
    assert str(caught.value) == (
        "app.unkept does not say where its approval is kept. "
        'Give @mapping(approved="name.approved.toml"), a path from its module'
    )
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


def test_document_tells_what_all_of_the_sample_holds(app: Path, sample: Path) -> None:
    asked = "document", "app.py:customers", "--sample", str(sample)
    shown = syncsdk(*asked, cwd=app.parent)
    tables = syncsdk(*asked, "--out", "c.csv", cwd=app.parent)
    pages = [syncsdk(*asked, "--out", f"{n}.html", "--json", cwd=app.parent) for n in (1, 2)]
    plain = syncsdk("document", "app.py:customers", cwd=app.parent)

    assert shown.returncode == tables.returncode == 0, shown.stderr
    assert "3 of 4 records are mapped (75.0 %)." in shown.stdout
    assert "Seen in data: present 100 %, null 25.0 %" in shown.stdout
    assert shown.stdout.count("e.g.: ") == 2
    assert ",seen in data," in (app.parent / "c.csv").read_text("utf-8")
    assert [json.loads(each.stdout)["digest"] for each in pages] == [
        loaded(app).customers.digest
    ] * 2
    page, again = ((app.parent / f"{n}.html").read_text("utf-8") for n in (1, 2))
    assert page == again
    assert "What real data holds" in page
    assert "hunter2" not in page + shown.stdout + (app.parent / "c.csv").read_text("utf-8")
    assert "real data" not in plain.stdout


def test_a_sample_of_the_document_is_read_once(app: Path, tmp_path: Path) -> None:
    rows = "".join(f'{{"id": {n}, "name": "x", "secret": ""}}\n' for n in range(5))
    with subprocess.Popen(
        [sys.executable, "-m", "syncsdk.cli", "document", "app.py:customers", "--sample",
         "/dev/stdin"],
        cwd=app.parent, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as called:  # fmt: skip
        out, _ = called.communicate(rows, timeout=60)

    assert "5 of 5 records are mapped (100 %)." in out
    assert "e.g.: 0 → “C-0”<br>1 → “C-1”<br>2 → “C-2”<br>Id" in out


def test_profile_writes_the_page_that_document_writes(app: Path, sample: Path) -> None:
    asked = "app.py:customers", "--sample", str(sample)
    told = syncsdk("profile", *asked, "--html", "p.html", cwd=app.parent)
    keyed = syncsdk("profile", *asked, "--key", "id", "--html", "k.html", cwd=app.parent)
    document = syncsdk("document", *asked, "--out", "d.html", cwd=app.parent)

    assert told.returncode == keyed.returncode == document.returncode == 0, told.stderr
    page = (app.parent / "p.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert page == (app.parent / "d.html").read_text("utf-8")
    assert "without a key that can be used" not in page
    assert "without a key that can be used" in (app.parent / "k.html").read_text("utf-8")


def approved(*options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    who = "--who", "Ada", "--role", "Finance"
    return syncsdk("approve", "app.py:customers", *who, *options, cwd=cwd)


def test_approve_writes_the_approval_and_says_what_changed(app: Path) -> None:
    first = approved(cwd=app.parent)
    again = approved(cwd=app.parent)
    app.write_text(APP.replace("max=40, over", "max=30, over"), encoding="utf-8")
    changed = approved(cwd=app.parent)

    path = app.parent / "customers.approved.toml"
    last = f"customers is approved by Ada (Finance): {path}"
    assert first.stdout.splitlines() == [
        "there was no approved document of customers before",
        last,
    ]
    assert again.stdout.splitlines() == [last]
    *lines, end = changed.stdout.splitlines()
    assert end == last
    assert {line[0] for line in lines} == {"-", "+"}
    assert any("at most 30 characters" in line for line in lines if line[0] == "+")
    assert any("at most 40 characters" in line for line in lines if line[0] == "-")
    assert first.returncode == again.returncode == changed.returncode == 0
    assert 'who = "Ada"' in path.read_text("utf-8")


def test_approve_in_json_tells_a_first_approval_from_one_without_a_change(app: Path) -> None:
    told = [json.loads(approved("--json", cwd=app.parent).stdout) for _ in range(2)]

    assert [each["changed"] for each in told] == [None, []]
    assert {each["digest"] for each in told} == {loaded(app).customers.digest}


def test_approve_mends_an_approval_that_cannot_be_read(app: Path) -> None:
    path = app.parent / "customers.approved.toml"
    path.write_text("who = ", encoding="utf-8")

    assert approved(cwd=app.parent).returncode == 0
    assert approval(loaded(app).customers) is not None


def test_approve_refuses_a_mapping_that_names_no_file(app: Path) -> None:
    refused = syncsdk("approve", "app.py:unkept", "--who", "Ada", "--role", "x", cwd=app.parent)

    assert refused.returncode == 2
    assert "unkept does not say where its approval is kept" in refused.stderr


def test_a_failed_test_shows_what_differs_and_not_how_that_was_found(app: Path) -> None:
    test = app.parent / "test_app.py"
    test.write_text(
        "import app\n"
        "from syncsdk.mapping.approval import assert_approved\n\n\n"
        "def test_it():\n"
        "    assert_approved(app.customers)\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        cwd=app.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert (
        ">       assert_approved(app.customers)\nE       AssertionError: app.customers was never"
        in (done.stdout)
    )
    assert "approval.py" not in done.stdout


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


def test_a_sample_is_read_as_the_pipeline_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"id": 1.50, "a": 1e2}\r\n\n'
        b'{"id": 2, "id": 3, "a": [0.1, 12345678901234567890.123456789]}\n \t\n{"a": "\xc3\xa9"}'
    )
    (batch,) = JsonLines(path, key="id").read()

    records = list(cli._records(str(path)))

    assert records == batch.records
    assert repr(records) == repr(batch.records)  # 1.5 == Decimal("1.50")
    assert repr(records[0]) == "{'id': Decimal('1.50'), 'a': Decimal('1E+2')}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{oops", "it is not JSON"),
        (b'{"id": NaN}', "it is not JSON"),
        (b'{"id": -Infinity}', "it is not JSON"),
        (b'{"id": "\xff"}', "it is not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "it is not UTF-8"),
        (b"[1]", "it is a list, not an object"),
        (b"[" * 100_000, "it is nested too deep"),
    ],
    ids=["not JSON", "NaN", "Infinity", "bytes", "UTF-16", "list", "deep"],
)
def test_a_line_that_the_pipeline_would_refuse_is_named(app: Path, line: bytes, said: str) -> None:
    (app.parent / "bad.jsonl").write_bytes(b'{"id": 1}\n\n' + line + b"\n")
    path = str(app.parent / "bad.jsonl")

    with pytest.raises(ConfigurationError) as caught:
        list(cli._records(path))

    assert f"line 3 of {path} cannot be read: {said}" in str(caught.value)


def test_a_profile_takes_a_number_as_the_pipeline_does(app: Path) -> None:
    app.write_text(PRICES, encoding="utf-8")
    (app.parent / "prices.jsonl").write_text('{"price": 89.5}\n{"price": 0.1}\n', encoding="utf-8")

    told = syncsdk("profile", "app.py:priced", "--sample", "prices.jsonl", cwd=app.parent)
    described = syncsdk("scaffold", "--sample", "prices.jsonl", cwd=app.parent)

    assert "2 of 2 records are mapped (100 %)" in told.stdout
    assert "from decimal import Decimal\n" in described.stdout
    assert "    price: Decimal  # 100 % of 2\n" in described.stdout


PRICES = """
from decimal import Decimal
from attrs import define
from syncsdk.mapping import HALF_EVEN, decimal, mapping, to


@define
class Price:
    price: Decimal


@mapping
def priced(s: Price) -> Price:
    return to(Price)(price=decimal(s.price, places=2, rounding=HALF_EVEN))
"""


def test_a_sample_that_cannot_be_read_is_told(app: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"id": 1}\n{oops\n', encoding="utf-8")

    bad = syncsdk("profile", "app.py:customers", "--sample", "bad.jsonl", cwd=tmp_path)
    none = syncsdk("profile", "app.py:customers", "--sample", "none.jsonl", cwd=tmp_path)
    wrong = syncsdk("document", "app.py:Contact", cwd=tmp_path)

    assert "error: line 2 of bad.jsonl cannot be read: it is not JSON" in bad.stderr
    assert "none.jsonl cannot be read" in none.stderr
    assert "and not a Mapping" in wrong.stderr
    assert bad.returncode == none.returncode == wrong.returncode == 2


def test_scaffold_drafts_a_module_that_is_refused_with_all_that_is_open(app: Path) -> None:
    draft = syncsdk("scaffold", "app.py:Contact", "app.py:Customer", cwd=app.parent)
    (app.parent / "drafted.py").write_text(draft.stdout, encoding="utf-8")
    refused = syncsdk("document", "drafted.py:contact_to_customer", cwd=app.parent)

    assert draft.stderr == ""
    assert draft.stdout.startswith("from app import Contact\nfrom app import Customer\n")
    assert refused.returncode == 2
    head, *lines = refused.stderr.splitlines()
    assert head == "error: the mapping contact_to_customer has 5 problems:"
    at = f"  {app.parent}/drafted.py:"
    told = [line.removeprefix(at).partition(": ")[2] for line in lines if line.startswith(at)]
    for line, field in zip(told, ("number", "name", "id", "name", "secret"), strict=True):
        assert line.startswith(f"{field} of ")


def test_scaffold_imports_a_class_from_the_module_that_was_named(app: Path) -> None:
    (app.parent / "front.py").write_text("from app import Contact\n", encoding="utf-8")

    draft = syncsdk("scaffold", "front.py:Contact", "app:Customer", cwd=app.parent)

    assert draft.stdout.startswith("from app import Customer\nfrom front import Contact\n")


def test_scaffold_describes_a_sample_by_a_module(app: Path, sample: Path) -> None:
    described = syncsdk("scaffold", "--sample", str(sample), "--name", "Row", cwd=app.parent)
    (app.parent / "rows.py").write_text(described.stdout, encoding="utf-8")
    draft = syncsdk("scaffold", "rows.py:Row", "app.py:Customer", cwd=app.parent)

    assert "def row_to_customer(s: Row) -> Customer:" in draft.stdout
    assert "hunter2" not in described.stdout


def test_scaffold_of_what_a_draft_could_not_import_is_refused(app: Path) -> None:
    other = app.parent / "other" / "json.py"
    other.parent.mkdir()
    other.write_text(APP, encoding="utf-8")
    (app.parent / "my-app.py").write_text(APP, encoding="utf-8")
    more = "\n\nPerson = Contact\n\n\ndef made() -> type: return type('C', (), {})\n"
    app.write_text(APP + more, encoding="utf-8")
    neither = syncsdk("scaffold", cwd=app.parent)

    assert neither.returncode == 2
    assert "scaffold takes two classes or a sample" in neither.stderr
    assert (
        "from app import Contact\n"
        in syncsdk("scaffold", "app:Person", "app.py:Customer", cwd=app.parent).stdout
    )
    for target in ("other/json.py:Contact", "my-app.py:Contact", "app.py:made"):
        refused = syncsdk("scaffold", target, "app.py:Customer", cwd=app.parent)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"error: a draft cannot say `from {Path(target).stem} import C" in (refused.stderr)


def test_a_rule_is_not_a_function_to_call() -> None:
    with pytest.raises(ConfigurationError):
        text("x")
