"""Draining, leaving, signals."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import textwrap
import threading
import time

import anyio
import pytest
from anyio import create_task_group

from scheduler.core.outcome import ReasonCode
from scheduler.errors import InferenceFailed, LeaseRevoked, RequestError, ShuttingDown


async def test_a_drain_refuses_what_waits_and_lets_end_what_runs(bench):
    b = bench()
    script = b.add()
    script.block("infer")
    got = {}

    async def ask(payload):
        try:
            got[payload] = await b.runtime.infer("a", payload)
        except ShuttingDown as error:
            got[payload] = error.reason.code

    async with b.runtime:
        drained = []
        async with create_task_group() as tasks:
            tasks.start_soon(ask, 1)
            await script.blocked("infer")
            tasks.start_soon(ask, 2)
            await b.settle()

            async def drain():
                drained.append(await b.runtime.drain(math.inf))

            tasks.start_soon(drain)
            await b.settle()
            await b.pass_time(3600)
            assert got == {2: ReasonCode.SHUTTING_DOWN}
            assert not drained
            script.release("infer")
        assert (got[1], drained) == (1, [True])
        assert b.state() == "unloaded"
        with pytest.raises(ShuttingDown):
            await b.runtime.infer("a", 3)
        assert await b.runtime.drain(1)
    assert set(b.ends.ended().values()) == {1}


async def test_a_drain_gives_up_on_a_hung_engine(bench):
    b = bench()
    script = b.add()
    script.block("infer")
    got = []

    async def ask():
        try:
            await b.runtime.infer("a", 1)
        except ShuttingDown as error:
            got.append(error.reason.code)

    async with create_task_group() as tasks, b.runtime:
        tasks.start_soon(ask)
        await script.blocked("infer")
        async with create_task_group() as drains:

            async def drain():
                got.append(await b.runtime.drain(2))

            drains.start_soon(drain)
            await b.settle()
            await b.pass_time(2)
        assert sorted(map(str, got)) == ["False", "ReasonCode.SHUTTING_DOWN"]
        b.clock.advance(10**12)
        assert b.runtime.oldest_runnable_ns() == 0
        b.driver.drain(0)
    script.release("infer")
    await b.until(lambda: script.calls[-1][0] == "unload")  # when it comes back after all


@pytest.mark.parametrize("cancelled", [False, True])
async def test_leaving_never_hangs_on_a_hung_engine(bench, cancelled):
    b = bench(clock=None, drain_limit_s=0.2)
    script = b.add()
    script.block("infer")
    got = []

    async def ask():
        with anyio.CancelScope(shield=True):
            try:
                await b.runtime.infer("a", 1)
            except RequestError as error:
                got.append(error.reason.code)

    async with create_task_group() as tasks:
        tasks_scope = anyio.CancelScope()
        started = time.monotonic()
        with tasks_scope:
            async with b.runtime:
                tasks.start_soon(ask)
                await script.blocked("infer")
                if cancelled:
                    tasks_scope.cancel()
                    await anyio.sleep_forever()
        assert 0.1 < time.monotonic() - started < 8
    assert got == [ReasonCode.SHUTTING_DOWN]
    late = threading.active_count()
    script.release("infer")  # its late answer is dropped, and its thread ends
    await b.until(lambda: threading.active_count() < late)
    assert script.count("unload") == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_engine_that_comes_back_after_the_loop_has_gone_harms_nobody(bench, backend, caplog):
    benches = []
    before = set(threading.enumerate())

    async def main():
        b = bench(clock=None, drain_limit_s=0)
        benches.append(b)
        script = b.add()
        script.block("infer")
        async with b.runtime:
            with anyio.move_on_after(0.5):
                await b.runtime.infer("a", 1)

    anyio.run(main, backend=backend)
    threads = list(set(threading.enumerate()) - before)
    assert len(threads) == 1
    benches[0].scripts["a"].release("infer")
    threads[0].join(10)
    assert not threads[0].is_alive()
    assert benches[0].scripts["a"].calls[-1][0] == "unload"
    assert not caplog.records


async def test_leaving_revokes_leases_that_others_hold(bench):
    b = bench()
    b.add()
    got, held = [], anyio.Event()

    async def hold():
        async with b.runtime.lease("a") as lease:
            held.set()
            try:
                while True:
                    await lease.infer(1)
                    await anyio.sleep(0.001)
            except LeaseRevoked as error:
                got.append(error.reason.code)

    async with create_task_group() as tasks, b.runtime:
        tasks.start_soon(hold)
        await held.wait()
    assert got == [ReasonCode.SHUTTING_DOWN]
    assert not b.runtime.snapshot().leases


async def test_leaving_during_a_load_answers_and_unloads(bench):
    b = bench()
    script = b.add()
    script.block("load")
    got = []

    async def ask():
        try:
            await b.runtime.infer("a", 1)
        except (ShuttingDown, InferenceFailed) as error:
            got.append(error.reason.code)

    async with create_task_group() as tasks, b.runtime:
        tasks.start_soon(ask)
        await script.blocked("load")
        tasks.start_soon(b.runtime.drain)
        await b.settle()
        assert got == [ReasonCode.SHUTTING_DOWN]
        script.release("load")
    assert [name for name, _ in script.calls] == ["make", "load", "warm_up", "unload"]


PROGRAM = """
    import os, sys, time, anyio
    from scheduler.config import Model
    from scheduler.core.settings import PoolBudget, Settings
    from scheduler.errors import RequestError
    from scheduler.plugin.engine import EnginePlugin
    from scheduler.runtime.runtime import Runtime
    from scheduler.runtime.signals import drain_on_signal

    def say(line):  # In one piece: two threads speak at the end.
        os.write(1, f"{line}\\n".encode())

    class Slow(EnginePlugin):
        def stay(self, where, seconds):
            if where == sys.argv[2]:
                say(where)
                time.sleep(seconds)
        def load(self): self.stay("load", 0.5); self.stay("hung load", 60)
        def infer(self, batch): self.stay("infer", 0.5); self.stay("hung infer", 60); return batch
        def unload(self): say("unload")

    async def ask(runtime):
        try:
            say(f"answer {await runtime.infer('a', 1)}")
        except RequestError as error:
            say(error.reason.code.value)

    async def main():
        settings = Settings(pools={"unified": PoolBudget(budget_bytes=1000)})
        runtime = Runtime(settings, drain_limit_s=float(sys.argv[3]))
        runtime.register(Model(name="a", footprint=10), Slow)
        async with anyio.create_task_group() as tasks, runtime:
            tasks.start_soon(ask, runtime)
            signum = await drain_on_signal(runtime)
        return 128 + signum

    sys.exit(anyio.run(main, backend=sys.argv[1]))
"""


def run_until(where, backend, signals, drain_limit_s=1.5):
    """Start the program, send `signals` when it has got there; returns status, output, seconds."""
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), backend, where, str(drain_limit_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == where
        started = time.monotonic()
        for number, signum in enumerate(signals):
            time.sleep(min(number, 1))  # Two signals sent at once may arrive in either order.
            process.send_signal(signum)
        output, _ = process.communicate(timeout=30)
    return process.returncode, output.split("\n")[:-1], time.monotonic() - started


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("where", "signum", "said"),
    [
        ("load", signal.SIGTERM, ["shutting_down", "unload"]),
        ("infer", signal.SIGINT, ["answer 1", "unload"]),
        ("hung infer", signal.SIGTERM, ["shutting_down"]),
        ("hung load", signal.SIGINT, ["shutting_down"]),
    ],
)
def test_a_signal_ends_the_process_in_time(backend, where, signum, said):
    status, output, seconds = run_until(where, backend, [signum])
    assert (status, sorted(output)) == (128 + signum, said)
    assert seconds < 20


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_second_signal_ends_the_process_at_once(backend):
    signals = [signal.SIGTERM, signal.SIGINT]
    status, output, _ = run_until("hung infer", backend, signals, drain_limit_s=20)
    assert (status, output) == (128 + signal.SIGINT, [])
