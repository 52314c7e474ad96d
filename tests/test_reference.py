"""The reference is written from the code: what it says is what runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from syncsdk.http import DIALECTS, Dialect
from syncsdk.resilience.calls import FAILURES, SIGNS, Meaning, Sign

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "http.md"


def table(heads: list[str], rows: Iterator[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def code(text: str | None) -> str:
    return "" if text is None else f"`{text}`".replace("|", "\\|")


def sign(its: Sign) -> list[str]:
    told = [f"header {code(its.header[0])} has {code(its.header[1])}"] if its.header else []
    told += [f"body has {code(its.body)}"] if its.body else []
    told += ["with an idempotency key"] if its.keyed else []
    return [", ".join(map(str, sorted(its.status))), ", ".join(told), its.meaning.value]


def dialect(its: Dialect) -> list[str]:
    used = f"{code(its.used)}{f', after `{its.label}=`' if its.label else ''}" if its.used else ""
    window = f"{its.window:g} s" if its.window else code(its.window_ms)
    unit = its.unit if its.reset else ""
    cells = [code(its.limit), code(its.remaining), code(its.reset), unit, used, window]
    return [its.name, *cells]


def page() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# HTTP: what answers mean, and how limits are told"
    yield ""
    yield "Written from the code by `python -m tests.test_reference`; do not edit it."
    yield "[Rely on HTTP](../how-to/rely-on-http.md) says how to use it."
    yield ""
    yield "## Meanings"
    yield ""
    yield "What an answer says of its request."
    yield ""
    docs = {
        Meaning.DONE: "it did what was asked",
        Meaning.THROTTLED: "there were too many; this one was refused, and did nothing",
        Meaning.UNAVAILABLE: "the other side is down or overloaded; it may have done something",
        Meaning.EARLY: "it was not looked at",
        Meaning.IN_PROGRESS: "the same idempotency key is being worked on",
        Meaning.UNAUTHENTICATED: "credentials are missing, wrong, expired, or do not suffice",
        Meaning.MISCONFIGURED: "such a request is never right there",
        Meaning.REJECTED: "what it carried was refused",
        Meaning.GONE: "what it speaks of is not there",
        Meaning.CONFLICT: "what it speaks of is in another state",
    }
    yield from table(["meaning", "in words"], ([its.value, docs[its]] for its in Meaning))
    yield ""
    yield "## Signs"
    yield ""
    yield "The first that fits decides."
    yield "Any other status from 400 is rejected, from 500 unavailable."
    yield "Signs of your own go before them: `Retry(signs=(mine, *SIGNS))`."
    yield ""
    yield from table(["status", "and", "means"], map(sign, SIGNS))
    yield ""
    yield "## Failures"
    yield ""
    yield "Exceptions by the name of their class. Any other is final."
    yield ""
    yield from table(
        ["exception", "its request"], ([code(n), f.value] for n, f in FAILURES.items())
    )
    yield ""
    yield "## Limits"
    yield ""
    yield "Headers that tell a limit."
    yield (
        "`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers) are read "
        "besides, in the form of each draft."
    )
    yield (
        "A reset in unit `auto` is seconds, milliseconds, a moment since 1970, or ISO 8601, told "
        "apart by its form and size."
    )
    yield ""
    heads = ["limit", "of", "left", "reset", "unit", "used/limit", "window"]
    yield from table(heads, map(dialect, DIALECTS))


def test_the_reference_is_what_the_code_says() -> None:
    assert PAGE.read_text("utf-8") == "\n".join(page()) + "\n", "python -m tests.test_reference"


if __name__ == "__main__":
    PAGE.write_text("\n".join(page()) + "\n", encoding="utf-8")
    sys.stdout.write(f"written to {PAGE}\n")
