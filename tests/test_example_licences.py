"""The licence inventory of docs/examples, over metadata as awkward as it gets."""

from __future__ import annotations

import asyncio
import importlib.util
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

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "licences"
SECRET = "xyzzy-do-not-quote-me"


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("licence_inventory", EXAMPLE / "inventory.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


inventory: Any = _load()

FAMILY = "👩\u200d👩\u200d👧\u200d👦"
"""One emoji of seven characters."""

SITE: dict[str, str | bytes] = {
    "plain-1.0": """
Metadata-Version: 2.4
Name: plain
Version: 1.0
Summary: Nothing wrong here
Home-page: https://plain.example/
Author: Ada Lovelace
License-Expression: MIT
""",
    "Zope.Like__Name-5.0": """
Name: Zope.Like__Name
Version: 5.0
License: ZPL 2.1
Author: UNKNOWN
Author-email: "Fëdor, Ltd." <f@example.com>, Second <s@example.com>
""",
    "emoji-2024.1": f"""
Name: emoji
Version: 2024.1
Summary: {FAMILY * 12}
License: The MIT License (MIT)
Author: 🦊 Fox
""",
    "rtl-1": """
Name: rtl
Version: 1
Summary: ספרייה לניהול חשבוניות ولإدارة الفواتير
Author: שרה לוי
License: GPLv3+
Classifier: License :: OSI Approved :: GNU General Public License v3 or later (GPLv3+)
""",
    # Summary: 100 letters, each with an accent of its own that has no composed form.
    "accents-0.1": f"""
Name: accents
Version: 0.1
Summary: {"x̂" * 100}
Author: Zoe\u0301 Mu\u0308ller
License: MPL-2.0
""",
    "two-authors-3": """
Name: two-authors
Version: 3
Author-email: first@example.com, Second Author <second@example.com>
Maintainer: Somebody Else
License-Expression: Apache-2.0 OR GPL-2.0-or-later
""",
    "maintained-3": """
Name: maintained
Version: 3
Maintainer: Keeper of Things
License-Expression: MIT AND MPL-2.0
Project-URL: Documentation, https://docs.example/
Project-URL: homepage, https://maintained.example/
""",
    "long-author-1": f"""
Name: long-author
Version: 1
Author: {"Name " * 60}
Home-page: https://long.example/{"x" * 300}
License: BSD 3-Clause
""",
    "proprietary-9.9": """
Name: proprietary
Version: 9.9
License: Other/Proprietary License
Home-page: UNKNOWN
""",
    "classifier-only-1": """
Name: classifier-only
Version: 1
License: UNKNOWN
Classifier: License :: OSI Approved
Classifier: Programming Language :: Python
""",
    "classifier-mit-1": """
Name: classifier-mit
Version: 1
Author: Tim
Classifier: License :: OSI Approved :: MIT License
""",
    "classifier-two-1": """
Name: classifier-two
Version: 1
Classifier: License :: OSI Approved :: MIT License
Classifier: License :: OSI Approved :: ISC License (ISCL)
""",
    "novel-1": f"""
Name: novel
Version: 1
License: MIT License
{(" " * 8 + "Permission is hereby granted, " + SECRET + chr(10)) * 250}
""",
    "bsd-1": f"""
Name: bsd
Version: 1
License: BSD
Author: {SECRET}
""",
    "contradiction-1": """
Name: contradiction
Version: 1
License: MIT
Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)
""",
    "exception-1": """
Name: exception
Version: 1
License-Expression: (GPL-2.0-or-later WITH Classpath-exception-2.0) OR MIT
""",
    "silent-1": """
Name: silent
Version: 1
License:
""",
    "noversion": """
Name: noversion
License: MIT
""",
    "UNKNOWN-0.0.0": """
Name: UNKNOWN
Version: 0.0.0
License: MIT
""",
    "noname-1": """
Version: 1
License: MIT
""",
    "empty-1": "",
    "latin-1": "Name: latin\nVersion: 1\nLicense: MIT\nAuthor: Andr\xe9\n".encode("latin-1"),
    "twice-1.0": """
Name: twice
Version: 1.0
License: MIT
""",
    "Twice-2.0": """
Name: Twice
Version: 2.0
License: ISC
""",
}

ROWS = {
    "plain": ("MIT", "permissive", "Ada Lovelace"),
    "zope-like-name": ("ZPL-2.1", "permissive", "Fëdor, Ltd."),
    "emoji": ("MIT", "permissive", "🦊 Fox"),
    "rtl": ("GPL-3.0-or-later", "copyleft", "שרה לוי"),
    "accents": ("MPL-2.0", "weak", "Zoé Müller"),
    "two-authors": ("Apache-2.0 OR GPL-2.0-or-later", "permissive", "Second Author"),
    "maintained": ("MIT AND MPL-2.0", "weak", "Keeper of Things"),
    "long-author": ("BSD-3-Clause", "permissive", ("Name " * 16)[:79] + "…"),
    "proprietary": ("LicenseRef-Proprietary", "proprietary", None),
}
LETTERS = {
    "classifier-only": "classifier",
    "classifier-mit": "classifier",
    "classifier-two": "classifier",
    "novel": "undecided",
    "bsd": "undecided",
    "contradiction": "contradiction",
    "exception": "undecided",
    "silent": "missing",
    "noversion": "missing",
}
NAMELESS = ["encoding", "key_empty", "key_empty", "key_empty"]


def install(folder: Path, *names: str, **more: str) -> str:
    """Write distributions as pip leaves them, and return the folder for a path."""
    texts: dict[str, str | bytes] = {each: SITE[each] for each in names}
    for name, text in (texts | more).items():
        place = folder / f"{name}.dist-info"
        place.mkdir(parents=True)
        data = text if isinstance(text, bytes) else text.lstrip("\n").encode()
        (place / "METADATA").write_bytes(data)
    return str(folder)


def table(path: Path) -> dict[str, tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return {row[0]: row[1:] for row in database.execute("SELECT * FROM licences")}


@pytest.fixture
def site(tmp_path: Path) -> str:
    return install(tmp_path / "site", *SITE)


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
    assert found["emoji"][5] == FAMILY * 11 + "…"
    assert found["accents"][5] == "x\u0302" * 39 + "…"
    assert found["rtl"][5] == "ספרייה לניהול חשבוניות ولإدارة الفواتير"
    assert found["maintained"][6] == "https://maintained.example/"
    assert found["long-author"][6] is None
    assert codes(store, pipeline) == sorted([*LETTERS.items(), *(("", c) for c in NAMELESS)])
    assert (report.result, report.counts.read) == (Result.PARTIAL, len(SITE))
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


def test_no_message_quotes_a_record(site: str, tmp_path: Path) -> None:
    store = MemoryStore()
    pipeline = inventory.inventory(inventory.Inventory(tmp_path / "i.db"), site=[site])

    report = pipeline.run(store)

    letters = store.letters(pipeline.name)
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("  two\n   lines ", "two lines"),
        ("x" * 10, "x" * 10),
        ("x" * 11, "x" * 9 + "…"),
        ("aaaaaaaa e\u0302bc", "aaaaaaaa…"),
        ("abcdefgh👩\u200d👧 and more", "abcdefgh…"),
        ("abcdefg❤\ufe0f❤\ufe0f❤", "abcdefg❤\ufe0f…"),
        ("e" + "\u0301" * 20, "…"),
        ("שלום עולם ועוד", "שלום עולם…"),
    ],
)
def test_cut_leaves_no_half_of_a_character(text: str, expected: str) -> None:
    assert inventory.cut(text, 10) == expected


def test_every_spelling_names_a_known_licence_and_none_names_two() -> None:
    listed = [name for names in inventory.SPELLINGS.values() for name in names.split("|")]

    assert len(listed) == len(set(listed))
    assert set(inventory.SPELLINGS) <= set(inventory.FAMILY)
    assert listed == [" ".join(name.split()).lower() for name in listed]
    assert not {name for name in listed if inventory.decided(name) is None}


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
    assert "24 read, 7 created, 3 unchanged, 1 superseded, 13 dead" in done
    assert "  permissive       6\n" in done
    assert "bsd: licence: no spelling decides License, text of 3 characters." in done

    assert "24 read, 10 unchanged, 1 superseded, 13 dead" in app(folder, "--site", site)

    done = app(folder, "--mended", "--site", site)
    assert "9 resumed, 1 created, 8 dead" in done
    assert "24 read, 11 unchanged, 1 superseded, 12 dead" in done
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
