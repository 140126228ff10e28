"""A high-priority stream under full low-priority load: alone, with stream priorities, in turns."""

import dataclasses
import statistics
import time

import anyio
import pytest
from dense_engine import resident_bytes
from member import dense
from place import GIB, POOL
from serving import Steps, rota

from scheduler import Footprint

SECONDS = 5.0
PERIOD_S = 0.02
HEAVY_CLIENTS = 8


def member(folder, name, blocks, *, stream_priority):
    made = dense(folder, name, blocks, 3, stream_priority=stream_priority)
    return dataclasses.replace(made, footprint=Footprint(resident=resident_bytes(blocks)))


async def latencies(quick, heavies, rules, resources):
    """Return the quick model's latencies in ms, and the heavy answers per second."""
    took, heavy_runs = [], 0
    members = [quick, *heavies]
    async with rota(members, {POOL: 8 * GIB}, Steps(), rules, resources) as it:
        for one in members:
            await it.load(one.name)
        end = time.perf_counter() + SECONDS

        async def load(one):
            nonlocal heavy_runs
            while time.perf_counter() < end:
                await it.infer(one.name, one.inputs[0])
                heavy_runs += 1

        async with anyio.create_task_group() as tasks:
            for one in heavies:
                for _ in range(HEAVY_CLIENTS):
                    tasks.start_soon(load, one)
            await anyio.sleep(0.3)
            while (began := time.perf_counter()) < end:
                await it.infer(quick.name, quick.inputs[0])
                now = time.perf_counter()
                took.append((now - began) * 1e3)
                await anyio.sleep(max(0, PERIOD_S - (now - began)))
    return took, heavy_runs / SECONDS


@pytest.mark.usefixtures("fleet")
def test_a_high_priority_stream_under_full_load(folder, figures):
    rules = {
        "quick": {"priority": 90, "batch": {"max": 1}},
        "heavy0": {"priority": 10, "batch": {"max": 4}},
        "heavy1": {"priority": 10, "batch": {"max": 4}},
    }
    one_unit = {name: {**rule, "uses": {"gpu": 1}} for name, rule in rules.items()}
    ways = {
        "alone": (False, 0, rules, {}),
        "no stream priorities": (False, 2, rules, {}),
        "stream priorities": (True, 2, rules, {}),
        "uses gpu 1, no stream priorities": (False, 2, one_unit, {"gpu": 1}),
        "uses gpu 1, stream priorities": (True, 2, one_unit, {"gpu": 1}),
    }
    for way, (stream_priority, heavies, given, resources) in ways.items():
        quick = member(folder, "quick", 1, stream_priority=stream_priority)
        heavy = [
            member(folder, f"heavy{i}", 7, stream_priority=stream_priority) for i in range(heavies)
        ]
        copied = {name: dict(rule) for name, rule in given.items()}
        took, per_s = anyio.run(latencies, quick, heavy, copied, resources)
        took.sort()
        figures(
            f"high priority, {way}",
            p50_ms=statistics.median(took),
            p99_ms=took[int(len(took) * 0.99)],
            max_ms=took[-1],
            requests=len(took),
            heavy_per_s=per_s,
        )
        assert len(took) > 10
