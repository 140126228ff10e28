"""What a model that is in memory yields back to back, beside the same calls in a bare loop.

The engine works for 1 or 3 ms without the interpreter's lock: it sleeps, as one does that waits for
a device, or hashes, as one does that computes on a CPU. Both ways take turns in one run, and what
counts is how long it is from the beginning of one call to that of the next: the mean without the
longest twentieth, as other programs interrupt either way now and then.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from statistics import mean, median
from typing import Any

import pytest
from goal import judge

from scheduler import EnginePlugin, Model, Runtime
from scheduler.core.settings import PoolBudget, Settings

ROUNDS = 7
CALLS = 150
SHARE = 0.95
BUSY_S = 0.0002
MIB = 2**20
SETTINGS = Settings(pools={"unified": PoolBudget(budget_bytes=100 * MIB)})
BLOCK = bytes(MIB // 4)

Work = Callable[[], object]


def sleep(work_s: float) -> Work:
    return lambda: time.sleep(work_s)


def compute(work_s: float) -> Work:
    """Hash as much as takes so long here."""
    began, times = time.perf_counter(), 200
    for _ in range(times):
        hashlib.sha256(BLOCK).digest()
    data = bytes(int(work_s / (time.perf_counter() - began) * times * len(BLOCK)))
    return lambda: hashlib.sha256(data).digest()


class Clocked:
    """Notes when each call began."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.began_s: list[float] = []

    def __call__(self) -> None:
        self.began_s.append(time.perf_counter())
        self._work()

    def cycle_s(self) -> float:
        """From one beginning to the next; forgets them all."""
        cycles_s = sorted(b - a for a, b in zip(self.began_s, self.began_s[1:], strict=False))
        self.began_s.clear()
        return mean(cycles_s[: len(cycles_s) * 19 // 20])


def engine_of(work: Work) -> type[EnginePlugin]:
    class Worker(EnginePlugin):
        """Works once for each batch."""

        def load(self) -> None:
            pass

        def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
            work()
            return batch

        def unload(self) -> None:
            pass

    return Worker


@asynccontextmanager
async def serving(work: Clocked, items: int) -> AsyncIterator[Runtime]:
    async with Runtime(SETTINGS) as runtime:
        model = Model(name="a", footprint=MIB, batch={"max": items, "wait": 0})
        runtime.register(model, engine_of(work))
        await ask_often(runtime, items)
        work.began_s.clear()
        yield runtime


async def ask_often(runtime: Runtime, items: int) -> None:
    """Requests always wait: for the next batch, and two more."""
    in_flight = 2 * items + 2

    async def go_on() -> None:
        for _ in range(CALLS * items // in_flight):
            await runtime.infer("a", 1)

    await asyncio.gather(*(go_on() for _ in range(in_flight)))


@asynccontextmanager
async def busy_loop(share_s: float) -> AsyncIterator[None]:
    """The event loop has something else to do for so long at a time, and then as long nothing."""

    async def disturb() -> None:
        while True:
            end_s = time.perf_counter() + share_s
            while time.perf_counter() < end_s:
                pass
            await asyncio.sleep(share_s)

    disturbing = asyncio.ensure_future(disturb()) if share_s else None
    yield
    if disturbing is not None:
        disturbing.cancel()


async def shares(work: Clocked, items: int, busy_s: float) -> list[float]:
    """What is left of the bare rate, round by round."""
    found = []

    def alone() -> None:
        for _ in range(CALLS):
            work()

    async with serving(work, items) as runtime, busy_loop(busy_s):
        for _ in range(ROUNDS):
            await asyncio.to_thread(alone)
            bare_s = work.cycle_s()
            await ask_often(runtime, items)
            found.append(bare_s / work.cycle_s())
    return found


@pytest.mark.parametrize("work_ms", [1, 3])
@pytest.mark.parametrize(
    ("how", "items", "busy_s"),
    [(sleep, 1, 0), (compute, 1, 0), (sleep, 4, 0), (sleep, 1, BUSY_S)],
    ids=["sleeping", "computing", "sleeping_in_batches", "sleeping_beside_a_busy_loop"],
)
def test_a_resident_model_yields_what_its_library_does(
    work_ms: int, how: Callable[[float], Work], items: int, busy_s: float
) -> None:
    found = asyncio.run(shares(Clocked(how(work_ms / 1e3)), items, busy_s))
    beside = f", the loop busy for {busy_s * 1e6:.0f} us at a time" if busy_s else ""
    goal = f"{how.__name__} {work_ms} ms, batches of {items}{beside}: at least {SHARE:.0%} of bare"
    judge(goal, f"{median(found):.1%}", is_met=median(found) >= SHARE)
