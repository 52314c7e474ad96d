"""What type checkers see of the lazy table in ``__init__.py``; a test compares the two."""

from .errors import (
    FatalError as FatalError,
)
from .errors import (
    MappingError as MappingError,
)
from .errors import (
    NotSent as NotSent,
)
from .errors import (
    RecordError as RecordError,
)
from .errors import (
    RejectedError as RejectedError,
)
from .errors import (
    SyncError as SyncError,
)
from .errors import (
    TransientError as TransientError,
)
from .pipeline import (
    Pipeline as Pipeline,
)
from .pipeline import (
    upsert as upsert,
)
from .planning import (
    STRICT as STRICT,
)
from .planning import (
    Tolerance as Tolerance,
)
from .protocols import (
    FILTERED as FILTERED,
)
from .protocols import (
    Applied as Applied,
)
from .protocols import (
    Batch as Batch,
)
from .protocols import (
    Change as Change,
)
from .protocols import (
    Changes as Changes,
)
from .protocols import (
    Deletes as Deletes,
)
from .protocols import (
    Op as Op,
)
from .protocols import (
    Outcome as Outcome,
)
from .protocols import (
    Owner as Owner,
)
from .protocols import (
    Refused as Refused,
)
from .protocols import (
    Rejected as Rejected,
)
from .protocols import (
    Result as Result,
)
from .protocols import (
    RunReport as RunReport,
)
from .protocols import (
    SinkCapabilities as SinkCapabilities,
)
from .protocols import (
    SourceCapabilities as SourceCapabilities,
)
from .protocols import (
    Unknown as Unknown,
)
from .stores import (
    MemoryStore as MemoryStore,
)
from .stores import (
    SQLiteStore as SQLiteStore,
)
from .values import (
    INSTANT as INSTANT,
)
from .values import (
    INTEGER as INTEGER,
)
from .values import (
    OPAQUE as OPAQUE,
)
from .values import (
    UNSET as UNSET,
)
from .values import (
    Keyset as Keyset,
)
from .values import (
    Listing as Listing,
)
from .values import (
    Token as Token,
)
from .values import (
    Watermark as Watermark,
)
from .values import (
    idempotency_key as idempotency_key,
)

__version__: str
__all__: list[str]
