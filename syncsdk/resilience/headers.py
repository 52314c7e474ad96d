"""What a server says of its limits, read from the headers of a response.

Decides which header means what, in which unit, and what is nonsense. Whatever a server
says, nothing here raises, and what cannot be believed is as if it had not been said.
Leaves what follows from it to ``pacing`` and ``calls``.

Read :class:`Dialect`, the table :data:`DIALECTS`, then :meth:`Reading.quotas`. A dialect of
your own is a row more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from attrs import Factory, field, frozen

__all__ = ["DIALECTS", "Dialect", "Quota", "Reading", "date_of", "retry_after", "structured"]

Unit: TypeAlias = Literal["auto", "seconds", "milliseconds", "epoch", "epoch_ms", "iso"]
Raw: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Headers as they came: names in any case, repeated ones in their order."""

LONGEST: Final = 32 * 86_400.0
"""Seconds. A limit that is said to end later than that is not believed, and no wait is longer."""
LARGEST: Final = 10**12
"""A quota of more than that is not believed."""
_SEEN: Final = 500
"""Spellings of names that are remembered: a server could make up any number."""
_LONG: Final = 8_192
"""Bytes. A longer header of a limit is not looked at."""


class Quota(NamedTuple):
    """One limit, as a server told it with one response.

    Attributes:
        name: of the policy, else of the dialect.
        limit: requests in a window, or the size of the bucket; None if it was not said.
        remaining: requests that may still be sent; None if it was not said.
        reset: seconds until there are more; None if it was not said, or is past.
        window: seconds in which the limit counts; None if it was not said.
        concurrent: it counts requests in flight, and not those of a time.
    """

    name: str
    limit: float | None
    remaining: float | None
    reset: float | None = None
    window: float | None = None
    concurrent: bool = False


@frozen
class Dialect:
    """Which headers tell a limit, and how.

    Names of headers are written in lower case.

    Attributes:
        name: of the limit that they tell.
        limit, remaining, reset: the headers of the three numbers.
        used: the header of a pair ``used/limit``, as ``32/40``; with ``label=``, of the
            pair behind that label, as in ``api-usage=18/5000``.
        unit: of ``reset``; ``auto`` tells seconds, milliseconds and moments apart by their
            size.
        window: seconds in which the limit counts, where that is documented. With it the
            header of ``limit``, if there is one, has to be told as well.
        window_ms: the header of the same in milliseconds.
        scope: the header that names the limit, where one vendor has several of a form.
    """

    name: str
    limit: str | None = None
    remaining: str | None = None
    reset: str | None = None
    used: str | None = None
    label: str | None = None
    unit: Unit = "auto"
    window: float | None = None
    window_ms: str | None = None
    scope: str | None = None

    @property
    def headers(self) -> Iterable[str]:
        """All headers that it reads."""
        named = self.limit, self.remaining, self.reset, self.used, self.window_ms, self.scope
        return filter(None, named)


DIALECTS: Final = (
    Dialect("x-ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset",
            scope="x-ratelimit-resource"),  # GitHub in epoch seconds; Jira in ISO 8601
    Dialect("zendesk", "x-rate-limit", "x-rate-limit-remaining", window=60.0),
    Dialect("x-rate-limit", "x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset"),
    Dialect("ratelimit", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"),
    Dialect("shopify", used="x-shopify-shop-api-call-limit"),
    Dialect("hubspot", "x-hubspot-ratelimit-max", "x-hubspot-ratelimit-remaining",
            window_ms="x-hubspot-ratelimit-interval-milliseconds"),
    Dialect("hubspot-secondly", "x-hubspot-ratelimit-secondly",
            "x-hubspot-ratelimit-secondly-remaining", window=1.0),
    Dialect("hubspot-daily", "x-hubspot-ratelimit-daily", "x-hubspot-ratelimit-daily-remaining",
            window=86_400.0),
    Dialect("salesforce", used="sforce-limit-info", label="api-usage", window=86_400.0),
    Dialect("xero-minute", remaining="x-minlimit-remaining", window=60.0),
    Dialect("xero-app-minute", remaining="x-appminlimit-remaining", window=60.0),
    Dialect("xero-day", remaining="x-daylimit-remaining", window=86_400.0),
)  # fmt: skip
"""How vendors tell their limits. Stripe tells none. The fields RateLimit and RateLimit-Policy
(draft-ietf-httpapi-ratelimit-headers) are read besides, in all their forms."""


# -- Numbers and moments ---------------------------------------------------------------

_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{0,9})?(?:[eE]\+?[0-9]{1,2})?", re.ASCII)
_SIGNED: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{0,9})?", re.ASCII)


def _number(text: str | None) -> float | None:
    """Return a number that may be negative, or None for anything else."""
    if text is None or not _SIGNED.fullmatch(text := text.strip()):
        return None
    return float(text)


def date_of(text: str) -> datetime | None:
    """Return a moment from any of the three forms of an HTTP date (RFC 9110 §5.6.7).

    A form without a zone is taken for GMT, which is what it means.
    """
    try:
        moment = parsedate_to_datetime(text.strip()[:64])
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def number(text: str) -> float | None:
    """Return a number that is not negative, of ASCII digits; None for anything else."""
    first = text.partition(",")[0].strip()
    return float(first) if _NUMBER.fullmatch(first) else None


def retry_after(text: str, *, now: datetime) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, or None if it says nothing.

    Args:
        text: seconds, or an HTTP date (RFC 9110 §10.2.3). Fractions and exponents are read
            as well, for they occur; of a list the first. Negative numbers and words mean
            nothing. What is past is 0.0, and what is longer than :data:`LONGEST` is that.
        now: when the response was made: its ``Date``, else the time here.
    """
    seconds = number(text)
    if seconds is None:
        moment = date_of(text)
        if moment is None:
            return None
        seconds = max(0.0, (moment - now).total_seconds())
    return min(seconds, LONGEST)


def _reset(text: str | None, unit: Unit, now: datetime) -> float | None:
    """Return the seconds until a limit ends; None for nonsense and what is past."""
    if text is None:
        return None
    value = _number(text)
    if value is None:
        if unit not in ("auto", "iso"):
            return None
        try:
            moment = datetime.fromisoformat(text.strip()[:40])
        except ValueError:
            return None
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        seconds = (moment - now).total_seconds()
    else:
        if unit == "auto":
            unit = _told_apart(value)
        scale = 1000.0 if unit in ("milliseconds", "epoch_ms") else 1.0
        seconds = value / scale - (now.timestamp() if unit in ("epoch", "epoch_ms") else 0.0)
    return seconds if 0.0 < seconds <= LONGEST else None


def _told_apart(value: float) -> Unit:
    """Return the unit of a number by its size.

    Moments lie since 1973; no limit of a known vendor lasts a day and a half in seconds.
    """
    if value > 1e11:
        return "epoch_ms"
    if value > 1e8:
        return "epoch"
    return "milliseconds" if value > 129_600 else "seconds"


# -- Structured fields (RFC 9651) ------------------------------------------------------

_ITEM: Final = re.compile(
    r"""(?x)
    "(?P<string>(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"
    | (?P<decimal>-?[0-9]{1,12}\.[0-9]{1,3}(?![0-9.]))
    | (?P<integer>-?[0-9]{1,15}(?![0-9.]))
    | :(?P<bytes>(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}={0,2}|[A-Za-z0-9+/]{3}=?)?):
    | \?(?P<flag>[01])
    | (?P<token>[A-Za-z*][!\#$%&'*+\-.^_`|~0-9A-Za-z:/]*)
    """,
    re.ASCII,
)
_KEY: Final = re.compile(r"[a-z*][a-z0-9_\-.*]*", re.ASCII)
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")

Structured: TypeAlias = list[tuple[Any, dict[str, Any]]]


@lru_cache(maxsize=256)
def structured(text: str) -> Structured | None:
    """Return the items of a List with their parameters, or None if it is malformed.

    Text, tokens and byte sequences are ``str``, numbers ``int`` or ``float``, flags
    ``bool``. Inner lists, dates and display strings are not read: no field that is
    needed here has any.
    """
    if not text.isascii() or len(text) > _LONG:
        return None
    found: Structured = []
    at, text = 0, text.strip(" ")
    while at < len(text):
        item, at = _item(text, at)
        if item is None:
            return None
        parameters: dict[str, Any] = {}
        while text.startswith(";", at):
            key = _KEY.match(text, len(text) - len(text[at + 1 :].lstrip(" ")))
            if key is None:
                return None
            value: tuple[Any] | None = (True,)
            at = key.end()
            if text.startswith("=", at):
                value, at = _item(text, at + 1)
            if value is None:
                return None
            parameters[key[0]] = value[0]
        found.append((item[0], parameters))
        comma = _COMMA.match(text, at)
        if comma is None:
            return None if text[at:].strip(" \t") else found
        at = comma.end()
    return found if not found and not text else None


def _item(text: str, at: int) -> tuple[tuple[Any] | None, int]:
    found = _ITEM.match(text, at)
    if found is None or found.lastgroup is None:
        return None, at
    kind, value = found.lastgroup, found[found.lastgroup]
    if kind == "string":
        return (re.sub(r"\\(.)", r"\1", value),), found.end()
    if kind in ("decimal", "integer"):
        return (float(value) if kind == "decimal" else int(value),), found.end()
    return (value == "1" if kind == "flag" else value,), found.end()


# -- A response's headers --------------------------------------------------------------

_MEMBER: Final = r"([a-z]{1,32})=([0-9]{1,15})"
_DICTIONARY: Final = re.compile(rf" *{_MEMBER}(?:[ \t]*,[ \t]*{_MEMBER})* *", re.ASCII)
_OLD_LIMIT: Final = re.compile(r"\s*([0-9]{1,15})\s*(?:,|$)", re.ASCII)
_PAIR: Final = re.compile(r"([0-9]{1,12})\s*/\s*([0-9]{1,12})(?![0-9])", re.ASCII)
_UNITS: Final = {"requests": False, "concurrent-requests": True}
_ALWAYS: Final = frozenset(
    (
        "content-encoding",
        "date",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "retry-after-ms",
        "stripe-should-retry",
        "x-should-retry",
    )
)
_ONE: Final = re.compile(r'"([ !#-\[\]-~]{1,64})";r=([0-9]{1,12})(?:;t=([0-9]{1,12}))?', re.ASCII)
"""What nearly every RateLimit looks like, for speed."""


def _with_headers(its: Reading) -> Sequence[tuple[Dialect, frozenset[str]]]:
    return [(each, frozenset(each.headers)) for each in its.dialects]


def _of_dialects(its: Reading) -> frozenset[str]:
    return frozenset().union(*(headers for _, headers in its._rows))


def _of_any(its: Reading) -> Mapping[bytes, str]:
    names = _ALWAYS.union(its.also, its._named)
    return {name.encode(): name for name in names}


@frozen
class Reading:
    """Reads limits in some dialects.

    Args:
        dialects: the first one that a response has is believed for each of its headers.
        also: headers in lower case that somebody else wants to be told.
    """

    dialects: tuple[Dialect, ...] = DIALECTS
    also: frozenset[str] = frozenset()
    _rows: Sequence[tuple[Dialect, frozenset[str]]] = field(
        init=False, eq=False, repr=False, default=Factory(_with_headers, takes_self=True)
    )
    _named: frozenset[str] = field(
        init=False, eq=False, repr=False, default=Factory(_of_dialects, takes_self=True)
    )
    _wanted: Mapping[bytes, str] = field(
        init=False, eq=False, repr=False, default=Factory(_of_any, takes_self=True)
    )
    _seen: dict[bytes, str | None] = field(
        init=False, eq=False, repr=False, factory=dict[bytes, "str | None"]
    )

    def told(self, raw: Raw) -> dict[str, str]:
        """Return the headers that say something, joined where they are repeated.

        ``date`` is among them, if any other is.
        """
        seen, found, date = self._seen, dict[str, str](), b""
        for name, value in raw:
            known = seen.get(name, "")
            if known is None:
                continue
            if not known:
                known = self._wanted.get(name.lower())
                if len(seen) < _SEEN and len(name) < 64:
                    seen[name] = known
            if known == "date":
                date = value
            elif known is not None and len(value) <= _LONG:
                text = value.decode("latin-1")
                found[known] = f"{found[known]}, {text}" if known in found else text
        if found and 0 < len(date) <= _LONG:
            found["date"] = date.decode("latin-1")
        return found

    def quotas(self, told: dict[str, str], now: datetime) -> list[Quota]:
        """Return every limit that a response tells.

        Args:
            told: from :meth:`told`.
            now: the time here; the response's ``Date`` is preferred, so that a wrong clock
                on one of the sides does no harm.
        """
        found = _draft(told)
        if not self._named.isdisjoint(told):
            now, free = server_time(told, now), set(told)
            if found:
                free.discard("ratelimit-limit")
            for dialect, headers in self._rows:
                if headers.isdisjoint(told) or not headers & told.keys() <= free:
                    continue
                if dialect.window is None or dialect.limit is None or dialect.limit in told:
                    quota = _quota(dialect, told, now)
                    if quota is not None:
                        found.append(quota)
                        free -= headers
        return found


def server_time(told: Mapping[str, str], now: datetime) -> datetime:
    """Return when a response was made, as its server's clock has it."""
    date = told.get("date")
    return (None if date is None else _date(date)) or now


@lru_cache(maxsize=8)
def _date(text: str) -> datetime | None:
    return date_of(text)


def _draft(told: dict[str, str]) -> list[Quota]:
    """Read RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10).

    Earlier drafts had ``limit=, remaining=, reset=`` in RateLimit, and tokens for names.
    """
    text = told.get("ratelimit")
    if text is None:
        return []
    policies = _policies(told.get("ratelimit-policy", ""))
    one = _ONE.fullmatch(text)
    if one is not None:
        name, left, reset = one.groups()
        policy = policies.get(name, _NO_POLICY)
        if policy is None:
            return []
        limit, window, concurrent = policy
        ends = _short(float(reset)) if reset else None
        return [Quota(name, limit, float(left), ends, window, concurrent)]
    if _DICTIONARY.fullmatch(text):
        old = {name: float(value) for name, value in re.findall(_MEMBER, text)}
        of, rest, reset = (_sane(old.get(name)) for name in ("limit", "remaining", "reset"))
        window = next((its[1] for its in policies.values() if its is not None), None)
        return [] if rest is None else [Quota("ratelimit", of, rest, _short(reset), window)]
    found = []
    for name, its in structured(text) or ():
        left, policy = _sane(its.get("r")), policies.get(name, _NO_POLICY)
        if isinstance(name, str) and left is not None and policy is not None:
            reset = _short(_sane(its.get("t")))
            found.append(Quota(name, policy[0], left, reset, *policy[1:]))
    return found


_NO_POLICY: Final = (None, None, False)


@lru_cache(maxsize=256)
def _policies(text: str) -> Mapping[Any, tuple[float | None, float | None, bool] | None]:
    """Return limit, window and whether it is of requests in flight, by name.

    None for a quota that is counted in something else.
    """
    return {
        name: (_sane(its.get("q")) or None, _sane(its.get("w")) or None, _UNITS[unit])
        if (unit := its.get("qu", "requests")) in _UNITS
        else None
        for name, its in structured(text) or ()
    }


def _quota(its: Dialect, told: dict[str, str], now: datetime) -> Quota | None:
    """Read the limit of a dialect, or None if what it says makes no sense."""
    if its.used is not None:
        text = told.get(its.used, "")
        if its.label is not None:
            labelled = re.search(rf"(?<![\w-]){re.escape(its.label)}=(.*)", text)
            text = "" if labelled is None else labelled[1]
        pair = _PAIR.match(text.strip())
        if pair is None or not int(pair[2]):
            return None
        limit: float | None = float(pair[2])
        left: float | None = max(0.0, float(pair[2]) - float(pair[1]))
    else:
        old = _OLD_LIMIT.match(told.get(its.limit or "", ""))
        limit = None if old is None else _sane(float(old[1]))
        if limit == 0.0:  # as 0/0: some say so of what has no limit
            return None
        left = _number(told.get(its.remaining or ""))
        left = None if left is None or left > LARGEST else max(0.0, left)
    if left is None:
        return None
    milliseconds = _number(told.get(its.window_ms or ""))
    window = milliseconds / 1000.0 if milliseconds and milliseconds > 0 else its.window
    name = f"{its.name}:{told[its.scope][:64]}" if its.scope in told else its.name
    return Quota(name, limit, left, _reset(told.get(its.reset or ""), its.unit, now), window)


def _sane(value: Any) -> float | None:
    """Return a number that is not negative and not absurd."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0.0 <= value <= LARGEST else None


def _short(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0.0 < seconds <= LONGEST else None
