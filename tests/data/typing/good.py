"""Mappings in which type checkers find nothing; together they use every rule."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from syncsdk.mapping import (
    EARLIER,
    EMAIL,
    FIRST,
    HALF_DOWN,
    HALF_EVEN,
    HALF_UP,
    LAST,
    LATER,
    LEAVE,
    NULL,
    REJECT,
    REQUIRED,
    SHORTEST,
    TRUNCATE,
    Answer,
    Form,
    TypedMapper,
    by,
    coalesce,
    code,
    constant,
    day,
    decimal,
    drop,
    each,
    flag,
    fragment,
    instant,
    integer,
    join,
    keep,
    label,
    mapping,
    narrower,
    need_one,
    nested,
    one_of,
    split,
    step,
    text,
    to,
    wider,
)

from .systems import (
    Channel,
    CrmAddress,
    CrmContact,
    CrmItem,
    ErpContact,
    ErpLists,
    ErpMoney,
    ErpName,
    ErpPlace,
    ErpPlaces,
    ErpPosition,
    ErpReach,
    ErpStanding,
    ErpTimes,
    ErpUse,
    LedgerEntry,
    LedgerParty,
    ShopAddress,
    ShopBuyer,
    ShopGuest,
    ShopOrder,
    Stage,
    State,
    Tier,
)

SKU: Final = Form("an article number", r"[A-Z]{2}-[0-9]{1,8}")
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


@step(version="1")
def initials(first: str | None, last: str) -> str | None:
    """The first letters of both names; null without a first name."""
    return f"{first[0]}{last[0]}" if first else None


@step(version="1")
def is_abroad(address: Any) -> bool:
    """Whether a city is written with its country."""
    return "," in address["city"]


@fragment
def phone(value: str | None, over: Answer[None]) -> str | None:
    """How both systems write the number of a telephone."""
    return text(value, missing=NULL, keep="0-9+", max=20, over=over, why="it is no number")


# -- A contact -------------------------------------------------------------------------


@mapping
def place(a: CrmAddress) -> ErpPlace:
    drop(a.kind, a.since, why="the ERP keeps one address of a kind")
    return to(ErpPlace)(
        city=text(a.city, max=40, over=TRUNCATE, why="labels are narrow"),
        street=text(a.street, missing=NULL),
    )


@mapping(owner="Sales")
def position(i: CrmItem) -> ErpPosition:
    return to(ErpPosition)(
        article=text(i.sku, case="upper", form=SKU),
        quantity=integer(i.quantity, within=(1, 999)),
        price=decimal(i.price, places=2, rounding=HALF_UP, floats=SHORTEST),
    )


@fragment
def standing(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(
            s.stage,
            {
                Stage.LEAD: State.PROSPECT,
                Stage.CUSTOMER: narrower(State.ACTIVE, why="a customer may owe nothing"),
                Stage.LOST: wider(State.CLOSED, why="the ERP closes for other reasons too"),
            },
            unknown=REJECT,
            never=[State.ARCHIVED],
        ),
        tier=code(
            s.channel,
            {Channel.WEB: Tier.BASIC, Channel.FAIR: Tier.GOLD},
            unknown=Tier.BASIC,
            missing=NULL,
            why="sales decides later",
        ),
        origin=code(
            s.legacy_code,
            {"P": State.PROSPECT, "A": State.ACTIVE},
            unknown=LEAVE,
            never=[State.CLOSED, State.ARCHIVED],
            why="other codes mean nothing",
        ),
    )


@mapping(owner="Sales")
def contact(s: CrmContact) -> ErpContact:
    """A contact becomes a party."""
    drop(s.tags, s.home, s.old_stage, why="no home in the ERP; agreed with Sales")
    need_one(s.email, s.mobile, s.phone, why="nobody could be reached")
    return to(ErpContact)(
        number=label("CRM-{}", s.id),
        name=to(ErpName)(
            full=join(" ", s.first_name, s.name, missing=REJECT, max=80, over=REJECT),
            initials=initials(s.first_name, s.name),
            alias=text(s.nickname, absent=LEAVE, null=NULL, empty=NULL, also=("-", "n/a")),
        ),
        reach=to(ErpReach)(
            email=text(s.email, case="lower", form=EMAIL, max=80, over=REJECT),
            phone=phone(coalesce(s.mobile, s.phone, missing=""), over=NULL),
            fax=split(s.legacy_code, ":", 1, missing=LEAVE, why="the branch stands before it"),
        ),
        standing=standing(s),
        use=to(ErpUse)(
            visits=integer(s.visits, within=(0, 10**6), bad=0, why="the CRM guesses"),
            seats=integer(s.seats, missing=NULL),
            newsletter=flag(s.newsletter, true=["Y"], false=["N", 0], missing=False),
        ),
        money=to(ErpMoney)(
            total=decimal(s.balance, places=2, rounding=HALF_EVEN, bad=Decimal(0), why="agreed"),
            discount=decimal(
                s.discount,
                places=4,
                rounding=HALF_DOWN,
                floats=SHORTEST,
                within=(0, 1),
                missing=NULL,
            ),
        ),
        times=to(ErpTimes)(
            created=instant(s.created_at, zone=REQUIRED),
            seen=instant(
                s.seen_at, zone="Europe/Berlin", ambiguous=EARLIER, gap=LATER, missing=NULL
            ),
            born=day(s.birthday, missing=NULL, bad=NULL, why="no reason to refuse"),
        ),
        places=to(ErpPlaces)(
            office=place(s.office),
            billing=one_of(
                s.addresses,
                place,
                prefer=lambda a: (a.kind == "billing") & (a.city != "") | (a.kind == "main"),
                several=by(lambda a: a.since),
                otherwise=LAST,
                none=NULL,
                why="the ERP bills to one address",
            ),
        ),
        lists=to(ErpLists)(
            others=each(s.addresses, place, missing=[]),
            positions=each(s.items, position),
        ),
        source=constant("crm"),
    )


@mapping
def lead(s: CrmContact) -> ErpContact:
    """The same contact by other rules."""
    drop(
        s.tags,
        s.addresses,
        s.old_stage,
        s.created_at,
        s.email,
        s.visits,
        why="a lead has none that count",
    )
    return to(ErpContact)(
        number=label("{}/{}", s.legacy_code, s.id),
        name=to(ErpName)(
            full=text(s.name),
            initials=text(s.first_name, missing="?", max=3, over=NULL, unit="bytes", why="no room"),
            alias=keep(s.nickname),
        ),
        reach=to(ErpReach)(
            email=text(
                s.mobile, missing=REJECT, form=EMAIL, bad="a@b.org", max=80, over=REJECT, why="x"
            ),
            phone=coalesce(s.phone, missing=NULL),
            fax=constant("-"),
        ),
        standing=to(ErpStanding)(
            state=code(
                s.stage,
                {
                    Stage.LEAD: State.PROSPECT,
                    Stage.CUSTOMER: State.ACTIVE,
                    Stage.LOST: State.CLOSED,
                },
                unknown=State.ARCHIVED,
                why="nobody may deal with it",
            ),
            tier=code(
                s.channel,
                {Channel.WEB: Tier.BASIC, Channel.FAIR: Tier.GOLD},
                unknown=REJECT,
                missing=NULL,
            ),
            origin=constant(State.PROSPECT),
        ),
        use=to(ErpUse)(
            visits=constant(0),
            seats=keep(s.seats),
            newsletter=flag(s.newsletter, missing=False),
        ),
        money=to(ErpMoney)(
            total=decimal(s.balance, places=2, rounding=HALF_EVEN),
            discount=decimal(
                s.discount, places=2, rounding=HALF_UP, floats=SHORTEST, missing=Decimal(0)
            ),
        ),
        times=to(ErpTimes)(
            created=instant(s.seen_at, zone=REQUIRED, missing=NEVER),
            seen=constant(None),
            born=day(s.birthday, missing=date(1900, 1, 1)),
        ),
        places=to(ErpPlaces)(office=place(s.office), billing=nested(s.home, place, missing=NULL)),
        lists=to(ErpLists)(others=constant([]), positions=each(s.items, position, missing=NULL)),
        source=constant("crm"),
    )


@mapping
def branch(a: CrmAddress) -> ErpReach:
    """Text in the forms that are left."""
    return to(ErpReach)(
        email=join("@", a.kind, a.city, missing="nobody", max=80, over=TRUNCATE, why="no room"),
        phone=text(
            a.street,
            absent=NULL,
            null="none",
            empty=REJECT,
            max=9,
            over=TRUNCATE,
            unit="utf16",
            why="no room",
        ),
        fax=text(a.since, form=Form("a year", r"[0-9]{4}"), bad=LEAVE, why="nothing else fits"),
    )


@mapping
def offices(s: CrmContact) -> ErpPlaces:
    """A preference that is a step."""
    drop(s.id, s.name, s.first_name, s.nickname, s.email, s.mobile, s.phone, why="elsewhere")
    drop(s.stage, s.channel, s.newsletter, s.visits, s.seats, s.balance, why="elsewhere")
    drop(s.discount, s.seen_at, s.birthday, s.tags, s.legacy_code, why="elsewhere")
    drop(s.old_stage, s.created_at, s.office, s.items, why="elsewhere")
    return to(ErpPlaces)(
        office=one_of(
            s.addresses,
            place,
            prefer=is_abroad,
            several=FIRST,
            otherwise=REJECT,
            none=REJECT,
            why="there is one office",
        ),
        billing=nested(s.home, place, missing=REJECT),
    )


# -- An order --------------------------------------------------------------------------


@mapping
def buyer(b: ShopBuyer) -> LedgerParty:
    return {"mail": text(b["mail"], form=EMAIL), "name": text(b["name"], missing=NULL)}


@mapping
def guest(g: ShopGuest) -> LedgerParty:
    return {
        "mail": text(g["mail"], form=EMAIL),
        "name": text(g.get("name"), missing=NULL),
    }


@mapping
def city(a: ShopAddress) -> ErpPlace:
    return to(ErpPlace)(city=text(a["city"], max=40, over=REJECT), street=constant(None))


@mapping
def entry(o: ShopOrder) -> LedgerEntry:
    drop(o["tags"], o["ship_from"], why="no home in the ledger")
    return {
        "number": label("S{}", o["number"]),
        "kind": code(o["kind"], {"sale": "INV", "return": "CRN"}, unknown=REJECT),
        "amount": decimal(o["total"], places=2, rounding=HALF_EVEN),
        "remark": text(o["remark"], missing=NULL),
        "coupon": text(o["coupon"], missing=LEAVE),
        "placed": instant(o["placed_at"], zone=REQUIRED),
        "party": buyer(o["buyer"]),
        "place": nested(o["ship_to"], city, missing=NULL),
    }


def entries(tenant: str, zone: str) -> TypedMapper[ShopOrder, LedgerEntry]:
    """Return how the orders of a tenant are entered."""

    @mapping(owner="Finance")
    def entry(o: ShopOrder) -> LedgerEntry:
        drop(o["kind"], o["ship_to"], o["ship_from"], o["tags"], why="no home in the ledger")
        return {
            "number": label(tenant + "-{}", o["number"]),
            "kind": constant("INV"),
            "amount": decimal(o["total"], places=2, rounding=HALF_EVEN),
            "remark": text(o["remark"], missing=NULL, max=9, over=TRUNCATE, why="no room"),
            "coupon": text(o["coupon"], missing=LEAVE),
            "placed": instant(o["placed_at"], zone=zone),
            "party": buyer(o["buyer"]),
            "place": constant(None),
        }

    return entry
