"""When leases begin: those that were granted to follow another one do when that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.decisions import GrantLease
from scheduler.core.events import EngineLost, LeaseEnded

if TYPE_CHECKING:
    from scheduler.trace.record import Record


class Beginnings:
    """Is shown every record in turn, and says which leases begin with it."""

    def __init__(self) -> None:
        self._following: dict[int, GrantLease] = {}

    def of(self, record: Record) -> list[GrantLease]:
        """The leases that begin with this step: granted to begin at once, or long before."""
        begun = []
        match record.event:
            case LeaseEnded(lease_id) if lease_id in self._following:
                begun.append(self._following.pop(lease_id))
            case EngineLost(model):
                lost = [k for k, g in self._following.items() if g.engines[0].model == model]
                for lease_id in lost:
                    del self._following[lease_id]
            case _:
                pass
        for decision in record.decisions:
            if isinstance(decision, GrantLease):
                if decision.after is None:
                    begun.append(decision)
                else:
                    self._following[decision.after] = decision
        return begun
