"""A small pretended robot: the real core, virtual time, five models that do not fit together."""

from __future__ import annotations

import heapq
from itertools import count
from random import Random

import pytest

from scheduler.core import events as ev
from scheduler.core.decisions import GrantLease, LoadEngine, RevokeLease, UnloadEngine
from scheduler.core.model import ModelSpec, PoolFootprint
from scheduler.core.request import Request, RequestKind
from scheduler.core.scheduler import Scheduler
from scheduler.core.settings import PoolBudget, Settings
from scheduler.trace.record import Record

MIB = 1 << 20
MS = 1_000_000
SECOND = 1_000 * MS

SETTINGS = Settings(
    pools={"unified": PoolBudget(budget_bytes=420 * MIB, overhead_bytes=24 * MIB)},
    resources={"gpu": 1},
)


def spec(name, resident, workspace, peak, **rules):
    footprint = PoolFootprint(
        resident_bytes=resident * MIB, workspace_bytes=workspace * MIB, load_peak_bytes=peak * MIB
    )
    return ModelSpec(name=name, footprint={"unified": footprint}, **rules)


# name: (spec, load ms, run ms, first s, every ms, jitter ms)
MODELS = {
    "slam": (spec("slam", 40, 12, 40, priority=90, pinned=True), 30, 2.7, 0.0, 25, 0),
    "faces": (
        spec("faces", 40, 90, 70, priority=60, deadline_ns=100 * MS, uses={"gpu": 1}),
        57, 24, 0.4, 33, 4,
    ),
    "voice": (spec("voice", 14, 1, 14, priority=70), 17, 0.4, 0.2, 8, 0),
    "speech": (
        spec("speech", 121, 20, 160, priority=50, deadline_ns=900 * MS, uses={"gpu": 1}),
        140, 150, 3.0, 2400, 600,
    ),
    "text": (
        spec("text", 120, 100, 190, priority=30, deadline_ns=600 * MS, uses={"gpu": 1}),
        90, 120, 1.2, 350, 60,
    ),
}  # fmt: skip


class Robot:
    """Acts on what the core decides in pretended time, and keeps every record."""

    def __init__(self, seconds, seed=1):
        self.core = Scheduler(SETTINGS)
        self.records = []
        self.end_ns = int(seconds * SECOND)
        self.random = Random(seed)  # noqa: S311 - it only has to be the same each time
        self.heap = []
        self.order = count()
        self.ids = count(1)
        self.models = {}

    def at(self, when_ns, event):
        heapq.heappush(self.heap, (int(when_ns), next(self.order), event))

    def plan(self):
        for name, (model, _, _, first, every, jitter) in MODELS.items():
            self.at(0, ev.ModelRegistered(model))
            when = first * SECOND
            while when < self.end_ns:
                self.ask(when, name, stream=name)
                when += (every + self.random.uniform(-jitter, jitter)) * MS
        self.at(self.end_ns, ev.DrainRequested())

    def ask(self, when_ns, *names, **rules):
        self.at(when_ns, ev.RequestArrived(Request(id=next(self.ids), models=names, **rules)))

    def run(self):
        while self.heap or self.core.next_timer() is not None:
            timer = self.core.next_timer()
            if self.heap and (timer is None or self.heap[0][0] <= timer):
                now, _, event = heapq.heappop(self.heap)
            else:
                now, event = timer, ev.TimerFired()
            self.step(event, now)
        return self

    def step(self, event, now):
        decisions = tuple(self.core.handle(event, now))
        self.core.check_invariants()
        reserved = self.core.reserved_bytes()
        self.records.append(Record(len(self.records) + 1, now, event, decisions, reserved))
        for decision in decisions:
            self.act(decision, now)

    def act(self, decision, now):
        match decision:
            case LoadEngine(model, instance):
                took = MODELS[model][1] * MS
                self.at(now + took, ev.EngineLoaded(model, instance))
            case UnloadEngine(model, instance):
                self.at(now + 12 * MS, ev.EngineUnloaded(model, instance))
            case GrantLease(lease_id, engines, _, holds):
                took = 2_500 if holds else MODELS[engines[0].model][2]
                self.at(now + took * MS, ev.LeaseEnded(lease_id))
            case RevokeLease(lease_id):
                self.at(now + 5 * MS, ev.LeaseEnded(lease_id))
            case _:
                pass

    def sample(self, every_s=0.25):
        """Measured bytes: what was reserved, less a little, as a machine would show it."""
        for step in range(int(self.end_ns / SECOND / every_s)):
            used = (250 + self.random.randint(0, 60)) * MIB
            self.at(step * every_s * SECOND, ev.MemorySampled("unified", used_bytes=used))
        return self


@pytest.fixture(scope="session")
def robot():
    """Six seconds of it, with a held lease, a hold of two engines and runs under a lease."""
    made = Robot(6)
    made.plan()
    made.sample()
    made.ask(2 * SECOND, "text", kind=RequestKind.HOLD, priority=80, ttl_ns=SECOND)
    made.ask(4 * SECOND, "faces", "voice", kind=RequestKind.HOLD, priority=80)
    return made.run()
