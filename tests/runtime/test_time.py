"""Clocks, timers, suspension and the pulse."""

from __future__ import annotations

import time

import anyio
import pytest
from anyio import create_task_group

from scheduler.core.outcome import ReasonCode
from scheduler.errors import DeadlineMissed, LeaseRevoked
from scheduler.runtime.clock import ManualClock, MonotonicClock
from scheduler.runtime.suspend import SuspendWatch, asleep_ns
from scheduler.runtime.timekeeper import Timekeeper


async def test_a_manual_clock_wakes_those_whose_time_has_come():
    clock = ManualClock(10)
    woken = []

    async def sleep(until_ns):
        await clock.sleep_until(until_ns)
        woken.append(until_ns)

    async with create_task_group() as tasks:
        for until_ns in (40, 20, 30, 10):
            tasks.start_soon(sleep, until_ns)
        await anyio.wait_all_tasks_blocked()
        assert (woken, clock.next_sleeper_ns) == ([10], 20)
        clock.advance(20)
        await anyio.wait_all_tasks_blocked()
        assert (sorted(woken), clock.now_ns()) == ([10, 20, 30], 30)
        with pytest.raises(ValueError, match="backwards"):
            clock.advance(-1)
        with anyio.move_on_after(0):
            await clock.sleep_until(99)
        assert clock.next_sleeper_ns == 40
        tasks.cancel_scope.cancel()
    assert clock.next_sleeper_ns is None


async def test_the_monotonic_clock_does_not_wake_early():
    clock = MonotonicClock()
    due_ns = clock.now_ns() + 5_000_000
    await clock.sleep_until(due_ns)
    assert clock.now_ns() >= due_ns
    await clock.sleep_until(0)


async def test_the_timekeeper_sleeps_for_the_earliest_timer_and_wakes_no_more_than_needed():
    clock, timers, fired, naps = ManualClock(), [], [], []
    sleep_until = clock.sleep_until

    async def counted(deadline_ns):
        naps.append(deadline_ns)
        await sleep_until(deadline_ns)

    def fire():
        fired.append(clock.now_ns())
        timers[:] = [due for due in timers if due > clock.now_ns()]

    clock.sleep_until = counted
    keeper = Timekeeper(clock, lambda: min(timers, default=None), fire)
    async with create_task_group() as tasks:
        tasks.start_soon(keeper.run)
        await anyio.wait_all_tasks_blocked()
        for due in (100, 50, 70):
            timers.append(due)
            keeper.look()
            await anyio.wait_all_tasks_blocked()
        assert naps == [100, 50]
        timers.remove(50)  # put off: it wakes once for nothing
        for _ in range(5):
            keeper.look()
            await anyio.wait_all_tasks_blocked()
        assert naps == [100, 50]
        for _ in range(10):
            clock.advance(10)
            await anyio.wait_all_tasks_blocked()
        assert fired == [50, 70, 100]
        clock.advance(1000)
        assert keeper.overdue_ns() == 0
        keeper.stop()


async def test_wall_clock_jumps_change_nothing(bench, monkeypatch):
    b = bench(clock=None)
    b.add(keep_alive=60)

    def no_wall_clock():
        raise AssertionError("the wall clock was asked")

    async with b.runtime:
        # Whoever does not look at the wall clock does not see it jump.
        with monkeypatch.context() as patch:
            for name in ("time", "time_ns", "localtime", "gmtime"):
                patch.setattr(time, name, no_wall_clock)
            async with b.runtime.lease("a", ttl=30) as lease:
                assert await lease.infer(1) == 1
                with pytest.raises(DeadlineMissed):
                    await b.runtime.infer("a", 2, deadline=0.05)
                lease.renew()
        assert b.state() == "ready"
        await b.all_well()


async def test_leases_that_ran_out_in_a_suspended_machine_are_taken_back(bench, caplog):
    asleep = [0]
    b = bench(read_asleep_ns=lambda: asleep[0])
    b.add("a")
    b.add("b")
    async with b.runtime:
        async with b.runtime.lease("a", ttl=30) as short, b.runtime.lease("b", ttl=3600) as long:
            asleep[0] = 60_000_000_000
            await b.pass_time(10)  # the first timer is that of the lease
            b.driver._time_passed()
            with pytest.raises(LeaseRevoked) as caught:
                await short.infer(1)
            assert caught.value.reason.code is ReasonCode.LEASE_REVOKED
            assert await long.infer(1) == 1
        assert "suspended for 60.0 s" in caplog.text
        await b.all_well()


def test_sleep_is_told_once_and_jitter_is_not_told():
    asleep = [5]
    watch = SuspendWatch(lambda: asleep[0])
    asleep[0] += 999_999_999
    assert watch.slept_ns() == 0
    asleep[0] += 1
    assert watch.slept_ns() == 1_000_000_000
    assert watch.slept_ns() == 0
    assert asleep_ns() >= 0


async def test_the_pulse_shows_a_loop_that_stands_still(bench):
    b = bench()
    script = b.add()
    script.block("infer")
    async with b.runtime, create_task_group() as tasks:
        tasks.start_soon(b.runtime.infer, "a", 1)
        await script.blocked("infer")
        assert b.runtime.oldest_runnable_ns() == 0
        b.clock.advance(60_000_000_000)  # timers that wake the timekeeper, had it a turn
        late_ns = b.runtime.oldest_runnable_ns()
        assert late_ns > 0
        await b.settle()
        assert b.runtime.oldest_runnable_ns() == 0
        script.release("infer")
        engine = b.driver._fleet["a"]
        while engine.answered_ns is None:  # the loop does not come to hear it
            time.sleep(0.001)  # noqa: ASYNC251 - blocking the loop is the point
        b.clock.advance(7)
        assert b.runtime.oldest_runnable_ns() == 7
    assert b.runtime.oldest_runnable_ns() == 0
