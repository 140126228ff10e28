"""Cancelling at any moment: the caller has his answer at once, the books stay true."""

from __future__ import annotations

import asyncio
import random
import threading

import anyio
import pytest
from anyio import create_task_group

from scheduler.errors import DeadlineMissed, RequestError


async def test_a_cancelled_run_keeps_its_engine_until_the_thread_is_back(bench):
    b = bench()
    script = b.add()
    script.block("infer")
    log = []

    async def ask(payload, **keywords):
        try:
            log.append(await b.runtime.infer("a", payload, **keywords))
        except DeadlineMissed:
            log.append("missed")

    async def unload():
        await b.runtime.unload("a")
        log.append("unloaded")

    async with b.runtime:
        async with create_task_group() as tasks:
            tasks.start_soon(lambda: ask(1, deadline=0.2))
            await script.blocked("infer")
            await b.pass_time(0.2)
            assert log == ["missed"]  # at the deadline, not when the thread is back
            assert script.count("cancel") == 1
            tasks.start_soon(ask, 2)
            await b.settle()
            tasks.start_soon(unload)
            await b.settle()
            assert (script.count("infer"), script.count("unload")) == (1, 0)
            assert b.runtime.snapshot().leases
            script.release("infer")
        assert sorted(map(str, log)) == ["2", "missed", "unloaded"]
        await b.all_well()


async def test_cancel_is_called_from_the_loop_and_may_fail(bench, caplog):
    b = bench()
    script = b.add()
    script.block("infer")

    class Stubborn(script.plugin()):
        def cancel(self):
            super().cancel()
            raise SystemExit

    b.replace("a", Stubborn)
    async with b.runtime:
        async with create_task_group() as tasks:
            tasks.start_soon(b.runtime.infer, "a", 1)
            await script.blocked("infer")
            tasks.cancel_scope.cancel()
        assert ("cancel", threading.get_ident()) in script.calls
        assert "SystemExit" in caplog.text
        script.release("infer")
        await b.all_well()


async def test_a_run_that_is_called_off_before_it_begins_never_begins(bench):
    b = bench()
    script = b.add("a")
    async with b.runtime:
        await b.runtime.load("a")
        engine = b.driver._fleet["a"]
        gate = threading.Event()

        class Slow(type(engine._activity)):
            def __enter__(self):
                assert gate.wait(10)
                super().__enter__()

        engine._activity.__class__ = Slow
        async with create_task_group() as tasks:
            tasks.start_soon(b.runtime.infer, "a", "stale")
            await b.settle()
            tasks.cancel_scope.cancel()
        gate.set()
        await b.all_well()
        assert script.batches == [["fresh"]]


async def run_out(scope, reach):
    """Let the time of `scope` be over as soon as the moment is reached."""
    await reach()
    scope.deadline = anyio.current_time()


@pytest.mark.parametrize("moment", ["waiting", "held", "running"])
@pytest.mark.parametrize("how", ["task group", "move_on_after", "twice", "task"])
async def test_a_lease_is_given_back_however_it_is_cancelled(bench, how, moment, anyio_backend):
    if how == "task" and anyio_backend == "trio":
        how = "task group"  # trio has no tasks to cancel
    b = bench()
    script = b.add()

    async def hold():
        async with b.runtime.lease("a") as lease:
            if moment == "running":
                await lease.infer(1)
            await anyio.sleep_forever()

    async def reach():
        if moment == "waiting":
            await script.blocked("load")
        elif moment == "running":
            await script.blocked("infer")
        else:
            await b.until(lambda: b.runtime.snapshot().leases)

    script.block({"waiting": "load", "running": "infer", "held": "unload"}[moment])
    async with b.runtime:
        if how == "task":
            task = asyncio.get_running_loop().create_task(hold())
            await reach()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif how == "move_on_after":
            async with create_task_group() as tasks:
                with anyio.move_on_after(60) as scope:
                    tasks.start_soon(run_out, scope, reach)
                    await hold()
        else:
            async with create_task_group() as tasks:
                tasks.start_soon(hold)
                await reach()
                tasks.cancel_scope.cancel()
                if how == "twice":
                    tasks.cancel_scope.cancel()
        running = moment == "running"  # then the lease ends when the thread is back
        assert len(b.runtime.snapshot().leases) == 2 * running
        assert len(b.driver._calls) == running
        script.release({"waiting": "load", "running": "infer", "held": "unload"}[moment])
        await b.until(lambda: not b.runtime.snapshot().leases)
        await b.until(lambda: b.state() == "ready")
        assert b.reserved_mib() == 100
        await b.all_well()


async def test_a_grant_in_the_turn_of_the_cancellation_is_given_back(bench, anyio_backend):
    b = bench()
    b.add()

    async def second():
        async with b.runtime.lease("a"):
            await anyio.sleep_forever()

    async with b.runtime, create_task_group() as tasks:
        first = await b.runtime.lease("a").__aenter__()
        if anyio_backend == "asyncio":  # where the cancellation wins over what has happened
            task = asyncio.get_running_loop().create_task(second())
            cancel = task.cancel
        else:
            tasks.start_soon(second)
            cancel = tasks.cancel_scope.cancel
        await b.settle()
        await first.__aexit__(None, None, None)  # grants the lease to the second, which sleeps yet
        (lease,) = b.runtime.snapshot().leases
        assert lease.lease_id > first.lease_id
        cancel()
        with anyio.CancelScope(shield=True):
            await b.until(lambda: not b.runtime.snapshot().leases)
            await b.all_well()
    if anyio_backend == "asyncio":
        assert task.cancelled()


@pytest.mark.parametrize("seed", range(2))
async def test_random_cancels_lose_no_request(bench, seed):
    b = bench()
    script = b.add(queue={"limit": 1000})
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    ends = {"answered": 0, "cancelled": 0, "refused": 0}

    async def ask(payload):
        with anyio.move_on_after(dice.random() * 0.02) as scope:
            try:
                if payload % 4:
                    assert (
                        await b.runtime.infer("a", payload, deadline=dice.choice([None, 5]))
                        == payload
                    )
                else:
                    async with b.runtime.lease("a", ttl=3) as lease:
                        assert await lease.infer(payload) == payload
                ends["answered"] += 1
            except RequestError:
                ends["refused"] += 1
        ends["cancelled"] += scope.cancelled_caught

    async with b.runtime:
        async with create_task_group() as tasks:
            for payload in range(250):
                tasks.start_soon(ask, payload)
                if payload % 5 == 0:
                    await anyio.sleep(0.0005)
        assert sum(ends.values()) == 250
        await b.all_well()
        assert len(b.ends.ended()) == max(b.ends.ended())
    assert script.calls[-1][0] == "unload"
