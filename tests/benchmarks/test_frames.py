"""A large frame to a node and back, by message and through shared memory, side by side.

The node is another process, as on a robot, and answers each array with itself; the broker is a
mosquitto on loopback. Both ways take turns in one run over one connection each; a ratio is the
median of the ratios within each round.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from goal import CONSOLE, judge
from rich.table import Table

from scheduler.client import RotaClient
from scheduler.transport.own_broker import OwnBroker

SIZES = {"600 kB": 600_000, "6 MB": 6_000_000}
ROUNDS = 9
TRIPS = 10
WAYS = ("by message", "by frame")

MODULE = """
from scheduler import EnginePlugin


class Echo(EnginePlugin):
    def load(self):
        pass

    def infer(self, batch):
        return batch

    def unload(self):
        pass
"""

CONFIG = """
node: bench
memory: {{budget: 100MiB}}
models: {{echo: {{engine: "bench_echo:Echo", footprint: 1MiB}}}}
mqtt: {{url: "mqtt://127.0.0.1:{port}", frames: {{}}}}
"""

Ratios = dict[str, float]


@contextmanager
def node(folder: Path, port: int) -> Iterator[None]:
    (folder / "bench_echo.py").write_text(MODULE)
    config = folder / "bench.yaml"
    config.write_text(CONFIG.format(port=port))
    command = [sys.executable, "-m", "scheduler", "run", str(config)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=folder, **silent) as process:
        try:
            yield
        finally:
            process.terminate()


async def trip_ms(rota: RotaClient, frame: np.ndarray) -> float:
    spent_ms = []
    for _ in range(TRIPS):
        began = time.perf_counter()
        result = await rota.infer("echo", frame, deadline=20)
        spent_ms.append((time.perf_counter() - began) * 1e3)
        assert result.nbytes == frame.nbytes
    return median(spent_ms)


async def measure(port: int) -> dict[str, dict[str, list[float]]]:
    """The round trip in ms, by size and way, round by round."""
    url = f"mqtt://127.0.0.1:{port}"
    found: dict[str, dict[str, list[float]]] = {}
    async with AsyncExitStack() as stack:
        ways = {
            way: await stack.enter_async_context(
                RotaClient(url, node="bench", frames=way == "by frame")
            )
            for way in WAYS
        }
        for size, count in SIZES.items():
            frame = np.zeros(count, np.uint8)
            spent_ms = found[size] = {way: [] for way in WAYS}
            for way in WAYS:
                await trip_ms(ways[way], frame)
            assert ways["by frame"].frames_fault is None
            for _ in range(ROUNDS):
                for way in WAYS:
                    spent_ms[way].append(await trip_ms(ways[way], frame))
    return found


@pytest.fixture(scope="module")
def ratios(tmp_path_factory: pytest.TempPathFactory) -> Ratios:
    with OwnBroker(None) as broker, node(tmp_path_factory.mktemp("node"), broker.port):
        found = asyncio.run(measure(broker.port))
    table = Table(box=None)
    for heading in ("round trip, ms", *WAYS, "ratio"):
        table.add_column(heading, justify="right")
    told = {}
    for size, spent_ms in found.items():
        pairs = zip(spent_ms["by frame"], spent_ms["by message"], strict=True)
        told[size] = median(frame / message for frame, message in pairs)
        table.add_row(size, *(f"{median(spent_ms[way]):.2f}" for way in WAYS), f"{told[size]:.2f}")
    CONSOLE.print()
    CONSOLE.print(table)
    return told


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_quicker_than_a_message(ratios: Ratios, size: str) -> None:
    goal = f"frames: {size} there and back in less time than by message"
    judge(goal, f"{ratios[size]:.2f} x", is_met=ratios[size] < 1)
