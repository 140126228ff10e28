"""The run that follows another one: the engine's thread has it at hand, whatever the loop does."""

from __future__ import annotations

import threading
import time

from anyio import CancelScope, create_task_group, to_thread

LIMIT_S = 10
RUN_NS = 2_000_000


async def ready(b, run_ns=RUN_NS):
    """An engine of which runs of that length are known."""
    script = b.add("a")

    def answer(batch):
        b.clock._now_ns += run_ns
        return list(batch)

    script.answer = answer
    for number in range(4):
        await b.runtime.infer("a", number)
    script.batches.clear()
    return script


def following(b):
    (engine,) = b.runtime.snapshot().engines
    return engine.following


async def test_it_begins_without_the_loop(bench):
    b = bench()
    async with b.runtime:
        script = await ready(b)
        came = []

        async def ask(payload):
            came.append(await b.runtime.infer("a", payload))

        script.block("infer")
        async with create_task_group() as group:
            group.start_soon(ask, "first")
            await script.blocked("infer")
            for payload in ("next", "third"):
                group.start_soon(ask, payload)
                await b.settle()
            assert following(b)
            script.release("infer")
            end_s = time.monotonic() + LIMIT_S
            while len(script.batches) < 2 and time.monotonic() < end_s:
                time.sleep(0.001)  # noqa: ASYNC251 - the loop is to stand still
            assert script.batches == [["first"], ["next"]]
            assert came == []
        assert sorted(came) == ["first", "next", "third"]
        await b.all_well()


async def test_one_that_nobody_waits_for_is_not_begun_and_the_one_before_not_disturbed(bench):
    b = bench()
    async with b.runtime:
        script = await ready(b)
        script.block("infer")
        async with create_task_group() as group:
            group.start_soon(b.runtime.infer, "a", "first")
            await script.blocked("infer")
            async with create_task_group() as others:
                others.start_soon(b.runtime.infer, "a", "next")
                await b.settle()
                assert following(b)
                others.cancel_scope.cancel()
            assert script.count("cancel") == 0
            script.release("infer")
        await b.until(lambda: not b.runtime.snapshot().leases)
        assert script.batches == [["first"]]
        assert script.count("cancel") == 0
        await b.all_well()


async def test_each_of_two_that_are_called_off_is(bench):
    b = bench()
    async with b.runtime:
        script = await ready(b)
        script.block("infer")
        with CancelScope() as scope:
            async with create_task_group() as group:
                group.start_soon(b.runtime.infer, "a", "first")
                await script.blocked("infer")
                group.start_soon(b.runtime.infer, "a", "next")
                await b.settle()
                assert following(b)
                scope.cancel()
        assert script.count("cancel") == 1
        script.release("infer")
        await b.until(lambda: not b.runtime.snapshot().leases)
        assert script.batches == [["first"]]
        await b.all_well()


async def test_a_train_that_is_called_off_stops_though_the_next_run_is_too(bench):
    b = bench()
    async with b.runtime:
        script = await ready(b, run_ns=400_000)
        answer, reached, gate = script.answer, threading.Event(), threading.Event()

        def stop_at_y(batch):
            if batch == ["y"]:
                reached.set()
                assert gate.wait(LIMIT_S)
            return answer(batch)

        script.answer = stop_at_y
        script.block("infer")
        async with create_task_group() as group:
            group.start_soon(b.runtime.infer, "a", "first")
            await script.blocked("infer")
            group.start_soon(b.runtime.infer, "a", "x")
            await b.settle()
            async with create_task_group() as others:
                for payload in "yzw":
                    others.start_soon(b.runtime.infer, "a", payload)
                    await b.settle()
                script.release("infer")
                assert await to_thread.run_sync(reached.wait, LIMIT_S)
                await b.until(lambda: following(b))
                others.cancel_scope.cancel()
        gate.set()
        await b.until(lambda: not b.runtime.snapshot().leases)
        assert script.batches == [["first"], ["x"], ["y"]]
        await b.all_well()


async def test_who_leaves_meanwhile_has_both_answered(bench):
    b = bench()
    came = []

    async def ask(payload):
        came.append(await b.runtime.infer("a", payload))

    async with create_task_group() as group, b.runtime:
        script = await ready(b)
        script.block("infer")
        group.start_soon(ask, "first")
        await script.blocked("infer")
        group.start_soon(ask, "next")
        await b.settle()
        assert following(b)
        script.release("infer")
    assert sorted(came) == ["first", "next"]
