"""What becomes of a CRM contact, worked out a second time and by hand.

Decides what the mapping in ``test_mapping_oracle`` should make of any record, so that the
compiled mapper is held against something that it shares no line with: this module imports
nothing of ``syncsdk``. It is written from the docstrings of the rules and from the hard
cases, slow and plain on purpose: each field is a few lines of its own.

What the docstrings leave open is read here like this:

* Text is refused for a control character (tab and line ends aside), U+FFFD, U+FFFE, U+FFFF or
  half a surrogate pair; zero-width spaces, byte order marks and what overrides the direction
  of writing are removed. Then come the normal form and the edges, at which white space and
  the marks of direction (U+200E, U+200F) are removed, however they are mixed. ``keep=``, case
  and ``join`` may break the normal form, and it is put right again. So are the edges of what
  is cut, and of a part.
* A label takes text as it is, in its normal form. It is refused for all that nobody sees, the
  marks of direction too; only white space, tab and line ends may stand in it.
* Blank is what nothing is left of without white space, what is removed, and marks of
  direction. ``coalesce``, ``need_one``, numbers, times, options and flags ask for no more:
  U+000B and its like are white space to them, though text is refused for it. What is empty
  after ``keep=`` is treated like a blank text.
* The form is asked before the length. If nothing is left of a cut text, it is too long.
  Nothing is parted at a joiner, a mark, a selector or a modifier.
* A number is read without what is removed from text, and between blanks. A time may stand
  between white space only. Options and flags are taken to the letter.
* A number has at most 100 digits on either side of the point; an integer in text at most
  1,000. ``within`` is asked of the number that the destination would get: the rounded one.
* An offset is written +02:00, +0200, +02, +02:00:30 or +020030, also after a space; it has
  less than 60 minutes and 60 seconds.
* ``by`` takes numbers of all kinds for numbers. False and true come before them, text comes
  behind, then whatever else; of equals the first is taken.
* The destination's own class is asked last, and only for a record without issues.
* Comparisons tell types apart, but for the kinds of numbers: True is not 1, "2" is not 2.
* A field of an object that is not there is not there itself, at its own path; if the object
  is none, the path is the object's. A rule that reads several places has the path of the
  first. What is wrong with an element is told for the first wrong one, before any is taken.
* ``need_one`` comes before the fields, with the path of the first of its group.
* A decision is counted when it is taken, also if the record is refused for something else.
  Null and left alone for a value that is missing are not counted; ``otherwise`` counts as
  "fallback".

Read :func:`contact`, then :func:`billing` and :func:`contract`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final, TypeAlias

from attrs import Factory, define

__all__ = ["Outcome", "contact"]

Issue: TypeAlias = tuple[str, str, str]


class _Nothing:
    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()
"""A key that is not there; a field that is left alone."""


class Wrong(Exception):
    """A value that is refused: the code, and the path where it is not the rule's."""

    def __init__(self, code: str, path: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.path = path


@define
class Outcome:
    """What should become of one record.

    Attributes:
        value: the mapped record by keys of the wire, without fields that are left alone;
            None if there are issues.
        issues: ``(field, path, code)`` in order.
        decisions: ``(field, decision)``, each time that one was taken: "cut", "defaulted",
            "fallback", "several", "left" or "nulled".
    """

    value: dict[str, Any] | None = None
    issues: list[Issue] = Factory(list)
    decisions: list[tuple[str, str]] = Factory(list)


def contact(record: Any) -> Outcome:
    """Return what should become of a contact."""
    told = Outcome()
    if not isinstance(record, Mapping):
        told.issues.append(("*", "$", "null" if record is None else "wrong_type"))
        return told
    if all(missing(record.get(key, NOTHING)) for key in ("email", "mobile", "phone")):
        told.issues.append(("*", "$.email or $.mobile or $.phone", "need_one"))
    made: dict[str, Any] = {}

    def put(field: str, path: str, rule: Any) -> None:
        try:
            value = rule()
        except Wrong as wrong:
            told.issues.append((field, wrong.path or path, wrong.code))
        else:
            if value is not NOTHING:
                made[field] = value

    def decide(field: str, decision: str, answer: Any) -> Any:
        told.decisions.append((field, decision))
        return answer

    def external_id() -> str:
        found = record.get("contactId", NOTHING)
        return "CRM-" + lettered(found)

    def names() -> list[str]:
        parts = []
        for key in ("firstName", "lastName"):
            found = record.get(key, NOTHING)
            if found is NOTHING or found is None:
                continue
            try:
                parts.append(cleaned(found))
            except Wrong as wrong:
                raise Wrong(wrong.code, f"$.{key}") from None
        return [each for each in parts if each]

    def name() -> str:
        parts = names()
        if not parts:
            return str(decide("name", "defaulted", "(no name)"))
        return normal(" ".join(parts))

    def search_key() -> str:
        parts = names()
        if not parts:
            return str(decide("search_key", "defaulted", "-"))
        key = normal("".join(parts))
        if len(key) <= 8:
            return key
        return str(decide("search_key", "cut", shortened(key, 8, len)))

    def headline() -> str:
        whole = demanded(record.get("headline", NOTHING))
        if len(whole) <= 12:
            return whole
        return str(decide("headline", "cut", shortened(whole, 12, len)))

    def email() -> str | None:
        found = record.get("email", NOTHING)
        if found is NOTHING or found is None:
            return None
        address = normal(cleaned(found).lower())
        if not address:
            return None
        if not is_address(address):
            raise Wrong("bad_format")
        if len(address) > 40:
            raise Wrong("too_long")
        return address

    def phone() -> str | None:
        for found in (record.get("mobile", NOTHING), record.get("phone", NOTHING)):
            if not missing(found):
                break
        else:
            return None
        number = "".join(each for each in cleaned(found) if each in "0123456789+ ").strip()
        if not number:
            return None
        if len(number) > 20:
            raise Wrong("too_long")
        return number

    def note() -> Any:
        found = record.get("note", NOTHING)
        if found is NOTHING or found is None:
            return NOTHING
        whole = cleaned(found)
        if not whole:
            return NOTHING
        # An emoji beyond the first plane takes two UTF-16 units.
        if len(whole.encode("utf-16-le")) > 2 * 60:
            return decide("note", "left", NOTHING)
        return whole

    def status() -> Any:
        found = record.get("stage", NOTHING)
        there(found)
        if isinstance(found, list | tuple | Mapping):
            raise Wrong("wrong_type")
        if isinstance(found, str):
            if found == "lead":
                return "P"
            if found in ("customer", "partner"):
                return "A"
            if found == "lost":
                return "C"
        return decide("status", "fallback", "R")

    def credit_limit() -> Decimal:
        found = record.get("creditLimit", NOTHING)
        if missing(found):
            return Decimal(decide("credit_limit", "defaulted", "0"))
        amount = to_decimal(found)
        if not 0 <= amount <= 1_000_000:
            raise Wrong("out_of_range")
        return amount

    def employees() -> int:
        found = record.get("employees", NOTHING)
        if missing(found):
            return int(decide("employees", "defaulted", 0))
        if isinstance(found, bool) or not isinstance(found, int | str):
            raise Wrong("wrong_type")
        if isinstance(found, str):
            found = bare(found)
            if not re.fullmatch("[+-]?[0-9]{1,1000}", found):
                raise Wrong("bad_number")
            found = int(found)
        if not 0 <= found <= 5_000_000:
            raise Wrong("out_of_range")
        return found

    def newsletter() -> bool:
        found = record.get("newsletter", NOTHING)
        if missing(found):
            return bool(decide("newsletter", "defaulted", False))
        if isinstance(found, bool):
            return found
        if found in ("yes", "on") if isinstance(found, str) else is_int(found, 1):
            return True
        if found in ("no", "off") if isinstance(found, str) else is_int(found, 0):
            return False
        raise Wrong("wrong_type")

    def created_at() -> datetime:
        found = record.get("createdAt", NOTHING)
        there(found)
        return to_instant(found)

    def region() -> str:
        company = record.get("company", NOTHING)
        if company is NOTHING or company is None:
            return str(decide("region", "defaulted", "-"))
        if not isinstance(company, Mapping):
            raise Wrong("wrong_type", "$.company")
        found = company.get("reference", NOTHING)
        if found is NOTHING or found is None:
            return str(decide("region", "defaulted", "-"))
        parts = [bare(each) for each in cleaned(found).split("/")]
        if len(parts) < 2 or not parts[1]:
            return str(decide("region", "defaulted", "-"))
        if parts[1] not in ("NORTH", "SOUTH", "NOWHERE"):
            raise Wrong("step_failed")
        return "-" if parts[1] == "NOWHERE" else parts[1][0]

    def address() -> Any:
        found = objects(record.get("addresses", NOTHING), "$.addresses")
        if not found:
            return None
        wanted = [each for each in found if is_wanted(each)]
        if len(wanted) > 1:
            decide("billing", "several", None)
        if not wanted:
            decide("billing", "fallback", None)
        taken = wanted[0] if wanted else found[-1]
        return billing(taken, nth(taken, found), told)

    def agreement() -> Any:
        found = objects(record.get("contracts", NOTHING), "$.contracts")
        if not found:
            return NOTHING
        wanted = [each for each in found if is_binding(each)]
        if not wanted:
            raise Wrong("none_fits")
        if len(wanted) > 1:
            decide("contract", "several", None)
        taken = min(wanted, key=lambda each: standing(each.get("signed")))
        return contract(taken, nth(taken, found), told)

    put("external_id", "$.contactId", external_id)
    put("name", "$.firstName or $.lastName", name)
    put("search_key", "$.firstName or $.lastName", search_key)
    put("headline", "$.headline", headline)
    put("email", "$.email", email)
    put("phone", "$.mobile or $.phone", phone)
    put("note", "$.note", note)
    put("status", "$.stage", status)
    put("credit_limit", "$.creditLimit", credit_limit)
    put("employees", "$.employees", employees)
    put("newsletter", "$.newsletter", newsletter)
    put("created_at", "$.createdAt", created_at)
    put("region", "$.company.reference", region)
    put("billing", "$.addresses", address)
    put("contract", "$.contracts", agreement)
    if not told.issues and len(made["name"]) > 80:
        told.issues.append(("*", "$", "refused"))
    if not told.issues:
        told.value = made
    return told


def objects(value: Any, path: str) -> list[Mapping[str, Any]]:
    """Return the elements of a list of objects; none if it is not there."""
    if value is NOTHING or value is None:
        return []
    if not isinstance(value, list | tuple):
        raise Wrong("wrong_type")
    for at, each in enumerate(value):
        if not isinstance(each, Mapping):
            raise Wrong("null" if each is None else "wrong_type", f"{path}[{at}]")
    return list(value)


def is_wanted(address: Mapping[str, Any]) -> bool:
    """Return whether an address is preferred: for billing, and of the first three."""
    kind, rank = address.get("kind"), address.get("rank")
    if isinstance(rank, bool) or not isinstance(rank, int | float | Decimal):
        return False
    if isinstance(rank, Decimal) and rank.is_nan():
        return False
    return isinstance(kind, str) and kind == "billing" and rank <= 3


def is_binding(agreed: Mapping[str, Any]) -> bool:
    """Return whether a contract holds."""
    state = agreed.get("state")
    return isinstance(state, str) and state in ("signed", "renewed")


def standing(value: Any) -> tuple[int, Any]:
    """Return where a value stands among others; the smallest is taken."""
    if isinstance(value, bool):
        return 0, value
    if isinstance(value, int | float | Decimal) and value == value:
        return 1, value
    return (2, value) if isinstance(value, str) else (3, 0)


def nth(taken: Any, found: Any) -> int:
    """Return which of a list was taken."""
    return [each is taken for each in found].index(True)


def billing(address: Mapping[str, Any], number: int, told: Outcome) -> dict[str, Any]:
    """Return what should become of the address that was taken; issues and decisions are told."""
    made: dict[str, Any] = {}

    def refuse(field: str, code: str) -> None:
        told.issues.append((f"billing.{field}", f"$.addresses[{number}].{field}", code))

    def decide(field: str, decision: str) -> None:
        told.decisions.append((f"billing.{field}", decision))

    street = address.get("street", NOTHING)
    try:
        street = bare(normal(demanded(street).upper()))
        if len(street.encode()) > 24:
            street = shortened(street, 24, lambda part: len(part.encode()))
            decide("street", "cut")
        made["street"] = street
    except Wrong as wrong:
        refuse("street", wrong.code)

    unit = address.get("unit", NOTHING)
    try:
        if unit is not NOTHING and unit is not None:
            kept = normal("".join(each for each in cleaned(unit) if is_kept(each)))
            unit = bare(kept)
            if unit:
                made["unit"] = unit
    except Wrong as wrong:
        refuse("unit", wrong.code)

    country = address.get("country", NOTHING)
    try:
        there(country)
        if isinstance(country, list | tuple | Mapping):
            raise Wrong("wrong_type")
        if country not in ("DE", "AT"):
            raise Wrong("unknown_code")
        made["countryCode"] = "DEU" if country == "DE" else "AUT"
    except Wrong as wrong:
        refuse("country", wrong.code)

    since = address.get("since", NOTHING)
    try:
        made["since"] = None if missing(since) else to_day(since)
    except Wrong as wrong:
        if wrong.code == "bad_date":
            decide("since", "nulled")
            made["since"] = None
        else:
            refuse("since", wrong.code)

    return made


def contract(agreed: Mapping[str, Any], number: int, told: Outcome) -> dict[str, Any]:
    """Return what should become of the contract that was taken; issues and decisions are told."""
    made: dict[str, Any] = {}
    try:
        made["number"] = lettered(agreed.get("number", NOTHING))
    except Wrong as wrong:
        told.issues.append(("contract.number", f"$.contracts[{number}].number", wrong.code))
    signed = agreed.get("signed", NOTHING)
    try:
        made["signed"] = None if missing(signed) else to_day(signed)
    except Wrong as wrong:
        told.issues.append(("contract.signed", f"$.contracts[{number}].signed", wrong.code))
    return made


# -- Is it there? ----------------------------------------------------------------------

_INVISIBLE: Final = {
    *"\u200b\u2060\ufeff",
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
}
_DIRECTION: Final = {*"\u200e\u200f"}


def missing(value: Any) -> bool:
    """Return whether a value is absent, null or blank."""
    if isinstance(value, str):
        return not bare(value)
    return value is NOTHING or value is None


def there(value: Any) -> None:
    """Refuse a value that is missing, for what it is."""
    if value is NOTHING:
        raise Wrong("absent")
    if value is None:
        raise Wrong("null")
    if missing(value):
        raise Wrong("empty")


# -- Text ------------------------------------------------------------------------------


def demanded(value: Any) -> str:
    """Return text that must be there, as it should stand in the destination."""
    if value is NOTHING or value is None:
        there(value)
    whole = cleaned(value)
    there(whole)
    return whole


def cleaned(value: Any) -> str:
    """Return text as it should stand in the destination."""
    if not isinstance(value, str):
        raise Wrong("wrong_type")
    if value.isascii() and value.isprintable():
        return value.strip()
    if any(map(is_odd, value)):
        raise Wrong("bad_text")
    return bare(normal(bare(value)))


def bare(value: str) -> str:
    """Return text without what is removed, and without blanks at its edges."""
    if value.isascii():
        return value.strip()
    left = [each for each in value if each not in _INVISIBLE]
    while left and is_edge(left[0]):
        del left[0]
    while left and is_edge(left[-1]):
        del left[-1]
    return "".join(left)


def is_edge(each: str) -> bool:
    """Return whether a character has no place at the edge of a text."""
    return each.isspace() or each in _DIRECTION


def lettered(value: Any) -> str:
    """Return what stands in a label."""
    if type(value) is int:
        if abs(value) >= _PRINTED:
            raise Wrong("bad_number")
        return str(value)
    if value is not NOTHING and value is not None and not isinstance(value, str):
        raise Wrong("wrong_type")
    if isinstance(value, str):
        if any(is_odd(each) or each in _INVISIBLE or each in _DIRECTION for each in value):
            raise Wrong("bad_text")
    there(value)
    return normal(str(value))


def is_kept(each: str) -> bool:
    """Return whether a unit keeps a character: a plain letter, a digit or a mark upon it."""
    return (each.isascii() and each.isalnum()) or "\u0300" <= each <= "\u036f"


def is_odd(each: str) -> bool:
    """Return whether text is refused for a character."""
    return is_control(each) or "\ud800" <= each <= "\udfff" or each in "\ufffd\ufffe\uffff"


def is_control(each: str) -> bool:
    """Return whether a character is a control character that no text should hold."""
    return unicodedata.category(each) == "Cc" and each not in "\t\n\r"


def normal(value: str) -> str:
    """Return text in the normal form C."""
    return unicodedata.normalize("NFC", value)


def is_address(value: str) -> bool:
    """Return whether a text looks like an e-mail address."""
    local, at, domain = value.partition("@")
    labels = domain.split(".")
    return (
        at == "@"
        and "@" not in domain
        and 1 <= len(local) <= 64
        and not any(each.isspace() for each in value)
        and len(labels) >= 2
        and all(labels)
    )


def shortened(value: str, limit: int, measure: Any) -> str:
    """Return as many whole characters, as a reader sees them, as fit; at least one."""
    taken = ""
    for each in characters(value):
        if measure(taken + each) > limit:
            break
        taken += each
    taken = bare(taken)
    if not taken:
        raise Wrong("too_long")
    return taken


def characters(value: str) -> Iterator[str]:
    """Yield what a reader sees as one, without the syllables of Korea and India."""
    one = ""
    for each in value:
        if one and not _goes_on(one, each):
            yield one
            one = ""
        one += each
    if one:
        yield one


def _goes_on(one: str, each: str) -> bool:
    if "\u200d" in (one[-1], each) or unicodedata.category(each) in ("Mn", "Me", "Mc"):
        return True
    if "\U0001f3fb" <= each <= "\U0001f3ff" or "\U000e0020" <= each <= "\U000e007f":
        return True  # the colour of a skin, the region of a flag
    letters = len(one) - len(one.rstrip(_REGIONAL))
    return each in _REGIONAL and letters % 2 == 1


_REGIONAL: Final = "".join(map(chr, range(0x1F1E6, 0x1F200)))
"""The letters of flags; two of them are one."""


# -- Numbers and times -----------------------------------------------------------------

_PRINTED: Final = 10**4300  # Python prints no integer of more digits
_WIDE: Final = Context(prec=400, rounding=ROUND_HALF_EVEN)


def is_int(value: Any, number: int) -> bool:
    """Return whether a value is this integer; True is none."""
    return type(value) is int and value == number


def to_decimal(value: Any) -> Decimal:
    """Return a number with two places."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise Wrong("wrong_type")
    if isinstance(value, str):
        value = bare(value)
        if not re.fullmatch(r"[+-]?[0-9]{1,100}(\.[0-9]{1,100})?", value):
            raise Wrong("bad_number")
        number = Decimal(value)
    elif isinstance(value, float):
        number = Decimal(repr(value))
    else:
        number = Decimal(value)
    if not number.is_finite() or number.copy_abs() >= 10**100:
        raise Wrong("bad_number")
    rounded = number.quantize(Decimal("0.01"), context=_WIDE)
    return rounded if rounded else Decimal("0.00")


def to_instant(value: Any) -> datetime:
    """Return an instant in UTC."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Wrong("no_zone")
        return value.astimezone(UTC)
    if not isinstance(value, str):
        raise Wrong("wrong_type")
    found = re.fullmatch(
        "([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2})"
        "(?::([0-9]{2})(?:[.,]([0-9]+))?)?"
        "(?: ?([Zz]|([+-])([0-9]{2})(?:(:?)([0-9]{2})(?:\\11([0-9]{2}))?)?))?",
        value.strip(),
    )
    if found is None:
        raise Wrong("bad_date")
    year, month, day, hour, minute, second = (int(found[at] or 0) for at in range(1, 7))
    fraction = int((found[7] or "")[:6].ljust(6, "0"))
    east = [int(found[at] or 0) for at in (10, 12, 13)]
    if max(east[1:]) > 59:
        raise Wrong("bad_date")
    offset = timedelta(hours=east[0], minutes=east[1], seconds=east[2])
    try:
        zone = timezone(-offset if found[9] == "-" else offset)
        local = datetime(year, month, day, hour, minute, second, fraction, zone)
        if not found[8]:
            raise Wrong("no_zone")
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Wrong("bad_date") from None


def to_day(value: Any) -> date:
    """Return a calendar day."""
    if isinstance(value, datetime):
        raise Wrong("bad_date")
    if isinstance(value, date):
        return value
    if not isinstance(value, str):
        raise Wrong("wrong_type")
    found = re.fullmatch("([0-9]{4})-([0-9]{2})-([0-9]{2})", value.strip())
    if found is None:
        raise Wrong("bad_date")
    try:
        return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        raise Wrong("bad_date") from None
