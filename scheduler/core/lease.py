"""The right to use engines for a bounded time.

A lease is active, or it is being revoked: a thread inside `infer` cannot be killed, so the slot and
the bytes stay taken until LeaseEnded, although the callers have long had their answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.core.engine import Engine
    from scheduler.core.outcome import Reason
    from scheduler.core.queue import Pending


class Lease:
    """One grant. `parent` is the held lease under which a run takes place, if any.

    `after` is the lease whose run is to end before the one of this lease begins, None from then on.
    `granted` are the requests that it was given to, `pending` those of them that have not ended.
    """

    __slots__ = (
        "after",
        "engines",
        "expires_ns",
        "granted",
        "granted_ns",
        "holds",
        "id",
        "parent",
        "pending",
        "priority",
        "revoking",
    )

    def __init__(
        self,
        lease_id: int,
        engines: tuple[Engine, ...],
        pending: list[Pending],
        *,
        holds: bool,
        priority: int,
        granted_ns: int,
        parent: Lease | None = None,
        expires_ns: int | None = None,
        after: int | None = None,
    ) -> None:
        self.id = lease_id
        self.after = after
        self.engines = engines
        self.pending = pending
        self.granted = tuple(one.request for one in pending)
        self.holds = holds
        self.priority = priority
        self.granted_ns = granted_ns
        self.parent = parent
        self.expires_ns = expires_ns
        self.revoking: Reason | None = None

    @property
    def in_turn(self) -> bool:
        """A train: its requests run one after another, each by itself."""
        return len(self.granted) > 1 and self.engines[0].form.batch_max == 1

    def __repr__(self) -> str:
        names = ",".join(engine.name for engine in self.engines)
        return f"<lease {self.id} on {names}{' revoking' if self.revoking else ''}>"
