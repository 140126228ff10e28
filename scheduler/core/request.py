"""A request: one question to one model, or a lease asked for."""

from __future__ import annotations

from enum import Enum
from typing import Final

from scheduler.core.value import Value

NO_DEADLINE_NS: Final = 2**63 - 1
"""A deadline that never comes, for a request that overrides its model's default with none."""


class RequestKind(str, Enum):
    """What is asked."""

    INFER = "infer"
    """Run the engine once; ends when the answer is there."""
    HOLD = "hold"
    """Hold a lease on all of `models` at once; ends when the lease ends."""
    LOAD = "load"
    """Have the engine in memory; ends when it is ready."""
    UNLOAD = "unload"
    """Have the engine out of memory; ends when it is unloaded."""


INFER: Final = RequestKind.INFER
HOLD: Final = RequestKind.HOLD
LOAD: Final = RequestKind.LOAD
UNLOAD: Final = RequestKind.UNLOAD
"""By names of their own, as they are looked at all the time; see `engine`."""


class Request(Value, frozen=True, kw_only=True):
    """What a caller asks for. Times are monotonic nanoseconds.

    `priority` and `deadline_ns` (absolute) default to the model's. `stream` names the source whose
    older requests `queue.keep: latest` may drop. `under_lease` is the lease this run belongs to,
    when its caller holds one. `ttl_ns` bounds a HOLD from grant or renewal; None means no bound.
    """

    id: int
    models: tuple[str, ...]
    kind: RequestKind = RequestKind.INFER
    priority: int | None = None
    deadline_ns: int | None = None
    items: int = 1
    payload_bytes: int = 0
    stream: str | None = None
    under_lease: int | None = None
    ttl_ns: int | None = None
