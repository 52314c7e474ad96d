"""HTTP that keeps its promises: retries, pacing and guards, in any httpx client.

``transports`` has what any client may be given; ``client`` has ours, which are httpx's with
that in them; ``bodies`` keeps and counts what is sent and received. What is decided stands
in ``syncsdk.resilience``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from syncsdk.resilience.calls import SIGNS, Budget, Meaning, Retry, Sign
from syncsdk.resilience.headers import DIALECTS, Dialect, Quota
from syncsdk.resilience.pacing import RateLimit

from .auth import AsyncOAuthTransport, OAuth2, OAuthTransport
from .transports import (
    AsyncReliableTransport,
    CallReport,
    Gates,
    Guard,
    ReliableTransport,
    UnsafeToRetry,
)

if TYPE_CHECKING:
    from .client import AsyncClient, Client, parsed, raise_typed

__all__ = [
    "DIALECTS",
    "SIGNS",
    "AsyncClient",
    "AsyncOAuthTransport",
    "AsyncReliableTransport",
    "Budget",
    "CallReport",
    "Client",
    "Dialect",
    "Gates",
    "Guard",
    "Meaning",
    "OAuth2",
    "OAuthTransport",
    "Quota",
    "RateLimit",
    "ReliableTransport",
    "Retry",
    "Sign",
    "UnsafeToRetry",
    "parsed",
    "raise_typed",
]


def __getattr__(name: str) -> Any:
    # The transports go into any client; only ours load httpx.
    if name in ("AsyncClient", "Client", "parsed", "raise_typed"):
        from . import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
