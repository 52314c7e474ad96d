"""The contender: the same mapping declared, as an app would write it.

:func:`define` reads, checks and compiles it afresh each time, as importing a module does.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from attrs import define as record
from attrs import field

from syncsdk.mapping import (
    EMAIL,
    FIRST,
    HALF_EVEN,
    NULL,
    REJECT,
    REQUIRED,
    TRUNCATE,
    TypedMapper,
    about,
    code,
    constant,
    decimal,
    drop,
    instant,
    label,
    mapping,
    one_of,
    text,
    to,
)
from syncsdk.values import Unset

BATCH = 500
"""How many records a pipeline maps at once."""


@record
class Address:
    """One of a contact's addresses."""

    kind: str
    street: str
    city: str
    postcode: str
    country: str


@record
class Contact:
    """What the source sends."""

    id: str | int
    updated_at: str
    full_name: str
    email: str
    status: Literal["LEAD", "CONTACTED", "QUALIFIED", "WON", "LOST", "BLOCKED"]
    balance: str
    phone: str | Unset | None
    created: str
    addresses: list[Address]
    tags: list[str]
    language: str | Unset | None
    notes: str | Unset | None


@record
class Billing:
    """Where the invoices go."""

    street: str = field(metadata=about(max=100))
    city: str = field(metadata=about(max=60))
    postcode: str = field(metadata=about(max=12))
    country: str = field(metadata=about(max=2))


@record
class Customer:
    """What the destination takes."""

    number: str
    name: str = field(metadata=about(max=40))
    email: str = field(metadata=about(max=80))
    status: Literal["prospect", "active", "archived", "blocked"]
    phone: str | None = field(metadata=about(max=20))
    balance: Decimal
    created_at: datetime
    updated_at: datetime
    billing: Billing
    source: str
    language: str = field(metadata=about(max=5))
    notes: str | None = field(metadata=about(max=200))


def define() -> TypedMapper[Contact, Customer]:
    """Return the mapping, defined anew."""

    @mapping
    def billing(a: Address) -> Billing:
        drop(a.kind, why="only decides which address is taken")
        return to(Billing)(
            street=text(a.street, max=100, over=REJECT),
            city=text(a.city, max=60, over=REJECT),
            postcode=text(a.postcode, max=12, over=REJECT),
            country=text(a.country, max=2, over=REJECT),
        )

    @mapping
    def customer(s: Contact) -> Customer:
        drop(s.tags, why="no home in the destination")
        return to(Customer)(
            number=label("CRM-{}", s.id),
            name=text(s.full_name, max=40, over=TRUNCATE, why="the column holds no more"),
            email=text(s.email, case="lower", form=EMAIL, max=80, over=REJECT),
            status=code(
                s.status,
                {
                    "LEAD": "prospect",
                    "CONTACTED": "prospect",
                    "QUALIFIED": "prospect",
                    "WON": "active",
                    "LOST": "archived",
                    "BLOCKED": "blocked",
                },
                unknown=REJECT,
            ),
            phone=text(s.phone, keep="0-9+", max=20, over=REJECT, missing=NULL),
            balance=decimal(s.balance, places=2, rounding=HALF_EVEN),
            created_at=instant(s.created, zone=REQUIRED),
            updated_at=instant(s.updated_at, zone=REQUIRED),
            billing=one_of(
                s.addresses,
                billing,
                prefer=lambda a: a.kind == "billing",
                several=FIRST,
                otherwise=FIRST,
                none=REJECT,
                why="the destination has one address",
            ),
            source=constant("crm"),
            language=text(s.language, max=5, over=REJECT, missing="en"),
            notes=text(
                s.notes, max=200, over=TRUNCATE, missing=NULL, why="the column holds no more"
            ),
        )

    return customer


_mapper = define()


def customers(contacts: list[dict[str, Any]]) -> list[Any]:
    """Return a row, or what is wrong, for each contact."""
    return _mapper.map_batch(contacts)
