"""Who waits, in which order.

Requests wait in lanes: one per target, which is a model, a set of models wanted together, or a held
lease. Only the first of a lane can be served next, so the heads of the lanes are all there is to
look at. The order among requests is in their keys (see `policy.order_key`), smallest first.

A lane can be set aside while there is provably nothing to do for it but to wait for its engine: so
what a pass costs does not grow with the engines that run.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Optional

from scheduler.core.model import QueueKeep

if TYPE_CHECKING:
    from scheduler.core.engine import Engine
    from scheduler.core.lease import Lease
    from scheduler.core.outcome import Reason
    from scheduler.core.request import Request

OrderKey = tuple[int, int, int, int]
BEFORE_ALL: Final[OrderKey] = (-(2**63), 0, 0, 0)
AFTER_ALL: Final[OrderKey] = (2**63, 0, 0, 0)
NOBODY: Final = -(2**63)
"""Less than any priority."""
Target = tuple[tuple[str, ...], Optional[int]]
Likeness = tuple[str, int, int, int, bool]
"""What decides whether the first of a lane is given memory, beside its place in the order: the
pool, the bytes to start and to have run, how important it is, and whether it is patient."""


class Pending:
    """A request that has not ended: it waits while `lease` is None, and holds that lease after."""

    __slots__ = (
        "aged",
        "arrived_ns",
        "deadline_ns",
        "key",
        "lane",
        "lease",
        "overdue",
        "priority",
        "request",
        "sequence",
    )

    def __init__(
        self,
        request: Request,
        lane: Lane,
        *,
        priority: int,
        deadline_ns: int | None,
        arrived_ns: int,
        sequence: int,
    ) -> None:
        self.request = request
        self.lane = lane
        self.priority = priority
        self.deadline_ns = deadline_ns
        self.arrived_ns = arrived_ns
        self.sequence = sequence
        self.aged = False
        self.overdue = False
        self.lease: Lease | None = None
        self.key: OrderKey = (0, 0, 0, 0)


class Lane:
    """The requests for one target, in order.

    `blocked` says what the first of them waits for. `only` is the one engine of a lane not under a
    lease; `keeps_latest` says that of each stream only the newest waits; `limit` and `max_wait_ns`
    are the least and the largest of its models'. `judged_in` is the epoch in which its head was
    last found to fit at all. `likeness` is that of a lane whose first was found behind others who
    wait for memory, until something changes for it alone.
    """

    __slots__ = (
        "_importance",
        "_priorities",
        "blocked",
        "engines",
        "entries",
        "judged_in",
        "keeps_latest",
        "likeness",
        "limit",
        "max_wait_ns",
        "only",
        "parent",
        "target",
    )

    def __init__(self, target: Target, engines: tuple[Engine, ...], parent: Lease | None) -> None:
        self.target = target
        self.engines = engines
        self.parent = parent
        self.only = engines[0] if len(engines) == 1 and parent is None else None
        self.limit = min(engine.spec.queue_limit for engine in engines)
        self.max_wait_ns = max(engine.spec.max_wait_ns for engine in engines)
        self.keeps_latest = engines[0].spec.queue_keep is QueueKeep.LATEST
        self.entries: list[tuple[OrderKey, Pending]] = []
        self._priorities: dict[int, int] = {}
        self._importance = NOBODY
        self.judged_in = -1
        self.likeness: Likeness | None = None
        self.blocked: Reason | None = None

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def head(self) -> Pending:
        """The first of the lane, which must not be empty."""
        return self.entries[0][1]

    @property
    def second(self) -> Pending | None:
        """Who is next once the first is gone."""
        return self.entries[1][1] if len(self.entries) > 1 else None

    def importance(self) -> int:
        """The highest priority among those who wait here: they all wait for the same.

        Without age, which is no importance: the head may be there for its age alone.
        """
        return self._importance

    def insert(self, pending: Pending) -> None:
        """Let a request wait here, at the place its key gives it."""
        self.likeness = None
        insort(self.entries, (pending.key, pending))
        priorities, priority = self._priorities, pending.priority
        priorities[priority] = priorities.get(priority, 0) + 1
        self._importance = max(self._importance, priority)

    def take(self, pending: Pending) -> None:
        """Take a waiting request out."""
        self.likeness = None
        if self.entries[0][1] is pending:
            del self.entries[0]
        else:
            del self.entries[bisect_left(self.entries, (pending.key,))]
        priorities, priority = self._priorities, pending.priority
        if priorities[priority] == 1:
            del priorities[priority]
            if priority == self._importance:
                self._importance = max(priorities) if priorities else NOBODY
        else:
            priorities[priority] -= 1


class Queue:
    """All lanes that have somebody waiting, sorted by the key of their first.

    `aside` are those lanes set aside, by the name of the one engine that each is for. `customers`
    are the models that are waited for alone, with the priority of the first who does.
    """

    __slots__ = ("_by_model", "_heads", "_lanes", "aside", "customers", "payload_bytes")

    def __init__(self) -> None:
        self._lanes: dict[Target, Lane] = {}
        self._by_model: dict[str, list[Lane]] = {}
        self._heads: list[tuple[OrderKey, Lane]] = []
        self.aside: dict[str, Lane] = {}
        self.customers: dict[str, int] = {}
        self.payload_bytes = 0

    def __bool__(self) -> bool:
        """Whether there is a lane to look at: somebody waits, and it is not set aside."""
        return bool(self._heads)

    def find(self, target: Target) -> Lane | None:
        """The lane of `target`, if there is one."""
        return self._lanes.get(target)

    def open(self, target: Target, engines: tuple[Engine, ...], parent: Lease | None) -> Lane:
        """Make the lane of a new target."""
        lane = self._lanes[target] = Lane(target, engines, parent)
        for model in target[0]:
            self._by_model.setdefault(model, []).append(lane)
        return lane

    def drop_lane(self, target: Target) -> None:
        """Forget an empty lane whose model or lease is gone."""
        lane = self._lanes.pop(target)
        assert not lane.entries, f"{target} still has requests"
        for model in target[0]:
            self._by_model[model].remove(lane)

    def add(self, pending: Pending) -> None:
        """Let a request wait in its lane, at the place its key gives it."""
        lane = pending.lane
        old_head = lane.entries[0][0] if lane.entries else None
        lane.insert(pending)
        self.payload_bytes += pending.request.payload_bytes
        self._moved(lane, old_head)

    def remove(self, pending: Pending) -> None:
        """Take a waiting request out of its lane."""
        lane = pending.lane
        old_head = lane.entries[0][0]
        lane.take(pending)
        self.payload_bytes -= pending.request.payload_bytes
        self._moved(lane, old_head)

    def heads(self) -> list[tuple[OrderKey, Lane]]:
        """The lanes to look at, in the order of their first's key (a copy)."""
        return list(self._heads)

    def set_aside(self, lane: Lane) -> None:
        """Look at this lane no more until its first is another, or it is brought back."""
        assert lane.only is not None
        self.aside[lane.only.name] = lane
        del self._heads[bisect_left(self._heads, (lane.entries[0][0],))]

    def bring_back(self, model: str) -> Lane | None:
        """Look again at the lane of `model`, if it was set aside. Returns it then."""
        lane = self.aside.pop(model, None)
        if lane is not None:
            insort(self._heads, (lane.entries[0][0], lane))
        return lane

    def bring_all_back(self) -> None:
        """Look at every lane again."""
        for model in list(self.aside):
            self.bring_back(model)
        for _, lane in self._heads:
            lane.likeness = None

    def changed(self, model: str) -> None:
        """The engine of `model` is another than it was: its lane is like others no more."""
        lane = self._lanes.get(((model,), None))
        if lane is not None:
            lane.likeness = None

    def lanes_of(self, model: str) -> list[Lane]:
        """The lanes, empty ones included, whose target names `model` (a copy)."""
        return list(self._by_model.get(model, ()))

    def waiting(self) -> Iterator[Pending]:
        """Everybody who waits, in order."""
        entries = [entry for lane in self._lanes.values() for entry in lane.entries]
        return iter([pending for _, pending in sorted(entries)])

    def check(self) -> None:
        """Assert that what is kept beside the lanes agrees with them."""
        lanes = [lane for lane in self._lanes.values() if lane.only is not None and lane.entries]
        first = {lane.engines[0].name: lane.head.priority for lane in lanes}
        assert self.customers == first, f"{self.customers} != {first}"

    def _moved(self, lane: Lane, old_head: OrderKey | None) -> None:
        new_head = lane.entries[0][0] if lane.entries else None
        if new_head == old_head:
            return
        if lane.only is not None:
            self._note_customer(lane, lane.only.name)
        if lane.only is not None and self.aside.get(lane.only.name) is lane:
            del self.aside[lane.only.name]
        elif old_head is not None:
            del self._heads[bisect_left(self._heads, (old_head,))]
        if new_head is not None:
            insort(self._heads, (new_head, lane))

    def _note_customer(self, lane: Lane, model: str) -> None:
        if lane.entries:
            self.customers[model] = lane.entries[0][1].priority
        else:
            del self.customers[model]
