"""Short runs in turn: each its own call, its own error, all answered at the end."""

from __future__ import annotations

import threading

from anyio import create_task_group, to_thread

from scheduler.core.decisions import GrantLease
from scheduler.core.outcome import ReasonCode
from scheduler.errors import EngineOutOfMemory, InferenceFailed, RequestError

LIMIT_S = 10


async def ready(b):
    """An engine of which four runs are known. The clock stands still: they took no time."""
    script = b.add("a")
    for number in range(4):
        await b.runtime.infer("a", number)
    script.batches.clear()
    return script


def trains(b):
    granted = [d for r in b.ends.records for d in r.decisions if isinstance(d, GrantLease)]
    return [len(grant.request_ids) for grant in granted if grant.in_turn]


async def queue(b, script, payloads):
    """Ask for all while the first runs; what each came to, by payload."""
    came = {}

    async def ask(payload):
        try:
            came[payload] = await b.runtime.infer("a", payload)
        except RequestError as error:
            came[payload] = error

    script.block("infer")
    async with create_task_group() as group:
        group.start_soon(ask, "first")
        await script.blocked("infer")
        for payload in payloads:
            group.start_soon(ask, payload)
            await b.settle()
        script.release("infer")
    return came


async def test_who_queued_for_a_quick_engine_goes_in_turn_one_item_a_call(bench):
    b = bench()
    async with b.runtime:
        script = await ready(b)
        came = await queue(b, script, ["x", "y", "z"])
        assert came == {payload: payload for payload in ("first", "x", "y", "z")}
        assert script.batches == [["first"], ["x"], ["y"], ["z"]]
        assert trains(b) == [3]
        assert len({thread for name, thread in script.calls if name == "infer"}) == 1
        await b.all_well()


async def test_one_that_fails_fails_alone(bench):
    b = bench()
    async with b.runtime:
        script = await ready(b)
        errors = {"x": ValueError("bad input"), "z": EngineOutOfMemory("no room")}

        def answer(batch):
            if batch[0] in errors:
                raise errors[batch[0]]
            return list(batch)

        script.answer = answer
        came = await queue(b, script, ["x", "y"])
        assert came["y"] == "y"
        assert isinstance(came["x"], InferenceFailed)
        assert came["x"].__cause__ is errors["x"]
        assert errors["x"].__traceback__ is None
        assert came["x"].reason.code is ReasonCode.RUN_FAILED
        came = await queue(b, script, ["y", "z"])
        assert came["z"].reason.code is ReasonCode.OUT_OF_MEMORY
        assert came["y"] == "y"
        await b.all_well()


async def test_a_train_that_nobody_waits_for_any_more_stops_at_its_next_run(bench):
    b = bench()
    async with b.runtime:
        script = await ready(b)
        reached, gate = threading.Event(), threading.Event()

        def answer(batch):
            if batch == ["x"]:
                reached.set()
                assert gate.wait(LIMIT_S)
            return list(batch)

        script.answer = answer
        script.block("infer")
        async with create_task_group() as group:
            group.start_soon(b.runtime.infer, "a", "first")
            await script.blocked("infer")
            async with create_task_group() as others:
                for payload in "xyz":
                    others.start_soon(b.runtime.infer, "a", payload)
                    await b.settle()
                script.release("infer")
                assert await to_thread.run_sync(reached.wait, LIMIT_S)
                others.cancel_scope.cancel()
        gate.set()
        await b.until(lambda: not b.runtime.snapshot().leases)
        assert script.batches == [["first"], ["x"]]
        assert script.count("cancel") == 1
        await b.all_well()
