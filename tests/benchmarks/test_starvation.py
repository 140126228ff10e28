"""How long what is unimportant waits while what is important never ends."""

from __future__ import annotations

from goal import judge

from scheduler.core.model import SECOND_NS, ModelSpec, PoolFootprint
from scheduler.core.outcome import Outcome
from scheduler.core.request import Request
from scheduler.core.settings import PoolBudget, Settings
from scheduler.sim.simulator import Simulator
from scheduler.sim.times import FixedTimes

MS = 1_000_000
RUN_NS, LOAD_NS, UNLOAD_NS = 10 * MS, 300 * MS, 20 * MS
EVERY_NS = 5 * MS
"""Twice as often as the engine can serve."""
LOW_EVERY_NS = 13 * SECOND_NS + 1_234_567
DURATION_NS = 150 * SECOND_NS


class Endless:
    """Important requests without an end; now and then an unimportant one, which is timed."""

    def __init__(self) -> None:
        pools = {"unified": PoolBudget(budget_bytes=1000)}
        self.settings = Settings(pools=pools)
        times = FixedTimes(LOAD_NS, RUN_NS, 0, UNLOAD_NS)
        self.simulator = Simulator(self.settings, {"high": times, "low": times})
        for name, priority in (("high", 90), ("low", 10)):
            footprint = {"unified": PoolFootprint(resident_bytes=600)}
            spec = ModelSpec(name=name, footprint=footprint, priority=priority, queue_limit=8)
            self.simulator.register(spec)
        self.asked_ns = 0
        self.waited_ns: list[int] = []

    def run(self) -> None:
        self.simulator.at(0, self.ask_high)
        self.simulator.at(LOW_EVERY_NS, self.ask_low)
        self.simulator.run(DURATION_NS)

    def ask_high(self, _: None) -> None:
        request = Request(id=self.simulator.next_request_id(), models=("high",))
        self.simulator.ask(request, Forgetful())
        self.simulator.at(self.simulator.now_ns + EVERY_NS, self.ask_high)

    def ask_low(self, _: None) -> None:
        self.asked_ns = self.simulator.now_ns
        request = Request(id=self.simulator.next_request_id(), models=("low",))
        self.simulator.ask(request, self)
        self.simulator.at(self.simulator.now_ns + LOW_EVERY_NS, self.ask_low)

    def finished(self, outcome: Outcome) -> None:
        assert outcome is Outcome.COMPLETED
        self.waited_ns.append(self.simulator.now_ns - self.asked_ns)


class Forgetful:
    """Does not look how its requests ended."""

    def finished(self, outcome: Outcome) -> None:
        del outcome


def test_the_unimportant_is_served() -> None:
    """After `ageing` one run that goes on is before it, then come the swap and its own run."""
    endless = Endless()
    endless.run()
    assert endless.settings.ageing_ns is not None
    bound_ns = endless.settings.ageing_ns + RUN_NS + UNLOAD_NS + LOAD_NS + RUN_NS
    worst_ns = max(endless.waited_ns)
    judge(
        "no starvation: priority 10 under endless priority 90 that leaves it no memory, "
        f"answered within {bound_ns / 1e9:.2f} s",
        f"at worst after {worst_ns / 1e9:.2f} s, of {len(endless.waited_ns)} requests",
        is_met=worst_ns <= bound_ns and len(endless.waited_ns) >= DURATION_NS // LOW_EVERY_NS - 1,
    )
