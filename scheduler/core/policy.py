"""The judgements: who goes first, and whom to do without. Pure functions behind one seam.

A policy sees values and returns a choice. It changes nothing and may not look elsewhere, so that a
recorded run can be decided again, by the same policy or by another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from scheduler.core.model import PRIORITY_CRITICAL
from scheduler.core.request import NO_DEADLINE_NS

if TYPE_CHECKING:
    from scheduler.core.queue import OrderKey, Pending

AGED_PRIORITY = PRIORITY_CRITICAL - 1
"""What a request counts as once it has waited for the ageing time: only critical goes before it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine that could be unloaded: what that frees per pool, and what speaks against it."""

    model: str
    priority: int
    used_ns: int
    frees: Mapping[str, int]


class Policy(Protocol):
    """What can be decided differently without touching what is allowed."""

    def order_key(self, pending: Pending) -> OrderKey:
        """Sorts waiting requests, the first to serve smallest; unique by the request's sequence."""

    def choose_victims(
        self, candidates: Sequence[Candidate], deficits: Mapping[str, int]
    ) -> tuple[str, ...] | None:
        """The models to unload so that every deficit (bytes per pool) is covered, or None."""


class RotaPolicy:
    """Priority with ageing, then who waited too long, then deadline, then arrival.

    Victims are the least important first, among equals the longest unused; what turns out not to
    be needed is kept.
    """

    def order_key(self, pending: Pending) -> OrderKey:
        """See Policy. A request older than its `max_wait` goes before all others of its rank."""
        deadline = NO_DEADLINE_NS if pending.deadline_ns is None else pending.deadline_ns
        return (-rank(pending), 0 if pending.overdue else 1, deadline, pending.sequence)

    def choose_victims(
        self, candidates: Sequence[Candidate], deficits: Mapping[str, int]
    ) -> tuple[str, ...] | None:
        """See Policy."""
        useful = [c for c in candidates if any(c.frees.get(pool, 0) > 0 for pool in deficits)]
        chosen: list[Candidate] = []
        for candidate in sorted(useful, key=lambda c: (c.priority, c.used_ns, c.model)):
            if covers(chosen, deficits):
                break
            chosen.append(candidate)
        if not covers(chosen, deficits):
            return None
        for candidate in tuple(reversed(chosen)):
            rest = [c for c in chosen if c is not candidate]
            if covers(rest, deficits):
                chosen = rest
        return tuple(c.model for c in chosen)


def rank(pending: Pending) -> int:
    """The priority a request counts as: its own, or nearly the highest once it has aged."""
    return max(pending.priority, AGED_PRIORITY) if pending.aged else pending.priority


def covers(chosen: Sequence[Candidate], deficits: Mapping[str, int]) -> bool:
    """Whether unloading all of `chosen` covers every deficit."""
    return all(
        sum(c.frees.get(pool, 0) for c in chosen) >= short for pool, short in deficits.items()
    )


POLICIES: Mapping[str, Policy] = {"rota": RotaPolicy()}
"""By the name that the configuration uses."""
