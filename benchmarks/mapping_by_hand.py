"""The floor: a mapping written out by hand, which checks all that ours checks.

It accepts and refuses the same records, tells all faults of one at once, and calls a
function only where a value is not as it mostly is. It takes parsed JSON (and Decimals):
no subclass of ``str``, ``dict`` or ``list``.
"""

import re
import unicodedata
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

STATUS = dict.fromkeys(("LEAD", "CONTACTED", "QUALIFIED"), "prospect")
STATUS |= {"WON": "active", "LOST": "archived", "BLOCKED": "blocked"}
CENT = Decimal("0.01")
EXACT = Context(prec=250)

is_email = re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+").fullmatch
is_number = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?").fullmatch
is_instant = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:Z|[+-][0-9]{2}:[0-9]{2})"
).fullmatch
is_odd_instant = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)"
    r" ?([Zz]|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)"
).fullmatch
no_phone = re.compile("[^0-9+]").sub
is_refused = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd\ufffe\uffff\ud800-\udfff]"
).search
no_marks = re.compile("[\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]").sub


class Fault(Exception):
    """Why a value is refused, without the value."""


class Refused(Exception):
    """Why a record is refused: for each fault the field, the path and the reason."""


def customers(contacts: list[dict[str, Any]]) -> list[Any]:
    """Return a row, or what is wrong, for each contact."""
    return [customer(contact) for contact in contacts]


def customer(r: dict[str, Any]) -> Any:
    """Return the row that a contact becomes, or what is wrong with it."""
    bad: list[tuple[str, str, str]] = []

    try:
        v = r["id"]
        if v.__class__ is str:
            if not v.isprintable() or not v.isascii():
                v = clean(v)
            if not v or v.isspace():
                raise Fault("expected text or an integer, got blank text")
        elif v.__class__ is int:
            v = str(v)
        else:
            raise wrong("text or an integer", v)
        number = "CRM-" + v
    except (KeyError, Fault) as error:
        bad.append(("number", "$.id", reason(error)))

    try:
        v = r["full_name"]
        if v.__class__ is not str:
            raise wrong("text", v)
        if not v.isprintable() or not v.isascii():
            v = clean(v)
        name = v.strip()
        if not name:
            raise Fault("expected text, got blank text")
        if len(name) > 40:
            name = cut(name, 40)
    except (KeyError, Fault) as error:
        bad.append(("name", "$.full_name", reason(error)))

    try:
        v = r["email"]
        if v.__class__ is not str:
            raise wrong("text", v)
        if not v.isprintable() or not v.isascii():
            v = clean(clean(v).lower())
        email = v.lower().strip()
        if not email:
            raise Fault("expected text, got blank text")
        if is_email(email) is None:
            raise Fault(f"expected an e-mail address, got text of {len(email)} characters")
        if len(email) > 80:
            raise Fault(f"expected at most 80 characters, got {len(email)}")
    except (KeyError, Fault) as error:
        bad.append(("email", "$.email", reason(error)))

    try:
        v = r["status"]
        status = STATUS.get(v) if v.__class__ is str else None
        if status is None:
            raise wrong("an option that is decided", v)
    except (KeyError, Fault) as error:
        bad.append(("status", "$.status", reason(error)))

    try:
        phone = r.get("phone")
        if phone is not None:
            if phone.__class__ is not str:
                raise wrong("text", phone)
            if not phone.isprintable() or not phone.isascii():
                phone = clean(phone)
            phone = no_phone("", phone) or None
            if phone is not None and len(phone) > 20:
                raise Fault(f"expected at most 20 characters, got {len(phone)}")
    except Fault as error:
        bad.append(("phone", "$.phone", reason(error)))

    try:
        v = r["balance"]
        if v.__class__ is str:
            v = v.strip()
            if is_number(v) is None:
                raise wrong("a decimal number", v)
        elif v.__class__ is not int and (v.__class__ is not Decimal or not v.is_finite()):
            raise wrong("a decimal number", v)
        balance = Decimal(v).quantize(CENT, "ROUND_HALF_EVEN", EXACT) or ZERO
    except (KeyError, Fault) as error:
        bad.append(("balance", "$.balance", reason(error)))

    try:
        v = r["created"]
        if v.__class__ is not str:
            raise wrong("an instant", v)
        if is_instant(v) is None:
            v = plain_instant(v)
        created_at = datetime.fromisoformat(v).astimezone(UTC)
    except (KeyError, Fault, ValueError, OverflowError) as error:
        bad.append(("created_at", "$.created", reason(error)))

    try:
        v = r["updated_at"]
        if v.__class__ is not str:
            raise wrong("an instant", v)
        if is_instant(v) is None:
            v = plain_instant(v)
        updated_at = datetime.fromisoformat(v).astimezone(UTC)
    except (KeyError, Fault, ValueError, OverflowError) as error:
        bad.append(("updated_at", "$.updated_at", reason(error)))

    try:
        addresses = r["addresses"]
        if addresses.__class__ is not list or not addresses:
            raise wrong("a list of at least one", addresses)
        address = None
        for each in addresses:
            if each.__class__ is not dict:
                raise wrong("an object", each)
            if address is None and each.get("kind") == "billing":
                address = each
        if address is None:
            address = addresses[0]

        try:
            v = address["street"]
            if v.__class__ is not str:
                raise wrong("text", v)
            if not v.isprintable() or not v.isascii():
                v = clean(v)
            street = v.strip()
            if not street:
                raise Fault("expected text, got blank text")
            if len(street) > 100:
                raise Fault(f"expected at most 100 characters, got {len(street)}")
        except (KeyError, Fault) as error:
            bad.append(("billing.street", "$.addresses[*].street", reason(error)))

        try:
            v = address["city"]
            if v.__class__ is not str:
                raise wrong("text", v)
            if not v.isprintable() or not v.isascii():
                v = clean(v)
            city = v.strip()
            if not city:
                raise Fault("expected text, got blank text")
            if len(city) > 60:
                raise Fault(f"expected at most 60 characters, got {len(city)}")
        except (KeyError, Fault) as error:
            bad.append(("billing.city", "$.addresses[*].city", reason(error)))

        try:
            v = address["postcode"]
            if v.__class__ is not str:
                raise wrong("text", v)
            if not v.isprintable() or not v.isascii():
                v = clean(v)
            postcode = v.strip()
            if not postcode:
                raise Fault("expected text, got blank text")
            if len(postcode) > 12:
                raise Fault(f"expected at most 12 characters, got {len(postcode)}")
        except (KeyError, Fault) as error:
            bad.append(("billing.postcode", "$.addresses[*].postcode", reason(error)))

        try:
            v = address["country"]
            if v.__class__ is not str:
                raise wrong("text", v)
            if not v.isprintable() or not v.isascii():
                v = clean(v)
            country = v.strip()
            if not country:
                raise Fault("expected text, got blank text")
            if len(country) > 2:
                raise Fault(f"expected at most 2 characters, got {len(country)}")
        except (KeyError, Fault) as error:
            bad.append(("billing.country", "$.addresses[*].country", reason(error)))

    except (KeyError, Fault) as error:
        bad.append(("billing", "$.addresses", reason(error)))

    try:
        language = r.get("language")
        if language is None:
            language = "en"
        else:
            if language.__class__ is not str:
                raise wrong("text", language)
            if not language.isprintable() or not language.isascii():
                language = clean(language)
            language = language.strip() or "en"
            if len(language) > 5:
                raise Fault(f"expected at most 5 characters, got {len(language)}")
    except Fault as error:
        bad.append(("language", "$.language", reason(error)))

    try:
        notes = r.get("notes")
        if notes is not None:
            if notes.__class__ is not str:
                raise wrong("text", notes)
            if not notes.isprintable() or not notes.isascii():
                notes = clean(notes)
            notes = notes.strip() or None
            if notes is not None and len(notes) > 200:
                notes = cut(notes, 200)
    except Fault as error:
        bad.append(("notes", "$.notes", reason(error)))

    if bad:
        return Refused(bad)
    return (
        number, name, email, status, phone, balance, created_at, updated_at,
        {"street": street, "city": city, "postcode": postcode, "country": country},
        "crm", language, notes,
    )  # fmt: skip


ZERO = Decimal("0.00")


def wrong(expected: str, value: object) -> Fault:
    """Return what is wrong with a value of another type or form."""
    size = f" of {len(value)}" if isinstance(value, str | list | dict) else ""
    return Fault(f"expected {expected}, got {type(value).__name__}{size}")


def reason(error: Exception) -> str:
    """Return the words of an error; those of others may quote the value."""
    if isinstance(error, KeyError):
        return "it is required, and not there"
    return str(error) if isinstance(error, Fault) else "it does not exist in the calendar"


def clean(text: str) -> str:
    """Return text that is not plain in NFC, without what nobody sees; refuse what is broken."""
    if text.isprintable():  # all that is refused or removed is not, but for U+FFFD
        if "\ufffd" in text:
            raise Fault("expected text, got some with a replacement character")
        return unicodedata.normalize("NFC", text)
    if is_refused(text):
        raise Fault("expected text, got some with control characters or half a surrogate pair")
    return unicodedata.normalize("NFC", no_marks("", text))


def plain_instant(text: str) -> str:
    """Return an instant in the form that Python reads, of any that ISO 8601 allows."""
    match = is_odd_instant(text.strip())
    if match is None:
        raise wrong("an instant with its offset from UTC", text)
    day, clock, offset = match.groups()
    return f"{day}T{clock}{'+00:00' if offset in 'Zz' else offset}"


def cut(text: str, limit: int) -> str:
    """Return text cut to a limit, never within what a reader sees as one character."""
    if not text.isascii():
        while limit > 0 and _joined(text, limit):
            limit -= 1
        if limit == 0:
            raise Fault("nothing is left of it when it is cut")
    return text[:limit].rstrip()


def _joined(text: str, at: int) -> bool:
    before, after = text[at - 1], text[at]
    if before == "\u200d" or after == "\u200d":
        return True
    if unicodedata.combining(after) or unicodedata.category(after)[0] == "M":
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True
    letters = 0
    if "\U0001f1e6" <= after <= "\U0001f1ff":
        while letters < at and "\U0001f1e6" <= text[at - letters - 1] <= "\U0001f1ff":
            letters += 1
    return letters % 2 == 1
