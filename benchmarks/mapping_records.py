"""The records that are mapped: good ones, odd ones that must still fit, and bad ones.

They look like the server's contacts: parsed JSON, with a phone and a language that may be
missing. :data:`ODD` and :data:`BAD` hold values that a plain mapping gets wrong, by the key
they stand under.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from benchmarks.server import bodies

ABSENT = object()
"""The key is not there at all."""

_DAYS = ("2024-01-01", "2024-01-01T10:00:00", "20240101T100000Z", "2024-W01-1T10:00:00Z")
_TIMES = ("2024-02-30T10:00:00Z", "2024-01-01T25:00:00Z", "0001-01-01T00:00:00+14:00", "soon")
_LONG = "A long way off, " * 13
_ADDRESS = {"street": "1 Mill Lane", "city": "Leeds", "postcode": "LS1", "country": "GB"}


def _address(**other: Any) -> dict[str, Any]:
    return {"kind": "billing", **_ADDRESS, **other}


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in _address().items() if name != key}


ODD: dict[str, tuple[Any, ...]] = {
    "id": (7, "007", " 7 ", "ÄÖ", 0),
    "full_name": (
        " Anna\u00a0", "Zoe\u0308 Roy", "Zo\u200be", "\ufb00" * 41, "e\u0301" * 50, "中" * 40,
    ),
    "email": ("ÄRGER@Example.org", "\u0130@example.org", " a@b.co ", "a\u200b@b.co"),
    "status": ("WON", "LOST"),
    "balance": (12, -3, "-0.001", "+5", " 12.5 ", "0.005", "2.675", Decimal("1.005"), "9" * 100),
    "phone": (ABSENT, None, "", "  ", "ZZ", "(020) 7\u00a0946", "+" * 20, "٣"),
    "created": (
        "2024-01-01t10:00:00z", "2024-01-01 10:00:00 +0200", "2024-01-01T10:00+02",
        "2024-01-01T10:00:00.123456789Z", "2024-01-01T10:00:00,5-01:30:15", " 2024-01-01T10:00Z ",
    ),
    "updated_at": ("2024-01-01T10:00:00+00:00", "9999-12-31T23:59:59Z"),
    "addresses": (
        [_address(kind="home"), _address(kind="office")], [_address(), _address(city="Ely")],
        [_address(kind="home"), _address(city="Zoe\u0308")], [_address(kind=["billing"])],
        [_address(kind="home", city=None), _address()], [_without("kind")],
    ),
    "language": (ABSENT, None, "", " ", "FR", "de-AT"),
    "notes": (
        ABSENT, None, "", " \n ", "two\nlines\tof notes", "x" * 200, "x" * 201, _LONG + "Zoe\u0308",
        "x" * 199 + "e\u0323\u0301", "x" * 198 + "👨\u200d👩\u200d👧 at home",
        "x" * 199 + "🇬🇧🇫🇷", "x" * 198 + "🇬🇧🇫🇷", "x" * 190 + " " * 20 + "end", "👍🏽" * 150,
    ),
}  # fmt: skip
"""Values that fit, once they are cleaned, cut or replaced as the mapping says."""

BAD: dict[str, tuple[Any, ...]] = {
    "id": (ABSENT, None, "", "  ", 1.5, True, [], {}, "C\x00", "\ufffd"),
    "full_name": (ABSENT, None, "", "\u00a0", 7, ["Anna"], "A\x00", "A\ufffd", "\u200b", "\ud800"),
    "email": (
        ABSENT, None, "", "nobody", "a@b", "a b@c.de", "a@@b.cc", 7, "x" * 65 + "@b.co",
        "a@" + "b" * 80 + ".org", "a@b.co\x7f",
    ),
    "status": (ABSENT, None, "", "NEW", "won", " WON", "ＷＯＮ", True, 1, ["WON"]),
    "balance": (
        ABSENT, None, "", "NaN", "Infinity", "1e3", "1_000", "1,234.50", "١٢", "1.", ".5", True,
        0.1, [], Decimal("NaN"), "9" * 101,
    ),
    "phone": ("0" * 21, 5, True, ["+44"], "+44\x00"),
    "created": (ABSENT, None, "", 1704103200, *_DAYS, *_TIMES),
    "updated_at": (ABSENT, None, " ", True, [], *_DAYS, *_TIMES),
    "addresses": (
        ABSENT, None, [], {}, "", 0, False, [None], [[]], [_address(), 5], [{"kind": "billing"}],
        *([_without(key)] for key in _ADDRESS), *([_address(**{key: " "})] for key in _ADDRESS),
        [_address(country="GBR")], [_address(city=["Leeds"])], [_address(street="x" * 101)],
    ),
    "language": ("english", 5, ["en"], "e\x00"),
    "notes": (5, True, ["x"], "a\x00b", "x" * 300 + "\x00", "a\ufffdb"),
}  # fmt: skip
"""Values for which a record must be refused."""


def good(number: int) -> list[dict[str, Any]]:
    """Return contacts as a system sends them."""
    draw, contents, made = random.Random(11), bodies(), []
    for at in range(number):
        contact = json.loads("{" + contents[at % len(contents)] + "}")
        contact["id"] = f"C{at:08}"
        contact["updated_at"] = f"2024-{at % 12 + 1:02}-{at % 28 + 1:02}T{at % 24:02}:07:11Z"
        if draw.random() < 0.3:
            del contact["phone"]
        if draw.random() < 0.3:
            contact["language"] = draw.choice(("de", "en", "fr"))
        made.append(contact)
    return made


def some_bad(number: int, share: float) -> list[dict[str, Any]]:
    """Return contacts of which a share (0.0 to 1.0) is bad: one to three faults in each."""
    draw, made = random.Random(13), good(number)
    for contact in draw.sample(made, round(number * share)):
        for key in draw.sample(sorted(BAD), draw.choice((1, 1, 2, 3))):
            _put(contact, key, draw.choice(BAD[key]))
    return made


def every(values: dict[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Yield a contact for each of the values, with all else as it should be."""
    for key, choices in values.items():
        for contact, value in zip(good(len(choices)), choices, strict=True):
            _put(contact, key, value)
            yield contact


def _put(contact: dict[str, Any], key: str, value: Any) -> None:
    if value is ABSENT:
        contact.pop(key, None)
    else:
        contact[key] = value
