"""What an app hands to a mapping library: one function for each kind of value.

Each returns a value as the destination takes it, or raises ValueError. The libraries call
the same functions, so that what differs is the library; they stand on those that the floor
calls for odd values.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from benchmarks.mapping_by_hand import (
    CENT,
    EXACT,
    STATUS,
    ZERO,
    Fault,
    clean,
    cut,
    is_email,
    is_instant,
    is_number,
    no_phone,
    plain_instant,
)

FIELDS = {
    "number": "id",
    "name": "full_name",
    "email": "email",
    "status": "status",
    "phone": "phone",
    "balance": "balance",
    "created_at": "created",
    "updated_at": "updated_at",
    "billing": "addresses",
    "source": None,
    "language": "language",
    "notes": "notes",
}
"""The destination's fields in their order, with the key of each in the source."""


def row(customer: Any) -> tuple[Any, ...]:
    """Return the row of an object with the destination's fields; the address as a dict."""
    at = customer.billing
    billing = {
        "street": at.street, "city": at.city, "postcode": at.postcode, "country": at.country,
    }  # fmt: skip
    return (
        customer.number, customer.name, customer.email, customer.status, customer.phone,
        customer.balance, customer.created_at, customer.updated_at, billing, customer.source,
        customer.language, customer.notes,
    )  # fmt: skip


def text(value: Any) -> str:
    if value.__class__ is not str:
        raise ValueError("expected text")
    if not value.isprintable() or not value.isascii():
        value = _checked(clean, value)
    return str(value.strip())


def _checked(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Fault as error:
        raise ValueError(str(error)) from None


def number(value: Any) -> str:
    if value.__class__ is int:
        return f"CRM-{value}"
    if not text(value):
        raise ValueError("expected text or an integer")
    return "CRM-" + str(_checked(clean, value))


def _of_at_most(value: Any, limit: int) -> str:
    value = text(value)
    if not value or len(value) > limit:
        raise ValueError(f"expected 1 to {limit} characters")
    return str(value)


def street(value: Any) -> str:
    return _of_at_most(value, 100)


def city(value: Any) -> str:
    return _of_at_most(value, 60)


def postcode(value: Any) -> str:
    return _of_at_most(value, 12)


def country(value: Any) -> str:
    return _of_at_most(value, 2)


def name(value: Any) -> str:
    value = text(value)
    if not value:
        raise ValueError("expected text, got blank text")
    return value if len(value) <= 40 else str(_checked(cut, value, 40))


def email(value: Any) -> str:
    value = text(value).lower()
    if not value.isascii():
        value = text(value)
    if is_email(value) is None or len(value) > 80:
        raise ValueError("expected an e-mail address of at most 80 characters")
    return str(value)


def status(value: Any) -> str:
    found = STATUS.get(value) if value.__class__ is str else None
    if found is None:
        raise ValueError("expected an option that is decided")
    return found


def phone(value: Any) -> str | None:
    if value is None:
        return None
    value = no_phone("", text(value))
    if len(value) > 20:
        raise ValueError("expected at most 20 digits")
    return value or None


def balance(value: Any) -> Decimal:
    if value.__class__ is str:
        value = value.strip()
        if is_number(value) is None:
            raise ValueError("expected a decimal number")
    elif value.__class__ is not int and (value.__class__ is not Decimal or not value.is_finite()):
        raise ValueError("expected a decimal number")
    return Decimal(value).quantize(CENT, "ROUND_HALF_EVEN", EXACT) or ZERO


def moment(value: Any) -> datetime:
    if value.__class__ is not str:
        raise ValueError("expected an instant")
    if is_instant(value) is None:
        value = _checked(plain_instant, value)
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except OverflowError:
        raise ValueError("expected an instant of the calendar") from None


def language(value: Any) -> str:
    value = "" if value is None else text(value)
    if len(value) > 5:
        raise ValueError("expected at most 5 characters")
    return value or "en"


def notes(value: Any) -> str | None:
    value = "" if value is None else text(value)
    return (value if len(value) <= 200 else str(_checked(cut, value, 200))) or None


def address(value: Any) -> dict[str, Any]:
    """Return the address that is taken of a list of them: the billing one, or the first."""
    if value.__class__ is not list or not value:
        raise ValueError("expected a list of at least one address")
    found = None
    for each in value:
        if each.__class__ is not dict:
            raise ValueError("expected an object")
        if found is None and each.get("kind") == "billing":
            found = each
    chosen: dict[str, Any] = value[0] if found is None else found
    return chosen
