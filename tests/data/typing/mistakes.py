"""Mappings with one mistake each, on the line that names it; never imported, for they raise.

A checker must report each marked line, and no other line. The mark stands on the rule; where
a whole field is wrong or left out, on the line where the call of it begins.
"""

from __future__ import annotations

from typing import Any

from syncsdk.mapping import (
    FIRST,
    HALF_UP,
    LEAVE,
    NULL,
    REJECT,
    REQUIRED,
    TRUNCATE,
    by,
    coalesce,
    code,
    constant,
    day,
    decimal,
    drop,
    each,
    flag,
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
)

from .good import city, phone, place, position
from .systems import (
    Channel,
    CrmAddress,
    CrmContact,
    CrmItem,
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
    LedgerParty,
    ShopBuyer,
    ShopGuest,
    ShopOrder,
    Stage,
    State,
    Tier,
)

STATES = {Stage.LEAD: State.PROSPECT, Stage.CUSTOMER: State.ACTIVE, Stage.LOST: State.CLOSED}
TIERS = {Stage.LEAD: Tier.BASIC, Stage.CUSTOMER: Tier.GOLD, Stage.LOST: Tier.BASIC}
RANKS = {Channel.WEB: Tier.BASIC, Channel.FAIR: Tier.GOLD}


@step(version="1")
def upper(value: str) -> str:
    """Capital letters."""
    return value.upper()


@step(version="1")
def digits(value: str) -> int:
    """How many digits there are."""
    return sum(map(str.isdigit, value))


@step(version="1")
def is_billing(address: Any) -> bool:
    """Whether it is the address of bills."""
    return bool(address["kind"] == "billing")


@mapping
def item_place(i: CrmItem) -> ErpPlace:
    drop(i.quantity, i.price, why="no use")
    return to(ErpPlace)(city=text(i.sku), street=constant(None))


@mapping
def address_name(a: CrmAddress) -> ErpName:
    drop(a.kind, a.since, a.street, why="no use")
    return to(ErpName)(full=text(a.city), initials=constant(None), alias=constant(None))


@mapping
def buyer_place(b: ShopBuyer) -> ErpPlace:
    drop(b["name"], why="no use")
    return to(ErpPlace)(city=text(b["mail"]), street=constant(None))


# -- Names -------------------------------------------------------------------------------


@mapping
def misspelt_source_field(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.citty),  # mistake: misspelt source field
        street=text(a.street, missing=NULL),
    )


@mapping
def misspelt_destination(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(city=text(a.city), sreet=constant(None))  # mistake: misspelt destination


@mapping
def misspelt_source_key(b: ShopBuyer) -> LedgerParty:
    return {
        "mail": text(b["email"]),  # mistake: misspelt source key
        "name": text(b["name"], missing=NULL),
    }


@mapping
def misspelt_destination_key(b: ShopBuyer) -> LedgerParty:
    return {"mail": text(b["mail"]), "nmae": constant(None)}  # mistake: misspelt destination key


@mapping
def misspelt_option(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.stage, STATES, unknown=State.ARCHIVE),  # mistake: misspelt option
        tier=constant(Tier.BASIC),
        origin=constant(State.PROSPECT),
    )


@mapping
def forgotten_destination_field(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(  # mistake: forgotten destination field
        city=text(a.city),
    )


@mapping
def forgotten_destination_key(b: ShopBuyer) -> LedgerParty:
    return {  # mistake: forgotten destination key
        "mail": text(b["mail"]),
    }


@mapping
def another_class_returned(a: CrmAddress) -> ErpName:
    return to(ErpPlace)(  # mistake: another class returned
        city=text(a.city),
        street=text(a.street, missing=NULL),
    )


# -- Types -------------------------------------------------------------------------------


@mapping
def wrong_type_into_a_field(s: CrmContact) -> ErpTimes:
    return to(ErpTimes)(
        created=day(s.created_at),  # mistake: wrong type into a field
        seen=constant(None),
        born=day(s.birthday, missing=NULL),
    )


@mapping
def wrong_type_into_a_key(b: ShopBuyer) -> LedgerParty:
    return {
        "mail": integer(b["mail"]),  # mistake: wrong type into a key
        "name": text(b["name"], missing=NULL),
    }


@mapping
def text_of_a_number(i: CrmItem) -> ErpPosition:
    return to(ErpPosition)(
        article=text(i.quantity),  # mistake: text of a number
        quantity=integer(i.quantity),
        price=decimal(i.price, places=2, rounding=HALF_UP),
    )


@mapping
def raw_text_into_decimal(i: CrmItem) -> ErpPosition:
    return to(ErpPosition)(
        article=text(i.sku),
        quantity=integer(i.quantity),
        price=i.sku,  # mistake: raw text into Decimal
    )


@mapping
def kept_text_into_decimal(i: CrmItem) -> ErpPosition:
    return to(ErpPosition)(
        article=text(i.sku),
        quantity=integer(i.quantity),
        price=keep(i.sku),  # mistake: kept text into Decimal
    )


@mapping
def raw_text_into_datetime(s: CrmContact) -> ErpTimes:
    return to(ErpTimes)(
        created=s.created_at,  # mistake: raw text into datetime
        seen=constant(None),
        born=day(s.birthday, missing=NULL),
    )


@mapping
def kept_null_into_required(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=keep(a.street),  # mistake: kept null into required
        street=text(a.street, missing=NULL),
    )


@mapping
def label_of_a_list(s: CrmContact) -> ErpName:
    return to(ErpName)(
        full=label("{}", s.tags),  # mistake: label of a list
        initials=constant(None),
        alias=text(s.nickname, missing=NULL),
    )


@mapping
def label_of_an_optional_field(s: CrmContact) -> ErpName:
    return to(ErpName)(
        full=label("{} {}", s.first_name, s.name),  # mistake: label of an optional field
        initials=constant(None),
        alias=text(s.nickname, missing=NULL),
    )


@mapping
def join_of_a_list(s: CrmContact) -> ErpName:
    return to(ErpName)(
        full=join(", ", s.tags, missing=REJECT),  # mistake: join of a list
        initials=constant(None),
        alias=text(s.nickname, missing=NULL),
    )


@mapping
def split_of_a_list(s: CrmContact) -> ErpName:
    return to(ErpName)(
        full=split(s.tags, ", ", 0, missing=REJECT, why="x"),  # mistake: split of a list
        initials=constant(None),
        alias=text(s.nickname, missing=NULL),
    )


@mapping
def constant_of_another_type(s: CrmContact) -> ErpName:
    return to(ErpName)(
        full=text(s.name),
        initials=constant(5),  # mistake: constant of another type
        alias=text(s.nickname, missing=NULL),
    )


@mapping
def constant_null_into_required(s: CrmContact) -> ErpName:
    return to(ErpName)(
        full=constant(None),  # mistake: constant null into required
        initials=constant(None),
        alias=text(s.nickname, missing=NULL),
    )


@mapping
def constant_of_another_enum(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.stage, STATES, unknown=REJECT),
        tier=constant(State.ACTIVE),  # mistake: constant of another enum
        origin=constant(State.PROSPECT),
    )


@mapping
def coalesce_of_another_type(s: CrmContact) -> ErpReach:
    return to(ErpReach)(
        email=text(s.email),
        phone=coalesce(s.seats, missing=REJECT),  # mistake: coalesce of another type
        fax=text(s.phone, missing=LEAVE),
    )


@mapping
def coalesce_of_two_types(s: CrmContact) -> ErpReach:
    return to(ErpReach)(
        email=text(s.email),
        phone=coalesce(s.phone, s.seats, missing=REJECT),  # mistake: coalesce of two types
        fax=text(s.phone, missing=LEAVE),
    )


@mapping
def coalesce_default_of_another_type(s: CrmContact) -> ErpReach:
    return to(ErpReach)(
        email=coalesce(s.phone, missing=0),  # mistake: coalesce default of another type
        phone=text(s.phone, missing=NULL),
        fax=text(s.phone, missing=LEAVE),
    )


@mapping
def coalesce_null_into_required(s: CrmContact) -> ErpReach:
    return to(ErpReach)(
        email=coalesce(s.phone, missing=NULL),  # mistake: coalesce null into required
        phone=text(s.phone, missing=NULL),
        fax=text(s.phone, missing=LEAVE),
    )


@mapping
def fragment_given_another_type(s: CrmContact) -> ErpReach:
    return to(ErpReach)(
        email=text(s.email),
        phone=phone(s.seats, over=NULL),  # mistake: fragment given another type
        fax=text(s.phone, missing=LEAVE),
    )


@mapping
def fragment_given_another_answer(s: CrmContact) -> ErpReach:
    return to(ErpReach)(
        email=text(s.email),
        phone=phone(s.phone, over=LEAVE),  # mistake: fragment given another answer
        fax=text(s.phone, missing=LEAVE),
    )


# -- What may be missing -----------------------------------------------------------------


@mapping
def null_into_required(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.street, missing=NULL),  # mistake: null into required
        street=text(a.street, missing=NULL),
    )


@mapping
def null_into_a_required_number(s: CrmContact) -> ErpUse:
    return to(ErpUse)(
        visits=integer(s.seats, missing=NULL),  # mistake: null into a required number
        seats=integer(s.seats, missing=NULL),
        newsletter=flag(s.newsletter, missing=False),
    )


@mapping
def null_into_a_required_flag(s: CrmContact) -> ErpUse:
    return to(ErpUse)(
        visits=integer(s.visits),
        seats=integer(s.seats, missing=NULL),
        newsletter=flag(s.newsletter, missing=NULL),  # mistake: null into a required flag
    )


@mapping
def null_decimal(s: CrmContact) -> ErpMoney:
    return to(ErpMoney)(
        total=decimal(s.seats, places=2, rounding=HALF_UP, missing=NULL),  # mistake: null Decimal
        discount=constant(None),
    )


@mapping
def null_into_a_field_that_can_be_left(s: CrmContact) -> ErpReach:
    return to(ErpReach)(
        email=text(s.email),
        phone=text(s.phone, missing=NULL),
        fax=text(s.phone, missing=NULL),  # mistake: null into a field that can be left
    )


@mapping
def leave_into_a_plain_field(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.street, missing=LEAVE),  # mistake: LEAVE into a plain field
        street=text(a.street, missing=NULL),
    )


@mapping
def leave_into_a_nullable_field(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.city),
        street=text(a.street, missing=LEAVE),  # mistake: LEAVE into a nullable field
    )


@mapping
def leave_into_a_required_key(b: ShopBuyer) -> LedgerParty:
    return {
        "mail": text(b["mail"]),
        "name": text(b["name"], missing=LEAVE),  # mistake: LEAVE into a required key
    }


@mapping
def optional_source_without_missing(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.city),
        street=text(a.street),  # mistake: optional source without missing
    )


@mapping
def optional_key_without_missing(b: ShopBuyer) -> LedgerParty:
    return {
        "mail": text(b["mail"]),
        "name": text(b["name"]),  # mistake: optional key without missing
    }


@mapping
def notrequired_key_without_missing(g: ShopGuest) -> LedgerParty:
    return {
        "mail": text(g["mail"]),
        "name": text(g["name"]),  # mistake: NotRequired key without missing
    }


@mapping
def optional_integer(s: CrmContact) -> ErpUse:
    return to(ErpUse)(
        visits=integer(s.visits),
        seats=integer(s.seats),  # mistake: optional integer
        newsletter=flag(s.newsletter, missing=False),
    )


@mapping
def optional_flag(s: CrmContact) -> ErpUse:
    return to(ErpUse)(
        visits=integer(s.visits),
        seats=integer(s.seats, missing=NULL),
        newsletter=flag(s.newsletter),  # mistake: optional flag
    )


@mapping
def optional_decimal(s: CrmContact) -> ErpMoney:
    return to(ErpMoney)(
        total=decimal(s.balance, places=2, rounding=HALF_UP),
        discount=decimal(s.discount, places=2, rounding=HALF_UP),  # mistake: optional decimal
    )


@mapping
def optional_instant(s: CrmContact) -> ErpTimes:
    return to(ErpTimes)(
        created=instant(s.created_at, zone=REQUIRED),
        seen=instant(s.seen_at, zone=REQUIRED),  # mistake: optional instant
        born=day(s.birthday, missing=NULL),
    )


@mapping
def optional_day(s: CrmContact) -> ErpTimes:
    return to(ErpTimes)(
        created=instant(s.created_at, zone=REQUIRED),
        seen=constant(None),
        born=day(s.birthday),  # mistake: optional day
    )


@mapping
def field_of_an_optional_object(s: CrmContact) -> ErpName:
    return to(ErpName)(
        full=text(s.home.city),  # mistake: field of an optional object
        initials=constant(None),
        alias=text(s.nickname, missing=NULL),
    )


@mapping
def absent_and_null_without_empty(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.city),
        street=text(a.street, absent=NULL, null=NULL),  # mistake: absent and null without empty
    )


@mapping
def missing_of_another_type(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.city),
        street=text(a.street, missing=0),  # mistake: missing of another type
    )


@mapping
def missing_text_for_a_number(s: CrmContact) -> ErpUse:
    return to(ErpUse)(
        visits=integer(s.visits),
        seats=integer(s.seats, missing="0"),  # mistake: missing text for a number
        newsletter=flag(s.newsletter, missing=False),
    )


@mapping
def decimal_default(s: CrmContact) -> ErpMoney:
    return to(ErpMoney)(
        total=decimal(s.seats, places=2, rounding=HALF_UP, missing="0"),  # mistake: Decimal default
        discount=constant(None),
    )


@mapping
def bad_null_into_required(s: CrmContact) -> ErpUse:
    return to(ErpUse)(
        visits=integer(s.visits, bad=NULL, why="x"),  # mistake: bad null into required
        seats=integer(s.seats, missing=NULL),
        newsletter=flag(s.newsletter, missing=False),
    )


# -- Decisions left out, or where they decide nothing ------------------------------------


@mapping
def max_without_over(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.city, max=40),  # mistake: max without over
        street=text(a.street, missing=NULL),
    )


@mapping
def over_without_max(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.city, over=REJECT),  # mistake: over without max
        street=text(a.street, missing=NULL),
    )


@mapping
def over_null_into_required(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.city, max=40, over=NULL),  # mistake: over null into required
        street=text(a.street, missing=NULL),
    )


@mapping
def over_null_of_an_optional(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.street, missing=REJECT, max=9, over=NULL),  # mistake: over null of an optional
        street=text(a.street, missing=NULL),
    )


@mapping
def unit_misspelt(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.city, max=40, over=REJECT, unit="byte"),  # mistake: unit misspelt
        street=text(a.street, missing=NULL),
    )


@mapping
def join_without_missing(s: CrmContact) -> ErpName:
    return to(ErpName)(
        full=join(" ", s.first_name, s.name),  # mistake: join without missing
        initials=constant(None),
        alias=text(s.nickname, missing=NULL),
    )


@mapping
def join_with_max_without_over(s: CrmContact) -> ErpName:
    return to(ErpName)(
        full=join(" ", s.name, missing=REJECT, max=9),  # mistake: join with max without over
        initials=constant(None),
        alias=text(s.nickname, missing=NULL),
    )


@mapping
def cut_for_a_missing_value(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.street, missing=TRUNCATE),  # mistake: cut for a missing value
        street=text(a.street, missing=NULL),
    )


@mapping
def first_for_a_long_text(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.city, max=40, over=FIRST),  # mistake: first for a long text
        street=text(a.street, missing=NULL),
    )


@mapping
def instant_without_zone(s: CrmContact) -> ErpTimes:
    return to(ErpTimes)(
        created=instant(s.created_at),  # mistake: instant without zone
        seen=constant(None),
        born=day(s.birthday, missing=NULL),
    )


@mapping
def decimal_without_places(i: CrmItem) -> ErpPosition:
    return to(ErpPosition)(
        article=text(i.sku),
        quantity=integer(i.quantity),
        price=decimal(i.price, rounding=HALF_UP),  # mistake: decimal without places
    )


@mapping
def decimal_without_rounding(i: CrmItem) -> ErpPosition:
    return to(ErpPosition)(
        article=text(i.sku),
        quantity=integer(i.quantity),
        price=decimal(i.price, places=2),  # mistake: decimal without rounding
    )


@mapping
def rounding_misspelt(i: CrmItem) -> ErpPosition:
    return to(ErpPosition)(
        article=text(i.sku),
        quantity=integer(i.quantity),
        price=decimal(i.price, places=2, rounding="HALF_UP"),  # mistake: rounding misspelt
    )


@mapping
def drop_without_why(a: CrmAddress) -> ErpPlace:
    drop(a.kind, a.since)  # mistake: drop without why
    return to(ErpPlace)(
        city=text(a.city),
        street=text(a.street, missing=NULL),
    )


@mapping
def need_one_without_why(a: CrmAddress) -> ErpPlace:
    need_one(a.kind, a.since)  # mistake: need_one without why
    return to(ErpPlace)(
        city=text(a.city),
        street=text(a.street, missing=NULL),
    )


# -- Options -----------------------------------------------------------------------------


@mapping
def wrong_enum_out_of_code(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.stage, TIERS, unknown=REJECT),  # mistake: wrong enum out of code
        tier=constant(Tier.BASIC),
        origin=constant(State.PROSPECT),
    )


@mapping
def wrong_enum_option(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.stage, {Stage.LEAD: Tier.GOLD}, unknown=REJECT),  # mistake: wrong enum option
        tier=constant(Tier.BASIC),
        origin=constant(State.PROSPECT),
    )


@mapping
def wrong_enum_key(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.stage, STATES, unknown=REJECT),
        tier=code(s.stage, {Channel.WEB: Tier.GOLD}, unknown=REJECT),  # mistake: wrong enum key
        origin=constant(State.PROSPECT),
    )


@mapping
def table_of_another_enum(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.stage, STATES, unknown=REJECT),
        tier=code(s.stage, RANKS, unknown=REJECT),  # mistake: table of another enum
        origin=constant(State.PROSPECT),
    )


@mapping
def code_without_unknown(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.stage, STATES),  # mistake: code without unknown
        tier=constant(Tier.BASIC),
        origin=constant(State.PROSPECT),
    )


@mapping
def code_of_an_optional_without_missing(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.stage, STATES, unknown=REJECT),
        tier=code(s.channel, RANKS, unknown=REJECT),  # mistake: code of an optional without missing
        origin=constant(State.PROSPECT),
    )


@mapping
def unknown_of_another_enum(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.stage, STATES, unknown=Tier.GOLD),  # mistake: unknown of another enum
        tier=constant(Tier.BASIC),
        origin=constant(State.PROSPECT),
    )


@mapping
def missing_option(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.stage, STATES, unknown=REJECT),
        tier=code(s.channel, RANKS, unknown=NULL, missing=State.ACTIVE),  # mistake: missing option
        origin=constant(State.PROSPECT),
    )


@mapping
def unknown_null_into_required(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.stage, STATES, unknown=NULL),  # mistake: unknown null into required
        tier=constant(Tier.BASIC),
        origin=constant(State.PROSPECT),
    )


@mapping
def unknown_leave_into_nullable(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.stage, STATES, unknown=REJECT),
        tier=code(s.stage, TIERS, unknown=LEAVE),  # mistake: unknown LEAVE into nullable
        origin=constant(State.PROSPECT),
    )


@mapping
def null_out_of_code(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(s.old_stage, STATES, unknown=REJECT, missing=NULL),  # mistake: null out of code
        tier=constant(Tier.BASIC),
        origin=constant(State.PROSPECT),
    )


@mapping
def narrower_without_why(s: CrmContact) -> ErpStanding:
    return to(ErpStanding)(
        state=code(
            s.stage,
            {Stage.LEAD: narrower(State.ACTIVE)},  # mistake: narrower without why
            unknown=REJECT,
        ),
        tier=constant(Tier.BASIC),
        origin=constant(State.PROSPECT),
    )


# -- Objects and lists -------------------------------------------------------------------


@mapping
def mapping_called_with_a_list(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=place(s.addresses),  # mistake: mapping called with a list
        billing=nested(s.home, place, missing=NULL),
    )


@mapping
def mapping_called_with_an_optional_object(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=place(s.home),  # mistake: mapping called with an optional object
        billing=nested(s.home, place, missing=NULL),
    )


@mapping
def mapping_called_with_another_class(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=position(s.office),  # mistake: mapping called with another class
        billing=nested(s.home, place, missing=NULL),
    )


@mapping
def mapping_called_with_another_dict(o: ShopOrder) -> ErpPlaces:
    return to(ErpPlaces)(
        office=city(o["buyer"]),  # mistake: mapping called with another dict
        billing=constant(None),
    )


@mapping
def nested_of_another_class(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=place(s.office),
        billing=nested(s.home, item_place, missing=NULL),  # mistake: nested of another class
    )


@mapping
def nested_of_another_dict(o: ShopOrder) -> ErpPlaces:
    return to(ErpPlaces)(
        office=city(o["ship_from"]),
        billing=nested(o["ship_to"], buyer_place, missing=NULL),  # mistake: nested of another dict
    )


@mapping
def nested_into_another_class(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=place(s.office),
        billing=nested(s.home, address_name, missing=NULL),  # mistake: nested into another class
    )


@mapping
def nested_without_missing(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=place(s.office),
        billing=nested(s.home, place),  # mistake: nested without missing
    )


@mapping
def each_with_a_mapping_of_another_class(s: CrmContact) -> ErpLists:
    return to(ErpLists)(
        others=each(s.items, place),  # mistake: each with a mapping of another class
        positions=each(s.items, position),
    )


@mapping
def each_with_a_mapping_into_another_class(s: CrmContact) -> ErpLists:
    return to(ErpLists)(
        others=each(s.items, position),  # mistake: each with a mapping into another class
        positions=each(s.items, position),
    )


@mapping
def each_into_a_single(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=each(s.addresses, place),  # mistake: each into a single
        billing=nested(s.home, place, missing=NULL),
    )


@mapping
def each_of_a_single(s: CrmContact) -> ErpLists:
    return to(ErpLists)(
        others=each(s.office, place),  # mistake: each of a single
        positions=each(s.items, position),
    )


@mapping
def each_null_into_a_plain_list(s: CrmContact) -> ErpLists:
    return to(ErpLists)(
        others=each(s.addresses, place, missing=NULL),  # mistake: each null into a plain list
        positions=each(s.items, position),
    )


@mapping
def single_into_a_list(s: CrmContact) -> ErpLists:
    return to(ErpLists)(
        others=place(s.office),  # mistake: single into a list
        positions=each(s.items, position),
    )


@mapping
def one_of_without_none(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=one_of(  # mistake: one_of without none
            s.addresses,
            place,
            prefer=is_billing,
            several=FIRST,
            otherwise=FIRST,
            why="the ERP bills to one address",
        ),
        billing=nested(s.home, place, missing=NULL),
    )


@mapping
def one_of_without_otherwise(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=one_of(  # mistake: one_of without otherwise
            s.addresses,
            place,
            prefer=is_billing,
            several=FIRST,
            none=REJECT,
            why="the ERP bills to one address",
        ),
        billing=nested(s.home, place, missing=NULL),
    )


@mapping
def one_of_none_leave_into_a_plain_field(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=one_of(  # mistake: one_of none LEAVE into a plain field
            s.addresses,
            place,
            prefer=is_billing,
            several=FIRST,
            otherwise=FIRST,
            none=LEAVE,
            why="the ERP bills to one address",
        ),
        billing=nested(s.home, place, missing=NULL),
    )


@mapping
def one_of_otherwise_null_into_a_plain_field(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=one_of(  # mistake: one_of otherwise NULL into a plain field
            s.addresses,
            place,
            prefer=is_billing,
            several=FIRST,
            otherwise=NULL,
            none=REJECT,
            why="the ERP bills to one address",
        ),
        billing=nested(s.home, place, missing=NULL),
    )


@mapping
def one_of_several_null(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=place(s.office),
        billing=one_of(
            s.addresses,
            place,
            prefer=is_billing,
            several=NULL,  # mistake: one_of several NULL
            otherwise=NULL,
            none=NULL,
            why="the ERP bills to one address",
        ),
    )


@mapping
def one_of_a_single(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=place(s.office),
        billing=one_of(
            s.office,  # mistake: one_of a single
            place,
            prefer=is_billing,
            several=FIRST,
            otherwise=NULL,
            none=NULL,
            why="the ERP bills to one address",
        ),
    )


@mapping
def prefer_of_no_field(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=place(s.office),
        billing=one_of(
            s.addresses,
            place,
            prefer=lambda a: a.knid == "billing",  # mistake: prefer of no field
            several=FIRST,
            otherwise=NULL,
            none=NULL,
            why="the ERP bills to one address",
        ),
    )


@mapping
def by_of_no_field(s: CrmContact) -> ErpPlaces:
    return to(ErpPlaces)(
        office=place(s.office),
        billing=one_of(
            s.addresses,
            place,
            prefer=is_billing,
            several=by(lambda a: a.sicne),  # mistake: by of no field
            otherwise=NULL,
            none=NULL,
            why="the ERP bills to one address",
        ),
    )


# -- Steps -------------------------------------------------------------------------------


@mapping
def step_given_another_type(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=text(a.city),
        street=upper(a.street),  # mistake: step given another type
    )


@mapping
def step_returning_another_type(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=digits(a.city),  # mistake: step returning another type
        street=text(a.street, missing=NULL),
    )


@mapping
def step_given_too_much(a: CrmAddress) -> ErpPlace:
    return to(ErpPlace)(
        city=upper(a.city, a.kind),  # mistake: step given too much
        street=text(a.street, missing=NULL),
    )


@step()  # mistake: step without version
def lower(value: str) -> str:
    """Small letters."""
    return value.lower()
