"""Who wants memory, and how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.amounts import Amounts, plus, total
from scheduler.core.policy import rank
from scheduler.core.prospect import service_ns

if TYPE_CHECKING:
    from scheduler.core.engine import Engine
    from scheduler.core.policy import Policy
    from scheduler.core.queue import Lane, Pending


class Claimant:
    """Who wants room made: a waiting request, or a pin. Lets others finish until `patient_ns`.

    `rank` is its place in the order, age included; `priority` is its importance without it.
    `takes_ns` is how long it needs, with loading, until it has run once: in the form
    of the moment, until another was chosen.
    """

    __slots__ = ("_name", "engines", "patient_ns", "pending", "priority", "rank", "takes_ns")

    def __init__(
        self,
        *,
        name: str = "",
        priority: int,
        rank: int,
        patient_ns: int,
        takes_ns: int,
        engines: tuple[Engine, ...],
        pending: Pending | None = None,
    ) -> None:
        self._name = name
        self.priority = priority
        self.rank = rank
        self.patient_ns = patient_ns
        self.takes_ns = takes_ns
        self.engines = engines
        self.pending = pending

    @property
    def name(self) -> str:
        """Who it is, for people: put into words only where they are read."""
        if self.pending is None:
            return self._name
        request = self.pending.request
        return f"{' and '.join(request.models)}, request {request.id}"


class Need:
    """Bytes per pool: `now` to start, `later` to have run. They differ by peaks and workspaces."""

    __slots__ = ("later", "now")

    def __init__(self, now: Amounts, later: Amounts) -> None:
        self.now = now
        self.later = later


def claimant(lane: Lane, head: Pending, policy: Policy, now: int) -> Claimant:
    """The first of a lane. It lets others finish for half of the time it has, at most."""
    max_wait_ns = lane.max_wait_ns
    if head.deadline_ns is not None:
        max_wait_ns = min(max_wait_ns, (head.deadline_ns - head.arrived_ns) // 2)
    patient = policy.patient and not head.overdue
    return Claimant(
        priority=lane.importance(),
        rank=rank(head),
        patient_ns=head.arrived_ns + max_wait_ns if patient else now,
        takes_ns=service_ns(lane.engines),
        engines=lane.engines,
        pending=head,
    )


def pin_claimant(engine: Engine, now: int) -> Claimant:
    """A pin waits for nobody."""
    priority = engine.priority
    return Claimant(
        name=f"pinned {engine.name}",
        priority=priority,
        rank=priority,
        patient_ns=now,
        takes_ns=service_ns((engine,)),
        engines=(engine,),
    )


def to_come(absent: list[Engine], items: int) -> Need:
    """What it takes to load these engines and then to run `items` on them."""
    if len(absent) == 1:
        return Need(absent[0].loading_bytes(), steady_bytes(absent[0], items))
    now = total(engine.loading_bytes() for engine in absent)
    return Need(now, total(steady_bytes(engine, items) for engine in absent))


def steady_bytes(engine: Engine, items: int) -> dict[str, int]:
    """Resident, and what a run of `items` takes on top."""
    return plus(engine.resident_bytes(), engine.running_bytes(items))


def running_bytes(engines: tuple[Engine, ...], items: int) -> Amounts:
    """What a run of `items`, or a lease on several engines, takes on top of what is resident."""
    if len(engines) == 1:
        return engines[0].running_bytes(items)
    return total(engine.running_bytes(items) for engine in engines)
