"""The licence inventory of docs/examples, over metadata as awkward as it gets."""

from __future__ import annotations

import asyncio
import importlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from syncsdk import (
    Changes,
    MemoryStore,
    Op,
    RejectedError,
    Result,
    SQLiteStore,
    TransientError,
)
from syncsdk.mapping.approval import assert_approved

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "licences"
SECRET = "xyzzy-do-not-quote-me"


PACKAGES = EXAMPLE / "packages"
NAMES = sorted(each.name.removesuffix(".dist-info") for each in PACKAGES.iterdir())


def _load(name: str) -> Any:
    """Import a module of the example as it is imported there, by its name alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        return importlib.import_module(name)


licences: Any = _load("licences")
inventory: Any = _load("inventory")

FAMILY = "👩\u200d👩\u200d👧\u200d👦"
"""One emoji of seven characters."""

ROWS = {
    "plain": ("MIT", "permissive", "Ada Lovelace"),
    "zope-like-name": ("ZPL-2.1", "permissive", "Fëdor, Ltd."),
    "emoji": ("MIT", "permissive", "🦊 Fox"),
    "rtl": ("GPL-3.0-or-later", "copyleft", "שרה לוי"),
    "accents": ("MPL-2.0", "weak", "Zoé Müller"),
    "two-authors": ("Apache-2.0 OR GPL-2.0-or-later", "permissive", "Second Author"),
    "maintained": ("MIT AND MPL-2.0", "weak", "Keeper of Things"),
    "long-author": ("BSD-3-Clause", "permissive", ("Name " * 16)[:79]),
    "proprietary": ("LicenseRef-Proprietary", "proprietary", None),
}
LETTERS = {
    "classifier-only": "classifier",
    "classifier-mit": "classifier",
    "classifier-two": "classifier",
    "mojibake": "undecided",
    "novel": "undecided",
    "bsd": "undecided",
    "contradiction": "contradiction",
    "exception": "undecided",
    "silent": "missing",
    "noversion": "null",
}
NAMELESS = ["encoding", "key_empty", "key_empty", "key_empty"]


def install(folder: Path, *names: str, **more: str) -> str:
    """Write distributions as pip leaves them, and return the folder for a path."""
    texts = {name: (PACKAGES / f"{name}.dist-info" / "METADATA").read_bytes() for name in names}
    for name, text in (texts | {each: said.encode() for each, said in more.items()}).items():
        place = folder / f"{name}.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_bytes(text)
    return str(folder)


def table(path: Path) -> dict[str, tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return {row[0]: row[1:] for row in database.execute("SELECT * FROM licences")}


@pytest.fixture
def site(tmp_path: Path) -> str:
    return install(tmp_path / "site", *NAMES)


def codes(store: MemoryStore, pipeline: Any) -> list[tuple[str, str]]:
    return sorted((" ".join(letter.key), letter.code) for letter in store.letters(pipeline.name))


def test_every_distribution_becomes_a_row_or_a_dead_letter_with_its_reason(
    site: str, tmp_path: Path
) -> None:
    store = MemoryStore()
    pipeline = inventory.inventory(inventory.Inventory(tmp_path / "i.db"), site=[site])

    report = pipeline.run(store)

    found = table(tmp_path / "i.db")
    found.pop("twice")
    assert {key: (row[2], row[3], row[4]) for key, row in found.items()} == ROWS
    assert found["emoji"][5] == FAMILY * 11
    assert found["accents"][5] == "x\u0302" * 40
    assert found["rtl"][5] == "ספרייה לניהול חשבוניות ولإدارة الفواتير"
    assert found["maintained"][6] == "https://maintained.example/"
    assert found["long-author"][6] is None
    assert codes(store, pipeline) == sorted([*LETTERS.items(), *(("", c) for c in NAMELESS)])
    assert (report.result, report.counts.read) == (Result.PARTIAL, len(NAMES))
    assert (report.counts.created, report.counts.dead) == (len(ROWS) + 1, len(LETTERS) + 4)
    assert report.counts.superseded == 1


def test_running_again_changes_nothing(site: str, tmp_path: Path) -> None:
    store = MemoryStore()
    pipeline = inventory.inventory(inventory.Inventory(tmp_path / "i.db"), site=[site])
    pipeline.run(store)
    before, letters = table(tmp_path / "i.db"), codes(store, pipeline)

    report = asyncio.run(pipeline.run_async(store))

    counts = report.counts
    assert (counts.created, counts.updated, counts.unchanged) == (0, 0, len(ROWS) + 1)
    assert (table(tmp_path / "i.db"), codes(store, pipeline)) == (before, letters)


def test_mended_mapping_delivers_the_dead_letters_that_it_decides(
    site: str, tmp_path: Path
) -> None:
    store = MemoryStore()
    sink = inventory.Inventory(tmp_path / "i.db")
    inventory.inventory(sink, site=[site]).run(store)
    mended = inventory.inventory(sink, site=[site], mended=True)

    report = mended.replay(store)

    assert (report.counts.created, report.counts.dead) == (1, len(LETTERS) - 1)
    assert table(tmp_path / "i.db")["classifier-mit"][2:5] == ("MIT", "permissive", "Tim")
    again = mended.run(store, backfill=True).counts
    assert (again.created, again.updated, again.unchanged) == (0, 0, len(ROWS) + 2)


def test_first_distribution_on_the_path_wins_as_it_does_for_import(tmp_path: Path) -> None:
    first = install(tmp_path / "one", "twice-1.0")
    second = install(tmp_path / "two", "Twice-2.0", "plain-1.0")
    store = MemoryStore()

    for site, version in (([first, second], "1.0"), ([second, first], "2.0")):
        sink = inventory.Inventory(tmp_path / "i.db")
        report = inventory.inventory(sink, site=site).run(store)

        assert table(tmp_path / "i.db")["twice"][1] == version
        assert report.counts.superseded == 1


def test_no_message_quotes_a_record(tmp_path: Path) -> None:
    novel = f"License: MIT License\n{(' ' * 8 + 'Granted, ' + SECRET + chr(10)) * 500}"
    site = install(
        tmp_path / "site",
        **{
            "novel-1": f"Name: novel\nVersion: 1\n{novel}",
            "bsd-1": f"Name: bsd\nVersion: 1\nLicense: BSD\nAuthor: {SECRET}\n",
        },
    )
    store = MemoryStore()
    pipeline = inventory.inventory(inventory.Inventory(tmp_path / "i.db"), site=[site])

    report = pipeline.run(store)

    letters = store.letters(pipeline.name)
    assert len(letters) == 2
    assert SECRET not in str(report) + report.as_json() + "".join(x.reason for x in letters)
    assert any(SECRET in (x.original or "") for x in letters), "the evidence is kept"
    assert any(len(x.original or "") > 10_000 for x in letters)


def test_too_many_refusals_stop_the_run_before_anything_is_written(tmp_path: Path) -> None:
    silent = {f"mute{at}-1": f"Name: mute{at}\nVersion: 1\n" for at in range(60)}
    site = install(tmp_path / "site", "plain-1.0", **silent)
    pipeline = inventory.inventory(inventory.Inventory(tmp_path / "i.db"), site=[site])

    report = pipeline.run(MemoryStore())

    assert (report.result, report.counts.read, report.counts.dead) == (Result.FAILED, 20, 20)
    assert not (tmp_path / "i.db").exists()


def test_every_spelling_names_a_known_licence_and_none_names_two() -> None:
    listed = [name for names in licences.SPELLINGS.values() for name in names.split("|")]

    assert len(listed) == len(set(listed))
    assert set(licences.SPELLINGS) <= set(licences.FAMILY)
    assert listed == [" ".join(name.split()).lower() for name in listed]
    assert not {name for name in listed if licences.spdx_of(name) is None}


# -- What is signed --------------------------------------------------------------------


def test_document_and_profile_are_what_the_packages_make_of_them(tmp_path: Path) -> None:
    app(tmp_path, "--document", "--site", str(PACKAGES))

    for name in ("licence_row.html", "licence_row.profile.txt"):
        assert (tmp_path / name).read_bytes() == (EXAMPLE / name).read_bytes(), (
            f"write it again: python docs/examples/licences {EXAMPLE} --document --site {PACKAGES}"
        )


def test_no_name_or_address_of_a_person_stands_in_what_is_signed() -> None:
    people = ("Lovelace", "example.com", "Keeper", "Müller", "שרה", "Fox", "Somebody")
    names = ("licence_row.html", "licence_row.profile.txt", "licence_row.approved.md")
    for name in names:
        text = (EXAMPLE / name).read_text("utf-8")
        assert not [each for each in people if each in text], name


@pytest.mark.parametrize("name", ["licence_row", "mended_row"])
def test_the_mapping_is_what_was_approved(name: str) -> None:
    assert_approved(getattr(licences, name))


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ('"EPL-2.0": "eclipse', '"EPL-2.0": "epl|eclipse', "“epl\\|eclipse public license"),
        ("            max=80,", "            max=79,", "at most 79 characters"),
        ("LGPL-3.0-or-later MPL-2.0", "LGPL-3.0-or-later", "LGPL-3.0-or-later” | “weak”"),
    ],
)
def test_a_changed_mapping_needs_a_new_approval(
    before: str, after: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (EXAMPLE / "licences.py").read_text("utf-8")
    assert before in text
    (tmp_path / "licences.py").write_text(text.replace(before, after), encoding="utf-8")
    for each in EXAMPLE.glob("*.approved.*"):
        (tmp_path / each.name).write_bytes(each.read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "licences")
    changed = importlib.import_module("licences")
    monkeypatch.setitem(sys.modules, "licences", licences)

    with pytest.raises(AssertionError) as caught:
        assert_approved(changed.licence_row)

    first, *lines = str(caught.value).splitlines()
    assert first.startswith("licences.licence_row is not what Rosa Example (Head of the open")
    assert any(line.startswith("+") and shown in line for line in lines)
    assert any(line.startswith("-") for line in lines)


# -- The sink --------------------------------------------------------------------------


def changes(op: Op, *rows: Iterable[Any]) -> Changes:
    fields = ("name", "version", "licence", "licence_family", "author", "summary", "home_page")
    made = [tuple(row) for row in rows]
    return Changes(
        fields=fields,
        ops=[op] * len(made),
        keys=[(row[0],) for row in made],
        versions=[None] * len(made),
        dest_ids=[None] * len(made),
        rows=[() if op is Op.DELETE else row for row in made],
    )


GOOD = ("good", "1", "MIT", "permissive", None, None, None)
BAD = ("bad", "1", "MIT", "who knows", None, None, None)


def test_sink_writes_all_or_nothing(tmp_path: Path) -> None:
    sink = inventory.Inventory(tmp_path / "i.db")

    with pytest.raises(RejectedError):
        sink.write(changes(Op.CREATE, GOOD, BAD))

    assert table(tmp_path / "i.db") == {}


def test_sink_takes_the_same_changes_again_and_deletes(tmp_path: Path) -> None:
    sink = inventory.Inventory(tmp_path / "i.db")
    sink.write(changes(Op.CREATE, GOOD))
    sink.write(changes(Op.CREATE, GOOD))
    assert table(tmp_path / "i.db") == {"good": GOOD}

    sink.write(changes(Op.DELETE, GOOD))
    outcomes = sink.write(changes(Op.DELETE, GOOD))

    assert [outcome.change_id for outcome in outcomes] == [0]
    assert table(tmp_path / "i.db") == {}


def test_sink_that_cannot_be_opened_makes_no_dead_letters(site: str, tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / "i.db").mkdir()
    sink = inventory.Inventory(tmp_path / "i.db")
    with pytest.raises(TransientError):
        sink.write(changes(Op.CREATE, GOOD))

    report = inventory.inventory(sink, site=[install(tmp_path / "one", "plain-1.0")]).run(store)

    assert report.result is Result.FAILED
    assert (report.counts.dead, report.unsettled) == (0, 1)


# -- The app, in a process of its own --------------------------------------------------


def app(folder: Path, *arguments: str, expected: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE), str(folder), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env={"PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout


def test_app_survives_a_kill_and_tells_its_whole_story(site: str, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "for it"
    app(folder, "--site", site, "--die-after", "2", expected=137)
    done = app(folder, "--site", site)
    assert "partial (incremental)" in done
    assert "25 read, 7 created, 3 unchanged, 1 superseded, 14 dead" in done
    assert "  permissive       6\n" in done
    assert "bsd: licence <- $.license: it is in no table of spellings. Mend" in done

    assert "25 read, 10 unchanged, 1 superseded, 14 dead" in app(folder, "--site", site)

    done = app(folder, "--mended", "--site", site)
    assert "10 resumed, 1 created, 9 dead" in done
    assert "25 read, 11 unchanged, 1 superseded, 13 dead" in done
    assert len(table(folder / "inventory.db")) == 11


def test_app_reads_whatever_is_installed_here(tmp_path: Path) -> None:
    app(tmp_path)
    second = app(tmp_path)

    assert "created" not in second
    assert "updated" not in second
    assert "pytest" in table(tmp_path / "inventory.db")


def test_app_says_when_it_failed(site: str, tmp_path: Path) -> None:
    (tmp_path / "inventory.db").write_text("not a database, but a diary of some length" * 99)

    assert "failed" in app(tmp_path, "--site", site, expected=2)


def test_letters_and_rows_survive_in_the_sqlite_store(site: str, tmp_path: Path) -> None:
    sink = inventory.Inventory(tmp_path / "i.db")
    for _ in range(2):
        with closing(SQLiteStore(tmp_path / "sync.db")) as store:
            report = inventory.inventory(sink, site=[site]).run(store)

    assert (report.counts.created, report.letters) == (0, len(LETTERS) + len(NAMELESS))


def test_command_line_runs_the_same_pipeline(tmp_path: Path) -> None:
    app_path = f"{EXAMPLE / 'inventory.py'}:pipeline"
    for expected in ("created", "unchanged"):
        done = subprocess.run(
            [sys.executable, "-m", "syncsdk.cli", "run", app_path, "--store", "sync.db"],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
            cwd=tmp_path,
            env={"PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)},
        )

        assert done.returncode in (0, 1), done.stderr
        assert f" {expected}" in done.stdout
