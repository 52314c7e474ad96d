"""cattrs: a structure function with a hook for each field, all faults collected."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from attrs import define
from cattrs import Converter
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn, override

from benchmarks import mapping_cleaning as cleaning
from benchmarks.mapping_cleaning import FIELDS, row


@define
class Billing:
    street: str
    city: str
    postcode: str
    country: str


@define(kw_only=True)
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


_converter = Converter(detailed_validation=True)


def _field(name: str, function: Any) -> Any:
    return override(rename=FIELDS.get(name), struct_hook=lambda value, _: function(value))


_billing = make_dict_structure_fn(
    Billing,
    _converter,
    **{name: _field(name, getattr(cleaning, name)) for name in Billing.__annotations__},
)
_HOOKS = {
    **{name: getattr(cleaning, name, cleaning.moment) for name in FIELDS},
    "billing": lambda value: _billing(cleaning.address(value), Billing),
}
_structure = make_dict_structure_fn(
    Customer,
    _converter,
    source=override(omit=True),
    **{name: _field(name, _HOOKS[name]) for name, key in FIELDS.items() if key is not None},
)


def customers(contacts: list[dict[str, Any]]) -> list[Any]:
    """Return a row, or what is wrong, for each contact."""
    rows: list[Any] = []
    for contact in contacts:
        try:
            rows.append(row(_structure(contact, Customer)))
        except BaseValidationError as error:
            rows.append(error)
    return rows
