"""Keep a table of the licences of all Python packages that an interpreter has.

The source is whatever is installed; nobody made its data up. What becomes of it stands in
:mod:`licences`.

Read the two connectors, :class:`Installed` and :class:`Inventory`. Run it with::

    syncsdk run docs/examples/licences/inventory.py:pipeline --store sync.db
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from licences import OFFICE, Found, licence_row, mended_row, stated

from syncsdk import (
    OPAQUE,
    Batch,
    Changes,
    Listing,
    Op,
    Outcome,
    Owner,
    Pipeline,
    RecordError,
    Refused,
    RejectedError,
    SinkCapabilities,
    SourceCapabilities,
    Tolerance,
    TransientError,
)


class Installed:
    """A source: the distributions that an interpreter finds, by normalised name (PEP 503).

    Args:
        path: folders to look in, as in ``sys.path``; None for the running interpreter's.
        batch: names that are read, written and committed together.
    """

    capabilities = SourceCapabilities(Listing(), version=OPAQUE)

    def __init__(self, path: Sequence[str] | None = None, *, batch: int = 10) -> None:
        self._path = path
        self._batch = batch

    def read(self, after: str | None) -> Iterator[Batch]:
        """Yield all distributions; those of one name stand in one batch.

        Of two with one name the first on the path is imported. The engine keeps the last
        of a batch, so they are turned round.
        """
        found: dict[str, list[Found | Refused]] = {}
        for item in distributions() if self._path is None else distributions(path=[*self._path]):
            record = describe(item)
            name = None if isinstance(record, Refused) else stated(record["name"])
            key = re.sub(r"[-_.]+", "-", name or "").lower()
            found.setdefault(key, []).insert(0, record)
        names = sorted(found)
        for start in range(0, len(names), self._batch):
            page = names[start : start + self._batch]
            records = [record for name in page for record in found[name]]
            versions = [None if isinstance(each, Refused) else each["version"] for each in records]
            yield Batch([name for name in page for _ in found[name]], records, versions=versions)


def describe(item: Distribution) -> Found | Refused:
    """Return what a distribution says of itself, or why it cannot be read."""
    try:
        said = item.metadata
    except UnicodeDecodeError:
        return Refused(
            RecordError("the metadata is not UTF-8", path="METADATA", code="encoding"),
            original=str(item.locate_file("")),
        )

    def all_of(field: str) -> list[str]:
        return [str(value) for value in said.get_all(field) or ()]

    def one(field: str) -> str | None:
        return next(iter(all_of(field)), None)

    return Found(
        name=one("Name"),
        version=one("Version"),
        license_expression=one("License-Expression"),
        license=one("License"),
        classifiers=[each for each in all_of("Classifier") if each.startswith("License :: ")],
        author=one("Author"),
        author_email=one("Author-email"),
        maintainer=one("Maintainer"),
        maintainer_email=one("Maintainer-email"),
        summary=one("Summary"),
        home_page=one("Home-page"),
        project_urls=all_of("Project-URL"),
    )


class Inventory:
    """A sink: the table ``licences`` of a SQLite file, a row for each package."""

    capabilities = SinkCapabilities(upsert=True, deletes=True, atomic=True)

    def __init__(self, path: str | Path) -> None:
        self._path = path

    def write(self, changes: Changes) -> Sequence[Outcome]:
        """Put or delete all rows in one transaction, which is durable when this returns."""
        put = [(*c.key, *c.row) for c in changes if c.op is not Op.DELETE]
        gone = [c.key for c in changes if c.op is Op.DELETE]
        try:
            with closing(sqlite3.connect(self._path)) as database, database:
                database.execute(TABLE)
                database.executemany(PUT, put)
                database.executemany("DELETE FROM licences WHERE package = ?", gone)
        except sqlite3.IntegrityError as error:
            raise RejectedError("the table refuses a row", code="constraint") from error
        except sqlite3.OperationalError as error:
            raise TransientError("the inventory is locked, or cannot be written") from error
        return changes.applied()


TABLE: Final = """
    CREATE TABLE IF NOT EXISTS licences (
        package TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL,
        licence TEXT NOT NULL, licence_family TEXT NOT NULL
            CHECK (licence_family IN ('permissive', 'weak', 'copyleft', 'proprietary')),
        author TEXT CHECK (length(author) <= 80), summary TEXT CHECK (length(summary) <= 80),
        home_page TEXT CHECK (length(home_page) <= 200)
    )"""
PUT: Final = "INSERT OR REPLACE INTO licences VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


# -- The app ---------------------------------------------------------------------------

TOLERANCE: Final = Tolerance(count=25, share=0.5)
"""A run is expected to end ``partial``: no table decides what "BSD" means, and a person has
to. Of the packages of four interpreters 13 to 26 % were refused. Half of them would mean
that the reading is broken, and a small environment may have 25 that nobody decided."""


def inventory(
    sink: Inventory, *, mended: bool = False, site: Sequence[str] | None = None
) -> Pipeline:
    """Return the pipeline from the installed packages to ``sink``.

    Args:
        sink: the table.
        mended: map with the decision that a classifier alone is enough.
        site: folders to look for packages in; None for the running interpreter's.
    """
    return Pipeline(
        "installed-licences",
        source=Installed(site),
        mapping=mended_row if mended else licence_row,
        sink=sink,
        owner=Owner(OFFICE, runbook="https://wiki.example/licences"),
        tolerance=TOLERANCE,
    )


pipeline = inventory(Inventory("inventory.db"))
mended = inventory(Inventory("inventory.db"), mended=True)
