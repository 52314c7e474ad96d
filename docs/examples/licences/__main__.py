"""Run the inventory of installed licences, and show what came of it: see ``--help``."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from inventory import Installed, Inventory, inventory
from licences import licence_row

from syncsdk import Changes, Outcome, Pipeline, Refused, Result, RunReport, SQLiteStore


class DyingInventory(Inventory):
    """An inventory whose process dies right after a write, before that is committed."""

    def __init__(self, path: Path, writes: int) -> None:
        super().__init__(path)
        self._left = writes

    def write(self, changes: Changes) -> Sequence[Outcome]:
        outcomes = super().write(changes)
        self._left -= 1
        if self._left == 0:
            os._exit(137)  # as after kill -9: nothing is closed, nothing is said
        return outcomes


def show(folder: Path, pipeline: Pipeline, store: SQLiteStore, report: RunReport) -> None:
    """Print the report, the totals of the table, and the first dead letters."""
    print(report)
    if report.exit_code < 2 and (folder / "inventory.db").exists():
        with closing(sqlite3.connect(folder / "inventory.db")) as database:
            print("packages by family of licence:")
            for family, number in database.execute(
                "SELECT licence_family, count(*) FROM licences GROUP BY 1 ORDER BY 2 DESC, 1"
            ):
                print(f"  {family:12}{number:6}")
    letters = store.letters(pipeline.name, limit=5)
    if letters:
        print("first dead letters:")
    for letter in letters:
        print(f"  {' · '.join(letter.key) or '(no name)'}: {letter.reason}")


def documents(site: Sequence[str] | None) -> dict[str, str]:
    """Return what the mapping decides and what the packages hold, by names of files."""
    found = (each for batch in Installed(site).read(None) for each in batch.records or ())
    records = [each for each in found if not isinstance(each, Refused)]
    examples = [each for each in records if each["name"] in ("bsd", "plain", "two-authors")]
    profile = licence_row.profile(records, key="name")
    return {
        "licence_row.html": licence_row.document("html", examples=examples, profile=profile),
        "licence_row.profile.txt": str(profile),
    }


def main() -> int:
    """Return 0 for the expected end, which may be partial; else the report's exit code."""
    parser = argparse.ArgumentParser(
        description="Run the inventory of installed licences, and show what came of it."
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(tempfile.gettempdir()) / "syncsdk-licences",
        help="where inventory.db and sync.db are kept; made if it is not there",
    )
    parser.add_argument(
        "--mended",
        action="store_true",
        help="decide that a classifier alone states the licence, and replay the dead letters",
    )
    parser.add_argument(
        "--site",
        action="append",
        metavar="PATH",
        help="look for packages here, not where this Python does; may be repeated",
    )
    parser.add_argument(
        "--die-after", type=int, default=0, metavar="N", help="end the process after N writes"
    )
    parser.add_argument(
        "--document",
        action="store_true",
        help="write what the mapping decides and what the packages hold to the folder, no more",
    )
    asked = parser.parse_args()
    folder: Path = asked.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    print(f"folder: {folder}")
    if asked.document:
        for name, text in documents(asked.site).items():
            (folder / name).write_text(text, encoding="utf-8")
        return 0
    sink = DyingInventory(folder / "inventory.db", asked.die_after)
    pipeline = inventory(sink, mended=asked.mended, site=asked.site)
    with closing(SQLiteStore(folder / "sync.db")) as store:
        if asked.mended:
            print(pipeline.replay(store))
        # After a change of the mapping everything is read again, and only what differs written.
        report = pipeline.run(store, backfill=asked.mended)
        show(folder, pipeline, store, report)
    return 0 if report.result is Result.PARTIAL else report.exit_code


if __name__ == "__main__":
    sys.exit(main())
