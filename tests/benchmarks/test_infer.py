"""What a request costs through `Runtime.infer`, beside a hop to a thread and back.

The engine does nothing. The three ways take turns in one run, so that what disturbs one disturbs
all; a figure is the median of its rounds, a ratio that of the ratios within each round.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from do_nothing import Nothing
from goal import CONSOLE, judge
from rich.table import Table

from scheduler import EngineContext, EngineOptions, Model, Runtime
from scheduler.core.settings import PoolBudget, Settings
from scheduler.trace.header import Header
from scheduler.trace.writer import TraceWriter

ROUNDS = 9
ALONE_REQUESTS = 1_000
CROWD_REQUESTS = 4_000
IN_FLIGHT = 64
LATENCY_LIMIT = 1.3
RATE_LIMIT = 1.0
TRACE_LIMIT = 0.10

MIB = 2**20
SETTINGS = Settings(pools={"unified": PoolBudget(budget_bytes=100 * MIB)})
PAYLOAD = np.zeros(16, np.float32)

Ask = Callable[[], Awaitable[Any]]


@asynccontextmanager
async def asking_rota(*observers: TraceWriter) -> AsyncIterator[Ask]:
    model = Model(name="nothing", footprint=MIB, queue={"limit": IN_FLIGHT})
    async with Runtime(SETTINGS, observers=observers) as runtime:
        runtime.register(model, Nothing)

        async def ask() -> Any:
            return await runtime.infer("nothing", PAYLOAD)

        yield ask


@asynccontextmanager
async def asking_a_thread() -> AsyncIterator[Ask]:
    loop = asyncio.get_running_loop()
    engine = Nothing(EngineOptions(), EngineContext())
    with ThreadPoolExecutor(1) as thread:

        async def ask() -> Any:
            return await loop.run_in_executor(thread, engine.infer, [PAYLOAD])

        yield ask


async def latency_us(ask: Ask) -> float:
    """The median with one request in flight."""
    spent_ns = []
    for _ in range(ALONE_REQUESTS):
        began = time.perf_counter_ns()
        await ask()
        spent_ns.append(time.perf_counter_ns() - began)
    return median(spent_ns) / 1_000


async def rate_hz(ask: Ask) -> float:
    """Requests a second with `IN_FLIGHT` in flight."""

    async def go_on() -> None:
        for _ in range(CROWD_REQUESTS // IN_FLIGHT):
            await ask()

    began = time.perf_counter()
    await asyncio.gather(*(go_on() for _ in range(IN_FLIGHT)))
    return CROWD_REQUESTS // IN_FLIGHT * IN_FLIGHT / (time.perf_counter() - began)


class Rounds:
    """Latency (us) and rate (Hz) of each way, round by round."""

    def __init__(self) -> None:
        self.latency_us: dict[str, list[float]] = {}
        self.rate_hz: dict[str, list[float]] = {}

    async def measure(self, ways: dict[str, Ask]) -> None:
        for ask in ways.values():
            await latency_us(ask)
        for _ in range(ROUNDS):
            for name, ask in ways.items():
                self.latency_us.setdefault(name, []).append(await latency_us(ask))
            for name, ask in ways.items():
                self.rate_hz.setdefault(name, []).append(await rate_hz(ask))


def ratio(one: list[float], other: list[float]) -> float:
    return median(a / b for a, b in zip(one, other, strict=True))


async def measure_all(trace: Path) -> Rounds:
    rounds = Rounds()
    header = Header(node="bench", started_at="", started_ns=0, settings=SETTINGS)
    with TraceWriter(trace, header) as writer:
        async with AsyncExitStack() as stack:
            ways = {
                "thread": await stack.enter_async_context(asking_a_thread()),
                "rota": await stack.enter_async_context(asking_rota()),
                "traced": await stack.enter_async_context(asking_rota(writer)),
            }
            await rounds.measure(ways)
    return rounds


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    measured = asyncio.run(measure_all(tmp_path_factory.mktemp("trace") / "trace.jsonl"))
    table = Table(box=None)
    for heading in ("", "us, one in flight", f"requests/s, {IN_FLIGHT} in flight"):
        table.add_column(heading, justify="right")
    for name, latencies_us in measured.latency_us.items():
        rate = median(measured.rate_hz[name])
        table.add_row(name, f"{median(latencies_us):.1f}", f"{rate:,.0f}")
    CONSOLE.print()
    CONSOLE.print(table)
    return measured


def test_one_in_flight(rounds: Rounds) -> None:
    found = ratio(rounds.latency_us["rota"], rounds.latency_us["thread"])
    goal = f"infer: at most {LATENCY_LIMIT:g} x a one-thread hop with one in flight"
    judge(goal, f"{found:.2f} x", is_met=found <= LATENCY_LIMIT)


def test_many_in_flight(rounds: Rounds) -> None:
    found = ratio(rounds.rate_hz["rota"], rounds.rate_hz["thread"])
    goal = f"infer: at least {RATE_LIMIT:g} x the rate of a one-thread hop with {IN_FLIGHT}"
    judge(goal, f"{found:.2f} x", is_met=found >= RATE_LIMIT)


def test_a_trace_costs_little(rounds: Rounds) -> None:
    lost = 1 - ratio(rounds.rate_hz["traced"], rounds.rate_hz["rota"])
    slower = ratio(rounds.latency_us["traced"], rounds.latency_us["rota"]) - 1
    goal = f"infer: a trace costs at most {TRACE_LIMIT:.0%} of the rate with {IN_FLIGHT}"
    found = f"{lost:.0%} (and {slower:.0%} of the time with one in flight)"
    judge(goal, found, is_met=lost <= TRACE_LIMIT)
