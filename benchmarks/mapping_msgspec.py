"""msgspec: shaped by hand, then ``convert`` checks types and limits; the first fault ends it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, ValidationError, convert

from benchmarks import mapping_cleaning as cleaning
from benchmarks.mapping_cleaning import row


class Billing(Struct):
    street: Annotated[str, Meta(min_length=1, max_length=100)]
    city: Annotated[str, Meta(min_length=1, max_length=60)]
    postcode: Annotated[str, Meta(min_length=1, max_length=12)]
    country: Annotated[str, Meta(min_length=1, max_length=2)]


class Customer(Struct, kw_only=True):
    number: str
    name: Annotated[str, Meta(min_length=1, max_length=40)]
    email: Annotated[str, Meta(min_length=1, max_length=80)]
    status: Literal["prospect", "active", "archived", "blocked"]
    phone: Annotated[str, Meta(max_length=20)] | None
    balance: Decimal
    created_at: datetime
    updated_at: datetime
    billing: Billing
    source: str = "crm"
    language: Annotated[str, Meta(max_length=5)]
    notes: Annotated[str, Meta(max_length=200)] | None


def _shaped(contact: dict[str, Any]) -> dict[str, Any]:
    address = cleaning.address(contact["addresses"])
    return {
        "number": cleaning.number(contact["id"]),
        "name": cleaning.name(contact["full_name"]),
        "email": cleaning.email(contact["email"]),
        "status": cleaning.status(contact["status"]),
        "phone": cleaning.phone(contact.get("phone")),
        "balance": cleaning.balance(contact["balance"]),
        "created_at": cleaning.moment(contact["created"]),
        "updated_at": cleaning.moment(contact["updated_at"]),
        "billing": {
            "street": cleaning.text(address["street"]),
            "city": cleaning.text(address["city"]),
            "postcode": cleaning.text(address["postcode"]),
            "country": cleaning.text(address["country"]),
        },
        "language": cleaning.language(contact.get("language")),
        "notes": cleaning.notes(contact.get("notes")),
    }


def customers(contacts: list[dict[str, Any]]) -> list[Any]:
    """Return a row, or what is wrong, for each contact."""
    rows: list[Any] = []
    for contact in contacts:
        try:
            rows.append(row(convert(_shaped(contact), Customer)))
        except (KeyError, ValueError, ValidationError) as error:
            rows.append(error)
    return rows
