"""What becomes of the licence that a Python package states: the mapping, and its decisions.

Packages name one licence in dozens of ways, three fields may hold it, and some hold nothing.
What the tables below decide becomes a row; what they do not decide becomes a dead letter
with its reason. The lawyers read and sign it as a document::

    syncsdk document docs/examples/licences/licences.py:licence_row

Read :class:`Found` and :class:`Row`, then :func:`licence_row`, then the tables and the steps
that it names.
"""

from __future__ import annotations

import re
import unicodedata
from email.utils import getaddresses
from typing import Annotated, Final, Literal, TypeAlias, TypedDict

from attrs import field, frozen

from syncsdk import MappingError
from syncsdk.mapping import (
    NULL,
    REJECT,
    TRUNCATE,
    about,
    coalesce,
    fragment,
    mapping,
    step,
    text,
    to,
)

# -- Both ends -------------------------------------------------------------------------


class Found(TypedDict):
    """What a distribution says of itself in its METADATA; null where it says nothing."""

    name: str | None
    version: str | None
    license_expression: Annotated[str | None, about(meaning="License-Expression, since PEP 639")]
    license: Annotated[str | None, about(meaning="License: a name, or the whole text")]
    classifiers: Annotated[list[str], about(meaning='Classifiers that begin with "License :: "')]
    author: Annotated[str | None, about(sensitive=True)]
    author_email: Annotated[str | None, about(meaning="Addresses with names", sensitive=True)]
    maintainer: Annotated[str | None, about(sensitive=True)]
    maintainer_email: Annotated[str | None, about(meaning="Addresses with names", sensitive=True)]
    summary: str | None
    home_page: str | None
    project_urls: Annotated[list[str], about(meaning="Each a label, a comma and an address")]


Family: TypeAlias = Literal["permissive", "weak", "copyleft", "proprietary"]


@frozen
class Row:
    """A line of the inventory."""

    name: str
    version: str
    licence: str = field(metadata=about(meaning="An SPDX expression"))
    licence_family: Family = field(metadata=about(meaning="What the licence asks of you"))
    author: str | None = field(metadata=about(max=80, sensitive=True))
    summary: str | None = field(metadata=about(max=80))
    home_page: str | None = field(metadata=about(max=200))


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
TABLES: Final = {"Spellings": {listed: spdx for spdx, listed in SPELLINGS.items()}}


def spdx_of(said: str) -> str | None:
    """Return the SPDX expression that ``said`` means, or None if the tables do not decide.

    Licences may be joined by AND or by OR; by both, brackets would decide, which nobody
    reads here.
    """
    parts = re.split(r" (AND|OR) ", " ".join(said.split()))
    names = [SPDX.get(part.lower()) for part in parts[::2]]
    if None in names or len(set(parts[1::2])) > 1:
        return None
    parts[::2] = [name for name in names if name is not None]
    return " ".join(parts)


@step(version="1", tables=TABLES)
def stated_licence(expression: str | None, said: str | None, classifiers: list[str]) -> str:
    """The licence that License-Expression states, or else License, by its spelling.

    Refused where both are silent, where a spelling is in no table, and where License and a
    classifier contradict each other.
    """
    found = _stated(expression, said, classifiers)
    if found is None:
        raise MappingError("only a classifier states it", path="$.classifiers", code="classifier")
    return found


@step(version="1", tables=TABLES)
def any_licence(expression: str | None, said: str | None, classifiers: list[str]) -> str:
    """The licence that License-Expression states, or else License, or else the classifiers.

    Refused where all are silent, where a spelling is in no table, where classifiers name
    several licences, and where License and a classifier contradict each other.
    """
    found = _stated(expression, said, classifiers)
    if found is not None:
        return found
    meant = {spdx_of(each) for each in _last(classifiers)}
    only = meant.pop() if len(meant) == 1 else None
    if only is None:
        raise _undecided("$.classifiers", *_last(classifiers))
    return only


def _stated(expression: str | None, said: str | None, classifiers: list[str]) -> str | None:
    """Return what License-Expression or License state; None if only a classifier may.

    Raises:
        MappingError: the tables do not decide, or nothing is stated at all.
    """
    expression, said = stated(expression), stated(said)
    if expression is None and said is None:
        if not classifiers:
            raise MappingError("no field states a licence", code="missing")
        return None
    found = spdx_of(expression or said or "")
    if found is None:
        path = "$.license" if expression is None else "$.license_expression"
        raise _undecided(path, expression or said or "")
    others = {spdx_of(each) for each in _last(classifiers)} - {None, *found.split()}
    if expression is None and others:
        raise MappingError(
            "it says one licence and the classifiers another",
            path="$.license",
            code="contradiction",
        )
    return found


def _last(classifiers: list[str]) -> list[str]:
    return [each.rpartition(" :: ")[2] for each in classifiers]


def _undecided(path: str, *said: str) -> MappingError:
    """Return the error for words that no table has; it tells their length, not them."""
    sizes = " and ".join(str(len(each)) for each in said)
    return MappingError(
        f"it is in no table of spellings, got text of {sizes} characters",
        path=path,
        code="undecided",
    )


@step(version="1", tables={"Families": {names: family for family, names in FAMILIES.items()}})
def family_of(licence: str) -> Family:
    """The family of a licence.

    Of licences to choose from (OR) it is the least strict, of licences that hold together
    (AND) the strictest.
    """
    ranks = [STRICTNESS.index(FAMILY[spdx]) for spdx in re.split(r" AND | OR ", licence)]
    return STRICTNESS[min(ranks) if " OR " in licence else max(ranks)]


# -- What the other fields become ------------------------------------------------------

SILENT: Final = "UNKNOWN"
"""What older tools wrote where a package says nothing."""


def stated(said: str | None) -> str | None:
    """Return what a field says in NFC, or None if it says nothing: blank, or UNKNOWN."""
    found = unicodedata.normalize("NFC", said or "").strip()
    return None if found in ("", SILENT) else found


@step(version="1")
def one_line(said: str | None) -> str | None:
    """The text on one line."""
    return None if said is None else " ".join(said.split())


@step(version="1")
def first_named(addresses: str | None) -> str | None:
    """The first name that stands with an address; an address alone is not copied.

    It is a way to reach somebody, who did not ask to be in this table.
    """
    names = (stated(name) for name, _ in getaddresses([addresses or ""]))
    return next((name for name in names if name is not None), None)


@step(version="1")
def web_page(home_page: str | None, project_urls: list[str]) -> str | None:
    """The first web address of at most 200 characters, of Home-page and what is labelled so.

    A shortened address leads nowhere.
    """
    pages = [home_page or ""]
    for entry in project_urls:
        label, _, address = entry.partition(",")
        if label.strip().lower() in ("homepage", "home page", "home"):
            pages.append(address)
    usable = (page.strip() for page in pages)
    return next((page for page in usable if re.fullmatch(r"https?://\S{1,192}", page)), None)


# -- The mapping, and the mended one ---------------------------------------------------

OFFICE: Final = "Open source office"


@fragment
def row(s: Found, licence: str) -> Row:
    """Return all of a row, given the rule for its licence."""
    return to(Row)(
        name=text(s["name"], also=[SILENT], missing=REJECT),
        version=text(s["version"], also=[SILENT], missing=REJECT),
        licence=licence,
        licence_family=family_of(licence),
        author=text(
            coalesce(
                text(s["author"], also=[SILENT], missing=NULL),
                first_named(s["author_email"]),
                text(s["maintainer"], also=[SILENT], missing=NULL),
                first_named(s["maintainer_email"]),
                missing=NULL,
                why="one person to ask is enough, and the author knows best",
            ),
            max=80,
            over=TRUNCATE,
            missing=NULL,
            why="the column has 80 characters",
        ),
        summary=text(
            one_line(s["summary"]),
            also=[SILENT],
            max=80,
            over=TRUNCATE,
            missing=NULL,
            why="the column has 80 characters",
        ),
        home_page=web_page(s["home_page"], s["project_urls"]),
    )


@mapping(owner=OFFICE, approved="licence_row.approved.toml")
def licence_row(s: Found) -> Row:
    """A distribution becomes a row of the inventory."""
    return row(s, stated_licence(s["license_expression"], s["license"], s["classifiers"]))


@mapping(owner=OFFICE, approved="mended_row.approved.toml")
def mended_row(s: Found) -> Row:
    """A distribution becomes a row; a classifier alone is enough to state its licence."""
    return row(s, any_licence(s["license_expression"], s["license"], s["classifiers"]))
