"""A batch that would take far more than the budget is cut to what the budget allows."""

import dataclasses

import anyio
import numpy as np
import pytest
from member import TOLERANCE
from place import GIB, MIB, POOL
from serving import Steps, rota

from scheduler import EngineOutOfMemory, Footprint

COUNT = 32
BUDGET = 4 * GIB


def test_what_a_batch_of_32_would_take(fleet, watch, figures):
    plugin = fleet.members["i0"].plugin(POOL)
    before = watch.look().now_bytes
    plugin.load()
    stacked = np.concatenate([fleet.members["i0"].inputs[0]["x0"]] * COUNT)
    plugin._session.run({"x0": stacked})
    taken = watch.look().most_bytes - before
    plugin.unload()
    size = fleet.members["i0"].options.model.stat().st_size
    figures("a batch of 32 without a budget", model_mib=size / MIB, taken_gib=taken / GIB)


def test_a_large_batch_is_cut_and_answered(fleet, watch, figures):
    member = fleet.members["i0"]
    steps, errors = Steps(), []

    async def main():
        rules = {"i0": {"batch": {"max": COUNT, "wait": 0.05}}}
        async with rota([member], {POOL: BUDGET}, steps, rules) as it:

            async def ask(which):
                errors.append(member.error(which, await it.infer("i0", member.inputs[which])))

            await it.load("i0")
            watch.look()
            async with anyio.create_task_group() as tasks:
                for number in range(COUNT):
                    tasks.start_soon(ask, number % 3)

    anyio.run(main)
    seen = watch.look()
    most = seen.most_bytes - fleet.idle_bytes - fleet.once_bytes
    figures(
        "32 requests at once, 4 GiB",
        batches=dict(steps.batches["i0"]),
        most_gib=most / GIB,
        worst_error=max(errors),
    )
    assert len(errors) == COUNT
    assert max(errors) < TOLERANCE
    assert most <= BUDGET
    assert max(steps.batches["i0"]) < COUNT


def test_too_much_is_a_clean_error_and_harms_nobody(fleet, figures):
    small = dataclasses.replace(
        fleet.members["i1"], footprint=Footprint(resident=200 * MIB, per_item=0)
    )
    booked = small.footprint.to_pool()
    plugin, other = small.plugin(POOL, booked), fleet.members["d3"].plugin(POOL)
    plugin.load()
    other.load()
    with pytest.raises(EngineOutOfMemory) as caught:
        plugin.infer([small.inputs[0]] * 4)
    figures("gpu_mem_limit", said=str(caught.value)[:600])
    (answer,) = other.infer([fleet.members["d3"].inputs[1]])
    assert fleet.members["d3"].error(1, answer) < TOLERANCE
    other.unload()
    plugin.unload()
