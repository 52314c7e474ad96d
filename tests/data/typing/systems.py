"""A CRM and a shop, an ERP and its ledger, as classes: what the mappings here stand between.

Read this, then ``good``, which uses every rule, then ``mistakes``.
"""

from __future__ import annotations

import enum
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal, NotRequired, TypedDict

from attrs import define, field

from syncsdk.mapping import about
from syncsdk.values import Unset

# -- Where records come from -----------------------------------------------------------


class Stage(enum.Enum):
    LEAD = "lead"
    CUSTOMER = "customer"
    LOST = "lost"


class Channel(enum.Enum):
    WEB = "web"
    FAIR = "fair"


@define
class CrmAddress:
    kind: str
    city: str
    street: str | None
    since: str


@define
class CrmItem:
    sku: str
    quantity: int
    price: str | float


@define
class CrmContact:
    """A contact as the CRM lists it."""

    id: int
    name: str
    first_name: str | None = field(metadata=about(key="firstName"))
    nickname: str | Unset | None
    email: str = field(metadata=about(sensitive=True))
    mobile: str | None
    phone: str | None
    stage: Stage
    old_stage: Stage | None
    channel: Channel | None
    newsletter: str | bool | None
    visits: str
    seats: int | None
    balance: str
    discount: float | None
    created_at: str
    seen_at: str | None
    birthday: str | None
    office: CrmAddress
    home: CrmAddress | None
    addresses: list[CrmAddress]
    items: list[CrmItem]
    tags: list[str]
    legacy_code: str


class ShopBuyer(TypedDict):
    mail: str
    name: str | None


class ShopGuest(TypedDict):
    """A buyer without an account, who may give no name."""

    mail: str
    name: NotRequired[str]


class ShopAddress(TypedDict):
    city: str


class ShopOrder(TypedDict):
    """An order as the shop sends it."""

    number: Annotated[int, about(key="orderNumber")]
    kind: Literal["sale", "return"]
    total: str
    remark: str | None
    coupon: str | Unset
    placed_at: str
    buyer: ShopBuyer
    ship_to: ShopAddress | None
    ship_from: ShopAddress
    tags: list[str]


# -- Where they go ---------------------------------------------------------------------


class State(enum.Enum):
    PROSPECT = "P"
    ACTIVE = "A"
    CLOSED = "C"
    ARCHIVED = "X"


class Tier(enum.Enum):
    GOLD = 1
    BASIC = 2


@define
class ErpPlace:
    city: str = field(metadata=about(max=40))
    street: str | None


@define
class ErpPosition:
    article: str
    quantity: int
    price: Decimal


@define
class ErpName:
    """How a party is called; ``alias`` can be left alone, ``initials`` cannot."""

    full: str
    initials: str | None
    alias: str | Unset | None


@define
class ErpReach:
    """How a party is reached."""

    email: str = field(metadata=about(max=80))
    phone: str | None
    fax: str | Unset


@define
class ErpStanding:
    state: State
    tier: Tier | None
    origin: State | Unset


@define
class ErpUse:
    visits: int
    seats: int | None
    newsletter: bool


@define
class ErpMoney:
    total: Decimal
    discount: Decimal | None


@define
class ErpTimes:
    created: datetime
    seen: datetime | None
    born: date | None


@define
class ErpPlaces:
    office: ErpPlace
    billing: ErpPlace | None


@define
class ErpLists:
    others: list[ErpPlace]
    positions: list[ErpPosition] | None


@define
class ErpContact:
    """A party as the ERP keeps it."""

    number: str
    name: ErpName
    reach: ErpReach
    standing: ErpStanding
    use: ErpUse
    money: ErpMoney
    times: ErpTimes
    places: ErpPlaces
    lists: ErpLists
    source: str


class LedgerParty(TypedDict):
    mail: str
    name: str | None


class LedgerEntry(TypedDict):
    """An entry of the ledger."""

    number: str
    kind: Literal["INV", "CRN"]
    amount: Annotated[Decimal, about(key="Amount")]
    remark: str | None
    coupon: NotRequired[str | Unset]
    placed: datetime
    party: LedgerParty
    place: ErpPlace | None
