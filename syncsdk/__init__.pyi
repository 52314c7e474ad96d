"""What type checkers see of the lazy table in ``__init__.py``; a test compares the two."""

from .errors import (
    FatalError as FatalError,
    MappingError as MappingError,
    NotSent as NotSent,
    RecordError as RecordError,
    RejectedError as RejectedError,
    SyncError as SyncError,
    TransientError as TransientError,
)
from .pipeline import (
    Pipeline as Pipeline,
    upsert as upsert,
)
from .planning import (
    STRICT as STRICT,
    Tolerance as Tolerance,
)
from .protocols import (
    Applied as Applied,
    Batch as Batch,
    Change as Change,
    Changes as Changes,
    Deletes as Deletes,
    FILTERED as FILTERED,
    Op as Op,
    Outcome as Outcome,
    Owner as Owner,
    Refused as Refused,
    Rejected as Rejected,
    Result as Result,
    RunReport as RunReport,
    SinkCapabilities as SinkCapabilities,
    SourceCapabilities as SourceCapabilities,
    Unknown as Unknown,
)
from .stores import (
    MemoryStore as MemoryStore,
    SQLiteStore as SQLiteStore,
)
from .values import (
    INSTANT as INSTANT,
    INTEGER as INTEGER,
    Keyset as Keyset,
    Listing as Listing,
    OPAQUE as OPAQUE,
    Token as Token,
    UNSET as UNSET,
    Watermark as Watermark,
    idempotency_key as idempotency_key,
)

__version__: str
__all__: list[str]
