"""What one call of `Scheduler.handle` costs."""

from __future__ import annotations

import time
from collections import defaultdict
from statistics import median

import pytest
from goal import judge
from msgspec import structs

from scheduler.core.decisions import FinishRequest, GrantLease, LoadEngine, UnloadEngine
from scheduler.core.events import (
    EngineLoaded,
    EngineUnloaded,
    Event,
    LeaseEnded,
    ModelRegistered,
    RequestArrived,
)
from scheduler.core.model import SECOND_NS, ModelSpec, PoolFootprint
from scheduler.core.request import Request
from scheduler.core.scheduler import Scheduler
from scheduler.core.settings import PoolBudget, Settings

MIB = 2**20
STEP_NS = 100_000
EVENTS = 4_000
CROWDED_EVENTS = 600
WAITING = 1_000
IDLE_LIMIT_US = 10.0
BUSY_LIMIT_US = 20.0
GROWTH_LIMIT = 3.0


class World:
    """A core with `models` of 10 MiB and memory for `fit` of them; measures each `handle`.

    Nothing happens by itself: what was decided lies in `due` until `answer`.
    """

    def __init__(self, models: int, fit: int) -> None:
        budget = PoolBudget(budget_bytes=fit * 12 * MIB)
        self.core = Scheduler(Settings(pools={"unified": budget}))
        self.now_ns = SECOND_NS
        self.spent_ns: dict[str, list[int]] = defaultdict(list)
        self.due: list[Event] = []
        self.waiting = 0
        self.asked = 0
        footprint = {"unified": PoolFootprint(resident_bytes=10 * MIB, workspace_bytes=2 * MIB)}
        spec = ModelSpec(name="", footprint=footprint, queue_limit=WAITING)
        self.names = [f"m{number}" for number in range(models)]
        for name in self.names:
            self.tell("register", ModelRegistered(structs.replace(spec, name=name)))

    def tell(self, what: str, event: Event) -> None:
        self.now_ns += STEP_NS
        began = time.perf_counter_ns()
        decisions = self.core.handle(event, self.now_ns)
        self.spent_ns[what].append(time.perf_counter_ns() - began)
        for decision in decisions:
            if isinstance(decision, LoadEngine):
                self.due.append(EngineLoaded(decision.model, decision.instance))
            elif isinstance(decision, UnloadEngine):
                self.due.append(EngineUnloaded(decision.model, decision.instance))
            elif isinstance(decision, GrantLease):
                self.due.append(LeaseEnded(decision.lease_id))
            elif isinstance(decision, FinishRequest):
                self.waiting -= 1

    def ask(self, what: str, model: str) -> None:
        self.asked += 1
        self.waiting += 1
        self.tell(what, RequestArrived(Request(id=self.asked, models=(model,))))

    def answer(self) -> None:
        """Let the oldest of what is under way end."""
        event = self.due.pop(0)
        self.tell(type(event).__name__, event)

    def answer_all(self) -> None:
        while self.due:
            self.answer()

    def load_all(self) -> None:
        for name in self.names:
            self.ask("first", name)
            self.answer_all()

    def median_us(self, *kinds: str) -> float:
        """Of these kinds of events, or of all."""
        return median(ns for kind in kinds or self.spent_ns for ns in self.spent_ns[kind]) / 1_000


def crowd(models: int, fit: int) -> World:
    """`WAITING` requests wait, and each that ends is replaced by another one."""
    world = World(models, fit)
    for number in range(WAITING):
        world.ask("first", world.names[number % models])
    world.spent_ns.clear()
    return world


def serve(world: World, events: int) -> None:
    """So many more, in turns with the other world: what disturbs one disturbs both."""
    for _ in range(events):
        while world.waiting < WAITING:
            world.ask("arrival", world.names[world.asked % len(world.names)])
        world.answer()


def test_a_request_to_a_loaded_idle_engine() -> None:
    world = World(models=10, fit=10)
    world.load_all()
    for number in range(EVENTS):
        world.ask("idle", world.names[number % 10])
        world.answer_all()
    took_us = world.median_us("idle")
    found = f"{took_us:.1f} us (and {world.median_us('LeaseEnded'):.1f} when it ends)"
    goal = f"handle: a request to a loaded, idle engine in at most {IDLE_LIMIT_US:g} us"
    judge(goal, found, is_met=took_us <= IDLE_LIMIT_US)


def test_any_other_event_with_ten_models() -> None:
    """Five of the ten fit; two requests are always open, so engines come and go all the time."""
    world = World(models=10, fit=5)
    world.load_all()
    world.spent_ns.clear()
    for number in range(EVENTS):
        world.ask("arrival", world.names[number * 7 % 10])
        while world.waiting > 2:
            world.answer()
    took_us = world.median_us()
    each = ", ".join(f"{kind} {world.median_us(kind):.1f}" for kind in sorted(world.spent_ns))
    goal = f"handle: otherwise, with 10 models, in at most {BUSY_LIMIT_US:g} us"
    judge(goal, f"{took_us:.1f} us ({each})", is_met=took_us <= BUSY_LIMIT_US)


@pytest.mark.parametrize("share", [1.0, 0.5], ids=["all fit", "half of them fit"])
def test_ten_times_the_models(share: float) -> None:
    few, many = crowd(10, int(10 * share)), crowd(100, int(100 * share))
    for _ in range(CROWDED_EVENTS // 50):
        serve(few, 50)
        serve(many, 50)
    few_us, many_us = few.median_us(), many.median_us()
    growth = many_us / few_us
    judge(
        f"handle: less than {GROWTH_LIMIT:g} x from 10 to 100 models, {WAITING:,} waiting, "
        f"{share:.0%} fit",
        f"{growth:.1f} x ({few_us:.1f} and {many_us:.1f} us)",
        is_met=growth < GROWTH_LIMIT,
    )
