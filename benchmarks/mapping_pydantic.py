"""pydantic: a model with a validator for each field, all faults collected."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, ValidationError

from benchmarks import mapping_cleaning as cleaning
from benchmarks.mapping_cleaning import row


class Billing(BaseModel):
    street: Annotated[str, PlainValidator(cleaning.street)]
    city: Annotated[str, PlainValidator(cleaning.city)]
    postcode: Annotated[str, PlainValidator(cleaning.postcode)]
    country: Annotated[str, PlainValidator(cleaning.country)]


class Customer(BaseModel):
    number: Annotated[str, PlainValidator(cleaning.number), Field(validation_alias="id")]
    name: Annotated[str, PlainValidator(cleaning.name), Field(validation_alias="full_name")]
    email: Annotated[str, PlainValidator(cleaning.email)]
    status: Annotated[str, PlainValidator(cleaning.status)]
    phone: Annotated[str | None, PlainValidator(cleaning.phone)] = None
    balance: Annotated[Decimal, PlainValidator(cleaning.balance)]
    created_at: Annotated[
        datetime, PlainValidator(cleaning.moment), Field(validation_alias="created")
    ]
    updated_at: Annotated[datetime, PlainValidator(cleaning.moment)]
    billing: Annotated[
        Billing, BeforeValidator(cleaning.address), Field(validation_alias="addresses")
    ]
    language: Annotated[str, PlainValidator(cleaning.language)] = "en"
    notes: Annotated[str | None, PlainValidator(cleaning.notes)] = None
    source: Annotated[str, Field(init=False, validation_alias="(not in the source)")] = "crm"


_validate = Customer.__pydantic_validator__.validate_python


def customers(contacts: list[dict[str, Any]]) -> list[Any]:
    """Return a row, or what is wrong, for each contact."""
    rows: list[Any] = []
    for contact in contacts:
        try:
            rows.append(row(_validate(contact)))
        except ValidationError as error:
            rows.append(error)
    return rows
