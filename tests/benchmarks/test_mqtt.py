"""What a request costs over MQTT, beside a bare aiomqtt program that answers with what it is sent.

Both are processes of their own at one mosquitto, asked by the same client; all sockets have
TCP_NODELAY, the broker's too. They take turns in one run, so that what disturbs one disturbs both:
with one in flight after `TURN` requests each, and the times of all of them have one median; with
many after each round, and a ratio is the median of those within each round. 64 bytes are JSON, the
rest are arrays as npy files, which come back as such; the engine does nothing.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from echo_responder import TOPIC as ECHO
from goal import CONSOLE, judge
from mqtt_asker import Asker
from rich.table import Table

from scheduler.transport.own_broker import OwnBroker

ROUNDS = 7
TURN = 10
IN_FLIGHT = 64
LATENCY_LIMIT = 1.3
RATE_LIMIT = 0.7
START_S = 20.0

HERE = Path(__file__).parent
CONFIG = """
node: bench
memory: {{budget: 300MiB}}
models:
  nothing: {{engine: "do_nothing:Nothing", footprint: 1MiB, queue: {{limit: 64}}}}
mqtt: {{url: "mqtt://127.0.0.1:{port}"}}
"""
NODE = "rota/bench/models/nothing/infer"
STATUSES = {f"{ECHO}/status": b"here", "rota/bench/status": b'"online"'}

JSON = "application/json"
NPY = "application/x-npy"
NPY_HEADER_BYTES = 128

Ask = Callable[[], Awaitable[bytes]]


def npy(size: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(size - NPY_HEADER_BYTES, np.uint8))
    return file.getvalue()


@dataclass(frozen=True)
class Case:
    """One payload at one quality of service, and how many to ask for a figure."""

    name: str
    payload: bytes
    content_type: str
    qos: int
    alone: int
    crowd: int

    def __str__(self) -> str:
        return f"{self.name} at QoS {self.qos}"


SIZES = (
    ("64 B", b'{"payload": "%s"}' % (b"x" * 48), JSON, 200, 640),
    ("6 kB", npy(6_000), NPY, 200, 640),
    ("600 kB", npy(600_000), NPY, 40, 128),
)
CASES = [
    Case(name, payload, kind, qos, alone, crowd)
    for name, payload, kind, alone, crowd in SIZES
    for qos in (0, 1)
]


NAMES = [str(case) for case in CASES]


@dataclass
class Found:
    """Of one case: each time with one in flight, and the rate with many round by round."""

    latency_us: dict[str, list[float]] = field(default_factory=dict)
    rate_hz: dict[str, list[float]] = field(default_factory=dict)


@contextmanager
def program(*words: str, log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdout=out,
            stderr=out,
            env={**os.environ, "PYTHONPATH": str(HERE)},
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@asynccontextmanager
async def asker(folder: Path) -> AsyncIterator[Asker]:
    """A client, with an echo and a node that are there."""
    with ExitStack() as stack:
        broker = stack.enter_context(OwnBroker(None))
        config = folder / "bench.yaml"
        config.write_text(CONFIG.format(port=broker.port))
        echo = str(HERE / "echo_responder.py")
        stack.enter_context(program(echo, str(broker.port), log=folder / "echo.log"))
        node = ("-m", "scheduler", "run", str(config))
        stack.enter_context(program(*node, log=folder / "node.log"))
        async with Asker(broker.port, in_flight=IN_FLIGHT) as client:
            await client.listen(*STATUSES)
            await asyncio.wait_for(are_here(client), START_S)
            yield client


async def are_here(client: Asker) -> None:
    missing = set(STATUSES)
    async for message in client.messages:
        topic = str(message.topic)
        if STATUSES[topic] in bytes(message.payload):
            missing.discard(topic)
        if not missing:
            return


async def latencies_us(ask: Ask) -> AsyncIterator[float]:
    """The time of each request of a turn, one in flight. The first is not counted.

    What the other way has still to do after its last answer would fall on it.
    """
    for number in range(TURN + 1):
        began = time.perf_counter_ns()
        await ask()
        if number:
            yield (time.perf_counter_ns() - began) / 1_000


async def rate_hz(ask: Ask, number: int) -> float:
    """Requests a second with `IN_FLIGHT` in flight."""

    async def go_on() -> None:
        for _ in range(number // IN_FLIGHT):
            await ask()

    began = time.perf_counter()
    await asyncio.gather(*(go_on() for _ in range(IN_FLIGHT)))
    return number // IN_FLIGHT * IN_FLIGHT / (time.perf_counter() - began)


async def measure(client: Asker, case: Case) -> Found:
    def asking(topic: str) -> Ask:
        return lambda: client.ask(topic, case.payload, case.content_type, case.qos)

    ways = {"echo": asking(ECHO), "rota": asking(NODE)}
    answers = {name: await ask() for name, ask in ways.items()}
    assert answers["echo"] == case.payload
    if case.content_type == NPY:
        assert answers["rota"] == case.payload
    found = Found()
    for ask in ways.values():
        await rate_hz(ask, IN_FLIGHT)
    for _ in range(ROUNDS):
        for _ in range(case.alone // TURN):
            for name, ask in ways.items():
                found.latency_us.setdefault(name, []).extend([us async for us in latencies_us(ask)])
        for name, ask in ways.items():
            found.rate_hz.setdefault(name, []).append(await rate_hz(ask, case.crowd))
    return found


async def measure_all(folder: Path) -> dict[str, Found]:
    async with asker(folder) as client:
        return {str(case): await measure(client, case) for case in CASES}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    measured = asyncio.run(measure_all(tmp_path_factory.mktemp("mqtt")))
    table = Table(box=None)
    for heading in ("", "ms, one in flight", f"requests/s, {IN_FLIGHT} in flight"):
        table.add_column(heading, justify="right")
    for case, one in measured.items():
        for way, latencies_us in one.latency_us.items():
            rate = median(one.rate_hz[way])
            table.add_row(f"{case}, {way}", f"{median(latencies_us) / 1e3:.2f}", f"{rate:,.0f}")
    CONSOLE.print()
    CONSOLE.print(table)
    return measured


@pytest.mark.parametrize("case", NAMES)
def test_one_in_flight(found: dict[str, Found], case: str) -> None:
    times_us = found[case].latency_us
    value = median(times_us["rota"]) / median(times_us["echo"])
    goal = f"MQTT, {case}: at most {LATENCY_LIMIT:g} x a bare echo with one in flight"
    judge(goal, f"{value:.2f} x", is_met=value <= LATENCY_LIMIT)


@pytest.mark.parametrize("case", NAMES)
def test_many_in_flight(found: dict[str, Found], case: str) -> None:
    rates_hz = found[case].rate_hz
    value = median(a / b for a, b in zip(rates_hz["rota"], rates_hz["echo"], strict=True))
    goal = f"MQTT, {case}: at least {RATE_LIMIT:g} x the rate of a bare echo with {IN_FLIGHT}"
    judge(goal, f"{value:.2f} x", is_met=value >= RATE_LIMIT)
