"""glom: one specification of paths and functions; the first fault ends it."""

from __future__ import annotations

from typing import Any

from glom import Coalesce, GlomError, Val, glom

from benchmarks import mapping_cleaning as cleaning

_SPEC = {
    "number": ("id", cleaning.number),
    "name": ("full_name", cleaning.name),
    "email": ("email", cleaning.email),
    "status": ("status", cleaning.status),
    "phone": (Coalesce("phone", default=None), cleaning.phone),
    "balance": ("balance", cleaning.balance),
    "created_at": ("created", cleaning.moment),
    "updated_at": ("updated_at", cleaning.moment),
    "billing": (
        "addresses",
        cleaning.address,
        {
            "street": ("street", cleaning.street),
            "city": ("city", cleaning.city),
            "postcode": ("postcode", cleaning.postcode),
            "country": ("country", cleaning.country),
        },
    ),
    "source": Val("crm"),
    "language": (Coalesce("language", default=None), cleaning.language),
    "notes": (Coalesce("notes", default=None), cleaning.notes),
}


def customers(contacts: list[dict[str, Any]]) -> list[Any]:
    """Return a row, or what is wrong, for each contact."""
    rows: list[Any] = []
    for contact in contacts:
        try:
            rows.append(tuple(glom(contact, _SPEC).values()))
        except (ValueError, GlomError) as error:
            rows.append(error)
    return rows
