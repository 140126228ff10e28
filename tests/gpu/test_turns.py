"""Nine engines of two kinds, three times the budget, take turns under mixed load."""

import os
import random
import time

import anyio
from member import TOLERANCE
from place import GIB, MIB, POOL
from serving import Steps, rota

from scheduler import RotaError

SECONDS = float(os.environ.get("ROTA_GPU_SECONDS", "300"))
BUDGET = 4 * GIB
CLIENTS = 3
PRIORITIES = {"i0": 75, "i1": 75, "d0": 60, "m0": 25}
PAUSE_S = 0.3


def test_nine_engines_take_turns_within_the_budget(fleet, watch, figures):
    steps, errors, failures = Steps(), {name: [] for name in fleet.members}, []
    waits = {name: [] for name in fleet.members}
    rules = {name: {"priority": PRIORITIES.get(name, 50)} for name in fleet.members}

    async def ask(it, member, client):
        dice = random.Random(f"{member.name} {client}")  # noqa: S311 - a load, no secret
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            which, began = dice.randrange(len(member.inputs)), time.monotonic()
            try:
                answer = await it.infer(member.name, member.inputs[which])
            except RotaError as error:
                failures.append(f"{member.name}: {error}")
            else:
                errors[member.name].append(member.error(which, answer))
                waits[member.name].append(time.monotonic() - began)
            await anyio.sleep(dice.expovariate(1 / PAUSE_S))

    async def main():
        runtime = rota(fleet.members.values(), {POOL: BUDGET}, steps, rules)
        async with runtime, anyio.create_task_group() as tasks:
            for member in fleet.members.values():
                for client in range(CLIENTS):
                    tasks.start_soon(ask, runtime, member, client)

    watch.look()
    began = time.monotonic()
    anyio.run(main)
    seen = watch.look()
    most = seen.most_bytes - fleet.idle_bytes
    total = sum(one.footprint.resident for one in fleet.members.values())
    figures(
        "taking turns",
        seconds=time.monotonic() - began,
        resident_sum_gib=total / GIB,
        nvml_most_mib=most // MIB,
        budget_plus_once_mib=(BUDGET + fleet.once_bytes) // MIB,
        nvml_polls=seen.polls,
        booked_most_mib=steps.most_booked_bytes[POOL] // MIB,
        left_at_the_end_mib=(seen.now_bytes - fleet.idle_bytes) // MIB,
        loads=dict(steps.loads),
        alarms=dict(steps.alarms),
        out_of_memory=steps.out_of_memory,
        failures=failures[:5],
    )
    for name in fleet.members:
        figures(
            f"turns of {name}",
            answers=len(errors[name]),
            worst_error=max(errors[name], default=None),
            median_s=sorted(waits[name])[len(waits[name]) // 2] if waits[name] else None,
            longest_s=max(waits[name], default=None),
            batches=dict(steps.batches.get(name, {})),
        )
    assert not failures
    assert steps.out_of_memory == 0
    assert all(errors.values())
    assert max(max(part) for part in errors.values()) < TOLERANCE
    assert most <= BUDGET + fleet.once_bytes
