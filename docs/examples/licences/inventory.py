"""Keep a table of the licences of all Python packages that an interpreter has.

The source is whatever is installed; nobody made its data up. Packages name one licence in
dozens of ways, three fields may hold it, and some hold nothing. What the tables below
decide becomes a row; what they do not decide becomes a dead letter with its reason.

Read :class:`Found` and :class:`Row`, the tables, :func:`licence_of`, then the two
connectors :class:`Installed` and :class:`Inventory`. Run it with::

    syncsdk run docs/examples/licences/inventory.py:pipeline --store sync.db
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import closing
from email.utils import getaddresses
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypedDict

from attrs import frozen

from syncsdk import (
    OPAQUE,
    Batch,
    Changes,
    Listing,
    MappingError,
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


class Found(TypedDict):
    """What a distribution says of itself, as it says it; None where it says nothing."""

    name: str | None
    version: str | None
    license_expression: str | None
    license: str | None
    classifiers: list[str]
    author: str | None
    author_email: str | None
    maintainer: str | None
    maintainer_email: str | None
    summary: str | None
    home_page: str | None
    project_urls: list[str]


Family: TypeAlias = Literal["permissive", "weak", "copyleft", "proprietary"]


@frozen
class Row:
    """A line of the inventory; None where the package says nothing."""

    name: str
    version: str
    licence: str
    licence_family: Family
    author: str | None
    summary: str | None
    home_page: str | None


# -- What counts as which licence ------------------------------------------------------

FAMILIES: Final[dict[Family, str]] = {
    "permissive": "0BSD Apache-2.0 BlueOak-1.0.0 BSD-2-Clause BSD-3-Clause BSL-1.0 CC0-1.0 HPND "
    "ISC MIT MIT-0 MIT-CMU PSF-2.0 Python-2.0 Unlicense WTFPL Zlib ZPL-2.1",
    "weak": "EPL-2.0 LGPL-2.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only "
    "LGPL-3.0-or-later MPL-2.0",
    "copyleft": "AGPL-3.0-only AGPL-3.0-or-later EUPL-1.2 GPL-2.0-only GPL-2.0-or-later "
    "GPL-3.0-only GPL-3.0-or-later",
    "proprietary": "LicenseRef-Proprietary",
}
"""SPDX identifiers by what they ask of you, the least first."""

STRICTNESS: Final[list[Family]] = list(FAMILIES)
FAMILY: Final[dict[str, Family]] = {
    spdx: family for family, names in FAMILIES.items() for spdx in names.split()
}

SPELLINGS: Final[dict[str, str]] = {
    "Apache-2.0": "apache 2|apache 2.0|apache2|apache license 2.0|apache license v2.0|"
    "apache license version 2.0|apache license, version 2.0|apache software license 2.0|asl 2.0|"
    "apache license version 2.0, january 2004",
    "BSD-2-Clause": "bsd 2-clause|bsd 2-clause license|2-clause bsd license|simplified bsd license",
    "BSD-3-Clause": "bsd 3-clause|bsd 3-clause license|bsd-3-clause license|3-clause bsd|"
    "3-clause bsd license|bsd 3 clause|modified bsd license|new bsd|new bsd license|"
    "revised bsd license",
    "BSL-1.0": "boost software license 1.0 (bsl-1.0)",
    "CC0-1.0": "cc0|cc0 1.0 universal (cc0 1.0) public domain dedication",
    "EPL-2.0": "eclipse public license 2.0 (epl-2.0)",
    "EUPL-1.2": "european union public licence 1.2 (eupl 1.2)",
    "GPL-2.0-only": "gplv2|gnu general public license v2 (gplv2)",
    "GPL-2.0-or-later": "gplv2+|gnu general public license v2 or later (gplv2+)",
    "GPL-3.0-only": "gplv3|gnu general public license v3 (gplv3)",
    "GPL-3.0-or-later": "gplv3+|gnu general public license v3 or later (gplv3+)",
    "AGPL-3.0-only": "agplv3|gnu affero general public license v3",
    "AGPL-3.0-or-later": "agplv3+|gnu affero general public license v3 or later (agplv3+)",
    "ISC": "isc license|isc license (iscl)",
    "LGPL-2.0-or-later": "gnu lesser general public license v2 or later (lgplv2+)",
    "LGPL-3.0-only": "lgplv3|lgpl v3|gnu lesser general public license v3 (lgplv3)",
    "LGPL-3.0-or-later": "lgplv3+|gnu lesser general public license v3 or later (lgplv3+)",
    "LicenseRef-Proprietary": "proprietary|proprietary license|commercial|"
    "other/proprietary license|all rights reserved",
    "MIT": "mit license|mit license (mit)|the mit license|the mit license (mit)|"
    "expat|expat license|expat (mit/x11)",
    "MIT-0": "mit no attribution license (mit-0)",
    "MPL-2.0": "mpl 2.0|mpl2|mozilla public license 2.0|mozilla public license version 2.0|"
    "mozilla public license 2.0 (mpl 2.0)",
    "Unlicense": "the unlicense|the unlicense (unlicense)",
    "ZPL-2.1": "zpl 2.1|zope public license 2.1",
}
"""All spellings that mean one licence. "BSD", "GPL" and "Apache" are left out on purpose: they
name several. So is the whole text of a licence: it may hold more than its title says."""

SPDX: Final = {name.lower(): name for name in FAMILY} | {
    spelling: spdx for spdx, listed in SPELLINGS.items() for spelling in listed.split("|")
}


def licence_of(found: Found, *, classifiers_decide: bool) -> tuple[str, Family]:
    """Return the licence as an SPDX expression, and its family.

    License-Expression comes first (PEP 639), then License, then the classifiers. Where
    License and the classifiers contradict each other, nobody here can settle it.

    Raises:
        MappingError: the tables do not decide.
    """
    expression, text = stated(found["license_expression"]), stated(found["license"])
    listed = [each.rpartition(" :: ")[2] for each in found["classifiers"]]
    by_classifiers = {decided(each) for each in listed}
    if expression is not None:
        known = decided(expression)
        if known is None:
            raise undecided("License-Expression", expression)
        return known
    if text is not None:
        known = decided(text)
        if known is None:
            raise undecided("License", text)
        if any(each is not None and each[0] not in known[0].split() for each in by_classifiers):
            raise MappingError(
                "the field License says one licence and the classifiers another",
                remedy="Ask the package's author, or decide it in the table",
                path="licence",
                code="contradiction",
            )
        return known
    if not listed:
        raise MappingError(
            "no field states a licence",
            remedy="Look into the package's files; only a person can tell",
            path="licence",
            code="missing",
        )
    if not classifiers_decide:
        raise MappingError(
            "only a classifier states it",
            remedy="Decide whether that is enough, and replay",
            path="licence",
            code="classifier",
        )
    known = by_classifiers.pop() if len(by_classifiers) == 1 else None
    if known is None:
        raise undecided("Classifier", *listed)
    return known


def decided(text: str) -> tuple[str, Family] | None:
    """Return the SPDX expression that ``text`` means and its family, if the tables say so.

    One of several licences (OR) may be chosen: the least strict family. All of several
    (AND) must be kept: the strictest.
    """
    parts = re.split(r" (AND|OR) ", " ".join(text.split()))
    names = [SPDX.get(part.lower()) for part in parts[::2]]
    words = set(parts[1::2])
    ranks = [STRICTNESS.index(FAMILY[name]) for name in names if name is not None]
    if len(ranks) < len(names) or len(words) > 1:
        return None
    parts[::2] = [name for name in names if name is not None]
    return " ".join(parts), STRICTNESS[min(ranks) if words == {"OR"} else max(ranks)]


def undecided(field: str, *texts: str) -> MappingError:
    """Return the error for words that no table has; it tells their length, not them."""
    sizes = " and ".join(str(len(text)) for text in texts)
    return MappingError(
        f"no spelling decides {field}, text of {sizes} characters",
        remedy="Add it to SPELLINGS if it names one licence only, and replay",
        path="licence",
        code="undecided",
    )


# -- What the other fields become ------------------------------------------------------


def stated(text: str | None) -> str | None:
    """Return what a field says in NFC, or None if it says nothing: blank, or UNKNOWN."""
    said = unicodedata.normalize("NFC", text or "").strip()
    return None if said in ("", "UNKNOWN") else said


def cut(text: str, length: int) -> str:
    """Return ``text`` on one line, cut to ``length`` characters that end with an ellipsis.

    No accent or joined emoji is torn apart: the cut moves left to before it.
    """
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    end = length - 1
    while end and (_joins(text[end]) or text[end - 1] == "\u200d"):
        end -= 1
    return text[:end].rstrip() + "…"


def _joins(character: str) -> bool:
    return character == "\u200d" or unicodedata.category(character)[0] == "M"


def author_of(found: Found) -> str | None:
    """Return one name for a package of several authors, cut to 80 characters.

    The author before the maintainer, what is written before what stands in an address,
    and of several addresses the first with a name. An address alone is not copied: it is
    a way to reach somebody, who did not ask to be in this table.
    """
    people = (
        (found["author"], found["author_email"]),
        (found["maintainer"], found["maintainer_email"]),
    )
    for written, addresses in people:
        names = [stated(written), *(stated(name) for name, _ in getaddresses([addresses or ""]))]
        for name in names:
            if name is not None:
                return cut(name, 80)
    return None


def home_page_of(found: Found) -> str | None:
    """Return the address of the package's page, or None if it is over 200 characters.

    A shortened address leads nowhere.
    """
    pages = [found["home_page"] or ""]
    for entry in found["project_urls"]:
        label, _, address = entry.partition(",")
        if label.strip().lower() in ("homepage", "home page", "home"):
            pages.append(address)
    usable = (page.strip() for page in pages)
    return next((page for page in usable if re.fullmatch(r"https?://\S{1,192}", page)), None)


# -- The mapping, and the mended one ---------------------------------------------------


def licence_row(found: Found) -> Row:
    """A distribution becomes a row of the inventory."""
    return _row(found, classifiers_decide=False)


def mended_row(found: Found) -> Row:
    """A distribution becomes a row; a classifier alone is enough to state its licence."""
    return _row(found, classifiers_decide=True)


def _row(found: Found, *, classifiers_decide: bool) -> Row:
    name, version = stated(found["name"]), stated(found["version"])
    if name is None or version is None:
        raise MappingError(
            "the package states no version" if name else "the package states no name",
            path="version" if name else "name",
            code="missing",
        )
    licence, family = licence_of(found, classifiers_decide=classifiers_decide)
    summary = stated(found["summary"])
    return Row(
        name=name,
        version=version,
        licence=licence,
        licence_family=family,
        author=author_of(found),
        summary=None if summary is None else cut(summary, 80),
        home_page=home_page_of(found),
    )


# -- Connectors ------------------------------------------------------------------------


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
        mapping_version="2" if mended else "1",
        sink=sink,
        owner=Owner("Open source office", runbook="https://wiki.example/licences"),
        tolerance=TOLERANCE,
    )


pipeline = inventory(Inventory("inventory.db"))
mended = inventory(Inventory("inventory.db"), mended=True)
