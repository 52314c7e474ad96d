"""What can go wrong, split by what the person on call does next.

::

    SyncError                     message and remedy; the root of all
    ├── TransientError            wait: the next run goes on from the checkpoint
    │   ├── LimitedError          the other side asks for a slower pace
    │   ├── UnavailableError      the other side is down or unreachable
    │   ├── TimedOutError         no answer in time
    │   └── NotSent               nothing left this process; no change is in doubt
    ├── RecordError               mend one record; the others go on
    │   ├── MappingError          the mapping could not decide
    │   ├── RejectedError         the destination said no to what it was sent
    │   └── ConflictError         the destination holds something newer
    └── FatalError                a person must act before the next run
        ├── AuthenticationError   credentials are wrong, missing or expired
        ├── ConfigurationError    the parts do not fit together
        ├── ContractError         a connector broke its contract
        ├── ToleranceError        too many records were refused
        ├── GuardError            a change so large that somebody has to confirm it
        ├── CheckpointError       the state store cannot be trusted or reached
        └── FencedError           another run has taken over this pipeline

The engine has one ``except`` per branch. No message holds a value of a record: errors
say type, length and place. A key stands in :attr:`RecordError.key` only; the text of
an error shows its digest.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AuthenticationError",
    "CheckpointError",
    "ConfigurationError",
    "ConflictError",
    "ContractError",
    "FatalError",
    "FencedError",
    "GuardError",
    "LimitedError",
    "MappingError",
    "NotSent",
    "RecordError",
    "RejectedError",
    "SyncError",
    "TimedOutError",
    "ToleranceError",
    "TransientError",
    "UnavailableError",
]


class SyncError(Exception):
    """What happened, and what to do about it.

    Args:
        message: what happened, without a value of any record.
        remedy: what the reader of the message should do next.
    """

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword arguments do not survive pickling by default, and a
        # run may report from another process.
        return _restore, (type(self), self.args, self.__dict__.copy())


def _restore(kind: type[SyncError], args: tuple[Any, ...], state: dict[str, Any]) -> SyncError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class TransientError(SyncError):
    """The other side cannot answer now; nothing is lost, the next run goes on.

    Args:
        retry_after: seconds after which the other side may be asked again, if it said so.
            The run then ends as paused until that moment.
    """

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "Run again later: the next run goes on from the last checkpoint",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after


class LimitedError(TransientError):
    """The other side asks for a slower pace (429 and its disguises)."""


class UnavailableError(TransientError):
    """The other side is down, overloaded or cannot be reached."""


class TimedOutError(TransientError):
    """No answer came in time; whether a write took effect is unknown."""


class NotSent(TransientError):
    """Raised from ``write``: no change of this call left the process.

    The one exception after which the engine does not hold a change without an outcome
    for unknown. Raise it only where that is certain: a refused connection, a failed
    look-up of a name, a local check.
    """


class RecordError(SyncError):
    """One record cannot be delivered; it becomes a dead letter and the others go on.

    Args:
        key: the record's key, where it is known. It is not part of the text.
        path: the place in the record, such as ``$.address.city`` or a field's name.
        code: a short constant for summaries, logs and metrics, such as ``422`` or
            ``too_long``.
        detail: the other side's own words. They may quote the record, so they are kept in
            the dead letter only, and are not part of the text.
    """

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "Mend the record in its source, or the mapping, and replay the dead letter",
        key: tuple[str, ...] | None = None,
        path: str | None = None,
        code: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.key = key
        self.path = path
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        where = "" if self.path is None else f"{self.path}: "
        return f"{where}{self.message}. {self.remedy}"


class MappingError(RecordError):
    """The mapping could not decide what a record becomes.

    Raise it from a mapping. Say what was expected, and the type and length of what was
    found; not the value.

    Args:
        issues: from a declared mapping: everything that is wrong with the record. They
            stand in ``detail``, each on a line, with what was found.
    """

    def __init__(self, message: str, *, issues: tuple[Any, ...] = (), **more: Any) -> None:
        self.issues = issues
        super().__init__(message, **more)

    @property
    def detail(self) -> str | None:
        """What the record holds, told when somebody asks for it."""
        if self._detail is None and self.issues:
            return "\n".join(issue.quoted for issue in self.issues)
        return self._detail

    @detail.setter
    def detail(self, detail: str | None) -> None:
        """Take words of somebody else's."""
        self._detail = detail


class RejectedError(RecordError):
    """The destination refused what it was sent.

    Raised from ``write`` it speaks of the whole call: no change of it was applied. The
    engine then looks for the culprit by halves, if the sink declares ``upsert`` or
    ``atomic``.
    """


class ConflictError(RecordError):
    """The destination holds something newer than what it was sent."""


class FatalError(SyncError):
    """The run stops, and so will the next one, until a person has acted."""


class AuthenticationError(FatalError):
    """Credentials are wrong, missing or expired."""


class ConfigurationError(FatalError):
    """The parts do not fit together; raised before any record is touched."""


class ContractError(FatalError):
    """A connector did what its protocol forbids."""


class ToleranceError(FatalError):
    """More records were refused than the pipeline tolerates."""


class GuardError(FatalError):
    """A change so large that somebody has to confirm it first."""


class CheckpointError(FatalError):
    """The state store cannot be reached or cannot be trusted."""


class FencedError(FatalError):
    """Another run has taken over this pipeline; this one must not write any more."""
