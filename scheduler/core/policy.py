"""The judgements: who goes first, and whom to do without. Pure functions behind one seam.

A policy sees values and returns a choice. It changes nothing and may not look elsewhere, so that a
recorded run can be decided again, by the same policy or by another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from scheduler.core.cover import Item, cheapest_cover
from scheduler.core.model import PRIORITY_CRITICAL, SECOND_NS
from scheduler.core.request import NO_DEADLINE_NS

if TYPE_CHECKING:
    from scheduler.core.amounts import Amounts
    from scheduler.core.queue import OrderKey, Pending

AGED_PRIORITY: Final = PRIORITY_CRITICAL - 1
"""What a request counts as once it has waited for the ageing time: only critical goes before it."""

MISS_NS: Final = 60 * SECOND_NS
"""A deadline missed for want of an engine weighs as much as a minute of loading."""

SHORTEST_GAP_NS: Final = 1_000_000
DOUBLES_EVERY: Final = 16
"""Priority points by which a model's loss weighs twice as much: 25 points nearly three times."""


class Candidate:
    """An engine that could be unloaded: what that frees per pool, and what speaks against it.

    `reload_ns` is how long it would take to have it back, `gap_ns` how long until it is wanted (a
    guess from its idleness where nothing is expected), `misses` how many of its requests are
    expected to miss their deadlines for it. `runs`: it is in use, and so not free at once.
    `known_loss` is its `loss` once that was worked out, -1 before.
    """

    __slots__ = (
        "frees",
        "gap_ns",
        "known_loss",
        "misses",
        "model",
        "priority",
        "reload_ns",
        "runs",
        "used_ns",
    )

    def __init__(
        self,
        model: str,
        priority: int,
        used_ns: int,
        frees: Amounts,
        *,
        reload_ns: int = 0,
        gap_ns: int = SECOND_NS,
        misses: int = 0,
        runs: bool = False,
    ) -> None:
        self.model = model
        self.priority = priority
        self.used_ns = used_ns
        self.frees = frees
        self.reload_ns = reload_ns
        self.gap_ns = gap_ns
        self.misses = misses
        self.runs = runs
        self.known_loss = -1


class Policy(Protocol):
    """What can be decided differently without touching what is allowed."""

    refuses_late: bool
    """Whether a request that must miss its deadline is refused instead of tried."""
    patient: bool
    """Whether a request lets others be served first before it makes them give up their engines."""
    couples: bool
    """Whether short runs of one lane may follow each other without a decision between them."""
    prefetches: bool
    """Whether engines are loaded before they are asked for."""
    one_at_a_time: bool
    """Whether an engine comes into memory only when all others are gone."""
    looks_every_ns: int
    """How often who waits for memory looks again; 0: whenever something changes."""

    def order_key(self, pending: Pending) -> OrderKey:
        """Sorts waiting requests, the first to serve smallest; unique by the request's sequence."""

    def choose_victims(
        self, candidates: list[Candidate], deficits: Amounts
    ) -> tuple[str, ...] | None:
        """The models to unload so that every deficit (bytes per pool) is covered, or None."""


class RotaPolicy:
    """Priority with ageing, then who waited too long, then deadline, then arrival.

    Victims are the set that costs least to do without (see `loss`).
    """

    refuses_late = True
    patient = True
    couples = True
    prefetches = True
    one_at_a_time = False
    looks_every_ns = 0

    def order_key(self, pending: Pending) -> OrderKey:
        """See Policy. Who has waited for `max_wait`, or has aged, goes before all of its rank.

        Among those the first come is the first served: nobody can be passed again and again.
        """
        if pending.overdue or pending.aged:
            return (-rank(pending), 0, 0, pending.sequence)
        deadline = NO_DEADLINE_NS if pending.deadline_ns is None else pending.deadline_ns
        return (-rank(pending), 1, deadline, pending.sequence)

    def choose_victims(
        self, candidates: list[Candidate], deficits: Amounts
    ) -> tuple[str, ...] | None:
        """See Policy. Among sets of the same loss the one that is free sooner."""
        items = [Item(c.model, 2 * loss(c) + c.runs, c.frees) for c in candidates]
        return cheapest_cover(items, deficits)


class FifoPolicy:
    """First come, first served; victims are the least recently used.

    What Ray Serve's multiplexing and ModelMesh do: no priorities, and deadlines only pass.
    """

    refuses_late = False
    patient = False
    couples = False
    prefetches = False
    one_at_a_time = False
    looks_every_ns = 0

    def order_key(self, pending: Pending) -> OrderKey:
        """See Policy."""
        return (0, 0, 0, pending.sequence)

    def choose_victims(
        self, candidates: list[Candidate], deficits: Amounts
    ) -> tuple[str, ...] | None:
        """See Policy."""
        rest = dict(deficits)
        chosen = []
        for candidate in sorted(candidates, key=lambda c: (c.used_ns, c.model)):
            if not rest:
                break
            chosen.append(candidate.model)
            rest = {
                pool: short - candidate.frees.get(pool, 0)
                for pool, short in rest.items()
                if short > candidate.frees.get(pool, 0)
            }
        return None if rest else tuple(chosen)


class LockPolicy(FifoPolicy):
    """What people write by hand: a lock, one model in memory at a time, and a short sleep.

    Whoever needs the memory while another has it tries again 100 ms later.
    """

    one_at_a_time = True
    looks_every_ns = 100_000_000


def rank(pending: Pending) -> int:
    """The priority a request counts as: its own, or nearly the highest once it has aged."""
    return max(pending.priority, AGED_PRIORITY) if pending.aged else pending.priority


def loss(candidate: Candidate) -> int:
    """What it costs to do without this engine: nanoseconds of loading per second of its absence.

    The time to have it back, spread over the time until it is wanted (Belady's rule with sizes and
    costs: who is wanted last, and cheap to have back, goes first), and a minute for each deadline
    that is missed for it; all weighed by importance.
    """
    if candidate.known_loss >= 0:
        return candidate.known_loss
    gap_ns = max(candidate.gap_ns, SHORTEST_GAP_NS)
    cost_ns = candidate.reload_ns
    if candidate.misses:
        cost_ns += candidate.misses * MISS_NS
    weighed_second_ns = SECOND_NS << (candidate.priority // DOUBLES_EVERY)
    candidate.known_loss = cost_ns * weighed_second_ns // gap_ns
    return candidate.known_loss


POLICIES: Mapping[str, Policy] = {
    "rota": RotaPolicy(),
    "fifo": FifoPolicy(),
    "lock": LockPolicy(),
}
"""By the name that the configuration uses."""
