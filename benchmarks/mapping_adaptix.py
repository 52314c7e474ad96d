"""adaptix: a retort with a loader for each field, all faults collected with their trail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from adaptix import Chain, DebugTrail, P, Retort, loader, name_mapping
from adaptix.load_error import LoadError, ValueLoadError

from benchmarks import mapping_cleaning as cleaning
from benchmarks.mapping_cleaning import FIELDS, row


@dataclass
class Billing:
    street: str
    city: str
    postcode: str
    country: str


@dataclass(kw_only=True)
class Customer:
    number: str
    name: str
    email: str
    status: str
    phone: str | None = None
    balance: Decimal
    created_at: datetime
    updated_at: datetime
    billing: Billing
    source: str = "crm"
    language: str = "en"
    notes: str | None = None


def _field(kind: Any, name: str, chain: Chain | None = None) -> Any:
    function = getattr(cleaning, {"billing": "address"}.get(name, name), cleaning.moment)

    def load(value: Any) -> Any:
        try:
            return function(value)
        except ValueError as error:
            raise ValueLoadError(str(error), value) from None

    return loader(getattr(P[kind], name), load, chain)


_load = Retort(
    debug_trail=DebugTrail.ALL,
    recipe=[
        name_mapping(Customer, map={n: key for n, key in FIELDS.items() if key}, skip=["source"]),
        *(_field(Billing, name) for name in Billing.__annotations__),
        *(
            _field(Customer, name, Chain.FIRST if name == "billing" else None)
            for name, key in FIELDS.items()
            if key
        ),
    ],
).get_loader(Customer)


def customers(contacts: list[dict[str, Any]]) -> list[Any]:
    """Return a row, or what is wrong, for each contact."""
    rows: list[Any] = []
    for contact in contacts:
        try:
            rows.append(row(_load(contact)))
        except LoadError as error:
            rows.append(error)
    return rows
