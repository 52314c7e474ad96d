"""How an interface is read page by page, in whatever way it has.

Decides what the request for the next page is, and that an answer which leads in a circle or
elsewhere is an error, never the end. Leaves requests to who reads.

Read :class:`Pages`; the others say it for one way each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from attrs import frozen

from syncsdk.errors import ContractError

__all__ = [
    "ByHeader",
    "ByKeyset",
    "ByLink",
    "ByNumber",
    "ByOffset",
    "ByToken",
    "ByUrl",
    "OnePage",
    "Pages",
    "dig",
]

Next: TypeAlias = Mapping[str, Any] | str | None
"""Parameters that change, the address of the next page, or None: that was the last."""


class Pages(Protocol):
    """One way of reading pages."""

    @property
    def first(self) -> Mapping[str, Any]:
        """Parameters of the first request."""
        ...

    def after(
        self, response: Any, body: Any, records: Sequence[Any], sent: Mapping[str, Any]
    ) -> Next:
        """Return what asks for the next page.

        Args:
            response: of the page.
            body: it as JSON.
            records: what it holds.
            sent: the parameters of its request.
        """
        ...


def dig(body: Any, path: str) -> Any:
    """Return what lies at a dotted path, ``""`` for all of it; None if there is nothing."""
    for name in filter(None, path.split(".")):
        body = body.get(name) if isinstance(body, Mapping) else None
    return body


def _text(value: Any, what: str) -> str | None:
    """Return a token; None for one that says that there are no more."""
    if value is None or value is False or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ContractError(
            f"{what} is a value of type {type(value).__name__}", remedy="Correct the path to it"
        )
    return str(value)


class _Unchanging:
    @property
    def first(self) -> Mapping[str, Any]:
        return {}


@frozen
class OnePage(_Unchanging):
    """There is one page, which holds all."""

    def after(
        self, response: Any, body: Any, records: Sequence[Any], sent: Mapping[str, Any]
    ) -> Next:
        """Return None."""
        return None


@frozen
class ByToken(_Unchanging):
    """A token in the answer goes into a parameter.

    Args:
        path: of the token in the answer.
        param: that takes it.
    """

    path: str
    param: str

    def after(
        self, response: Any, body: Any, records: Sequence[Any], sent: Mapping[str, Any]
    ) -> Next:
        """Return the token, unless it is that of this page."""
        token = _text(dig(body, self.path), self.path)
        if token is not None and token == str(sent.get(self.param)):
            raise ContractError(
                f"the page token {self.param} leads to its own page",
                remedy="Correct the path to the token, or tell the other side: reading goes in a "
                "circle",
            )
        return None if token is None else {self.param: token}


@frozen
class ByHeader(_Unchanging):
    """A token in a header goes into a parameter."""

    header: str
    param: str

    def after(
        self, response: Any, body: Any, records: Sequence[Any], sent: Mapping[str, Any]
    ) -> Next:
        """Return the token, unless it is that of this page."""
        told = {"token": response.headers.get(self.header)}
        return ByToken("token", self.param).after(response, told, records, sent)


@frozen
class ByLink(_Unchanging):
    """The header ``Link`` has the address of the next page (RFC 8288)."""

    rel: str = "next"

    def after(
        self, response: Any, body: Any, records: Sequence[Any], sent: Mapping[str, Any]
    ) -> Next:
        """Return the address; it may be relative."""
        for names, link in response.links.items():
            if self.rel in str(names).lower().split():
                return str(link["url"])
        return None


@frozen
class ByUrl(_Unchanging):
    """The answer has the address of the next page.

    Args:
        path: of the address in the answer.
    """

    path: str

    def after(
        self, response: Any, body: Any, records: Sequence[Any], sent: Mapping[str, Any]
    ) -> Next:
        """Return the address; it may be relative."""
        return _text(dig(body, self.path), self.path)


@frozen
class ByNumber:
    """Pages are numbered, up to one that is empty.

    Rows that come or go meanwhile shift all that follow: prefer any other way.
    """

    param: str
    start: int = 1

    @property
    def first(self) -> Mapping[str, Any]:
        """The number of the first page."""
        return {self.param: self.start}

    def after(
        self, response: Any, body: Any, records: Sequence[Any], sent: Mapping[str, Any]
    ) -> Next:
        """Return the next number, after a page that holds something."""
        return {self.param: int(sent[self.param]) + 1} if records else None


@frozen
class ByOffset:
    """Pages begin after so many records, up to one that is empty; see :class:`ByNumber`."""

    param: str

    @property
    def first(self) -> Mapping[str, Any]:
        """The beginning."""
        return {self.param: 0}

    def after(
        self, response: Any, body: Any, records: Sequence[Any], sent: Mapping[str, Any]
    ) -> Next:
        """Return the offset behind this page, after one that holds something."""
        return {self.param: int(sent[self.param]) + len(records)} if records else None


@frozen
class ByKeyset(_Unchanging):
    """A field of the last record goes into a parameter, up to a page that is empty.

    Args:
        field: of a record; unique, and what the answer is sorted by.
        param: that takes it.
    """

    field: str
    param: str

    def after(
        self, response: Any, body: Any, records: Sequence[Any], sent: Mapping[str, Any]
    ) -> Next:
        """Return the field of the last record, which must differ from page to page."""
        if not records:
            return None
        last = {"token": dig(records[-1], self.field)}
        if _text(last["token"], self.field) is None:
            raise ContractError(
                f"the last record of a page has no {self.field}",
                remedy="Name a field that all have",
            )
        return ByToken("token", self.param).after(response, last, records, sent)
