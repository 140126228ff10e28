"""Loads, unloads and what goes wrong with them."""

from __future__ import annotations

import gc
import weakref

import anyio
import anyio.lowlevel
import pytest
from anyio import create_task_group, to_thread

from scheduler.core.events import EngineUnloaded, MemorySampled
from scheduler.core.outcome import ReasonCode
from scheduler.errors import InferenceFailed, Rejected
from scheduler.runtime.engine_thread import EngineThread

MIB = 1024 * 1024


async def test_a_load_that_fails_half_way_is_cleaned_up_each_time(bench):
    b = bench()
    script = b.add(backoff=1)
    held = []
    b_error = RuntimeError("no such file")

    class Half(script.plugin()):
        def load(self):
            held.append(300)
            super().load()

        def unload(self):
            super().unload()
            held.clear()

    b.replace("a", Half)
    script.raises["load"] = b_error
    async with b.runtime:
        for attempt in range(1, 6):
            with pytest.raises(InferenceFailed, match="no such file") as caught:
                await b.runtime.infer("a", 1)
            assert caught.value.reason.code is ReasonCode.LOAD_FAILED
            assert caught.value.__cause__ is b_error
            assert script.count("unload") == attempt
            assert (held, b.reserved_mib(), b.state()) == ([], 0, "unloaded")
            with pytest.raises(Rejected) as refused:
                await b.runtime.infer("a", 1)
            assert refused.value.reason.code is ReasonCode.BACKING_OFF
            await b.runtime.unload("a")  # of a failed engine: a no-op, not an error
            await b.pass_time(100)
        script.raises.clear()
        await b.all_well()


async def test_a_failed_warm_up_is_a_failed_load(bench):
    b = bench()
    script = b.add(backoff=0)
    script.raises["warm_up"] = SystemExit
    async with b.runtime:
        with pytest.raises(InferenceFailed, match="SystemExit"):
            await b.runtime.infer("a", 1)
        assert script.count("unload") == 1
        script.raises = {"make": TypeError("constructor")}
        with pytest.raises(InferenceFailed, match="TypeError: constructor"):
            await b.runtime.infer("a", 1)
        script.raises.clear()
        await b.all_well()


async def test_a_system_without_threads_fails_the_load(bench, monkeypatch):
    b = bench()
    b.add(backoff=0)

    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    async with b.runtime:
        with monkeypatch.context() as patch:
            patch.setattr("threading.Thread.start", no_thread)
            with pytest.raises(InferenceFailed, match="can't start new thread"):
                await b.runtime.infer("a", 1)
        await b.all_well()


async def test_late_news_of_an_old_instance_touches_nothing(bench):
    b = bench()
    b.add()
    async with b.runtime:
        await b.runtime.load("a")
        old = b.driver._fleet["a"]
        await b.runtime.unload("a")
        await b.runtime.load("a")
        b.driver._fleet.engine_unloaded(old, {})
        b.driver.tell(EngineUnloaded("a", old.instance))
        assert (b.state(), b.reserved_mib()) == ("ready", 100)
        assert b.driver._fleet["a"].instance == old.instance + 1
        await b.all_well()


@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_two_loads_that_do_not_fit_together_never_meet(bench, order):
    b = bench()
    inside, most = set(), []
    for name in "ab":
        script = b.add(name, mib=600)

        class Counted(script.plugin()):
            def load(self):
                super().load()
                inside.add(self.context.model)
                most.append(len(inside))

            def unload(self):
                inside.discard(self.context.model)
                super().unload()

        b.replace(name, Counted)
    answers = []

    async def ask(name):
        answers.append(await b.runtime.infer(name, name))

    async with b.runtime:
        async with create_task_group() as tasks:
            for name in order:
                tasks.start_soon(ask, name)
            await b.until(lambda: answers)
            await b.pass_time(5)
        assert sorted(answers) == ["a", "b"]
        assert max(most) == 1
        assert b.ends.peak_bytes() <= 1000 * MIB
        await b.all_well()


async def test_an_engine_is_not_evicted_while_it_runs(bench):
    b = bench()
    script = b.add("a", mib=600)
    other = b.add("b", mib=600, priority=90)
    script.block("infer")
    answers = []

    async def ask(name, payload):
        answers.append(await b.runtime.infer(name, payload))

    async with b.runtime:
        async with create_task_group() as tasks:
            tasks.start_soon(ask, "a", 1)
            await script.blocked("infer")
            tasks.start_soon(ask, "b", 2)
            await b.settle()
            tasks.start_soon(ask, "a", 3)
            await b.settle()
            assert script.count("unload") == other.count("load") == 0
            script.release("infer")
            await b.until(lambda: len(answers) == 2)
            await b.pass_time(5)
        assert answers == [1, 2, 3]
        assert [name for name, _ in script.calls] == [
            *("make", "load", "warm_up", "infer", "unload"),
            *("make", "load", "warm_up", "infer"),
        ]
        await b.all_well()


@pytest.mark.parametrize("tick_ns", [-1, 0, 1])
@pytest.mark.parametrize("during_unload", [False, True])
async def test_a_request_that_meets_the_keep_alive_is_served(bench, tick_ns, during_unload):
    b = bench()
    script = b.add("a", keep_alive=2, exclusive=["group"])
    b.add("b", exclusive=["group"], max_wait=0)
    async with b.runtime:
        await b.runtime.load("a")
        if during_unload:
            script.block("unload")
        b.clock.advance(2_000_000_000 + tick_ns)
        if during_unload and tick_ns >= 0:
            await script.blocked("unload")
        answers = []

        async def ask():
            answers.append(await b.runtime.infer("a", 1))

        async with create_task_group() as tasks:
            tasks.start_soon(ask)
            await b.settle()
            if during_unload:
                script.release("unload")
        assert answers == [1]
        loads = {1} if tick_ns < 0 else {2} if during_unload else {1, 2}
        assert script.count("load") in loads
        assert await b.runtime.infer("b", 2) == 2
        await b.all_well()


async def test_pressure_that_passes_leaves_nothing_behind(bench):
    b = bench()
    b.add("a")
    async with b.runtime:
        await b.runtime.load("a")
        b.runtime.take_sample(MemorySampled("unified", available_bytes=0))
        await b.settle()
        b.runtime.take_sample(MemorySampled("unified", available_bytes=4000 * MIB))
        b.runtime.take_sample(MemorySampled("cuda:7", available_bytes=0))
        await b.all_well()


async def test_a_hung_engine_holds_up_nobody_else(bench):
    b = bench()
    script = b.add("a", run_timeout=5)
    b.add("b")
    script.block("infer")
    errors = []

    async def ask():
        try:
            await b.runtime.infer("a", 1)
        except InferenceFailed as error:
            errors.append(error.reason.code)

    async with b.runtime:
        async with create_task_group() as tasks:
            tasks.start_soon(ask)
            await script.blocked("infer")
            tasks.start_soon(ask)
            await b.settle()
            assert await b.runtime.infer("b", 2) == 2
            await b.pass_time(5)
            assert errors == [ReasonCode.RUN_TIMEOUT] * 2
        with pytest.raises(Rejected) as refused:
            await b.runtime.infer("a", 1)
        assert refused.value.reason.code is ReasonCode.ENGINE_HUNG
        assert b.reserved_mib() == 200  # until the thread comes back
        assert script.count("cancel") == 1
        script.release("infer")
        await b.until(lambda: b.state() == "unloaded")
        assert b.reserved_mib() == 100
        await b.pass_time(60)
        await b.all_well()


async def test_keep_alive_does_not_end_a_slow_load_and_load_timeout_does(bench):
    b = bench()
    slow = b.add("a", keep_alive=5, load_timeout=30)
    hung = b.add("b", keep_alive=5, load_timeout=8)
    slow.block("load")
    hung.block("load")
    ended = {}

    async def ask(name):
        try:
            ended[name] = await b.runtime.infer(name, 1)
        except InferenceFailed as error:
            ended[name] = error.reason.code

    async with b.runtime:
        async with create_task_group() as tasks:
            for name in "ab":
                tasks.start_soon(ask, name)
            await slow.blocked("load")
            await hung.blocked("load")
            await b.pass_time(8)
            assert ended == {"b": ReasonCode.LOAD_TIMEOUT}
            await b.pass_time(4)
            slow.release("load")
            hung.release("load")
        assert ended["a"] == 1
        await b.until(lambda: b.state("b") == "unloaded")
        assert (slow.count("load"), hung.count("load"), hung.count("unload")) == (1, 1, 1)
        with pytest.raises(Rejected):  # not tried again at once
            await b.runtime.infer("b", 1)
        await b.all_well("a")


@pytest.mark.parametrize("method", ["load", "infer"])
async def test_an_error_that_is_kept_does_not_keep_the_engine(bench, method):
    b = bench()
    script = b.add(backoff=0)
    engines, kept = [], []

    class Remembered(script.plugin()):
        def load(self):
            engines.append(weakref.ref(self))
            self._fail("load")

        def infer(self, batch):
            self._fail("infer")
            return list(batch)

        def _fail(self, where):
            if where in script.raises:
                try:
                    {}[where]
                except KeyError as error:
                    raise ValueError("kept") from error

    b.replace("a", Remembered)
    script.raises[method] = True
    gc.disable()  # collecting is the runtime's own business
    try:
        async with b.runtime:
            try:
                await b.runtime.infer("a", 1)
            except InferenceFailed as error:
                kept.append(error)
            await b.runtime.unload("a")
            assert isinstance(kept[0].__cause__, ValueError)
            assert kept[0].__cause__.__cause__.__traceback__ is None
            assert engines[0]() is None
            script.raises.clear()
            await b.all_well()
    finally:
        gc.enable()


async def test_a_thread_keeps_no_payload_and_no_result(bench):
    class Thing:
        pass

    b = bench()
    script = b.add()
    script.answer = lambda batch: [Thing() for _ in batch]
    async with b.runtime:
        payload = Thing()
        result = await b.runtime.infer("a", payload)
        script.batches.clear()
        references = [weakref.ref(payload), weakref.ref(result)]
        del payload, result
        await b.until(lambda: [reference() for reference in references] == [None, None])


@pytest.mark.parametrize("method", ["make", "load", "warm_up"])
async def test_a_request_inside_the_load_window_is_answered(bench, method):
    b = bench()
    script = b.add()
    script.block(method)
    answers = []

    async def ask(payload):
        answers.append(await b.runtime.infer("a", payload))

    async with b.runtime:
        async with create_task_group() as tasks:
            tasks.start_soon(ask, 1)
            await script.blocked(method)
            tasks.start_soon(ask, 2)
            await b.settle()
            script.release(method)
            while b.state() == "loading":
                if len(b.driver._calls) < 30:
                    tasks.start_soon(ask, 3)
                await anyio.lowlevel.checkpoint()
            tasks.start_soon(ask, 4)
        assert {1, 2, 4} <= set(answers)
        assert script.count("load") == 1
        await b.all_well()


async def test_an_engine_whose_thread_dies_is_lost_and_comes_back(bench):
    readings = []

    def read():
        readings.append(1)
        if len(readings) == 2:
            raise OSError("no /proc here")
        return 0

    b = bench(read_resident_bytes=read)
    script = b.add(backoff=1)
    async with b.runtime:
        with pytest.raises(InferenceFailed, match="no /proc here") as caught:
            await b.runtime.infer("a", 1)
        assert caught.value.reason.code is ReasonCode.ENGINE_LOST
        assert script.count("unload") == 1
        assert (b.state(), b.reserved_mib()) == ("unloaded", 0)
        await b.pass_time(2)
        await b.all_well()


async def test_a_thread_that_dies_in_a_run_ends_the_run(bench, monkeypatch):
    b = bench()
    script = b.add(backoff=0)
    async with b.runtime:
        await b.runtime.load("a")

        def die(*_):
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(EngineThread, "_infer", die)
            patch.setattr(EngineThread, "_complain", die)
            async with b.runtime.lease("a") as lease:
                with pytest.raises(InferenceFailed) as caught:
                    await lease.infer(1)
                with pytest.raises(InferenceFailed):
                    await lease.infer(1)
        assert caught.value.reason.code is ReasonCode.ENGINE_LOST
        assert script.count("unload") == 1
        await b.all_well()


async def test_a_plugin_may_know_its_own_size(bench):
    b = bench(read_resident_bytes=iter(range(0, 10**12, 500 * MIB)).__next__)
    for name, said in (("a", {"unified": 70 * MIB}), ("b", {}), ("c", None)):
        script = b.add(name, mib=10)

        class Sized(script.plugin()):
            def measure(self, said=said):
                return dict(said)

        b.replace(name, Sized)
    async with b.runtime:
        await b.runtime.load("a")
        assert b.reserved_mib() == 70
        await b.runtime.unload("a")
        await b.runtime.load("b")
        assert b.reserved_mib() - b.runtime.snapshot().pools[0].residue_bytes / MIB == 500
        assert await b.runtime.infer("b", 1) == 1


async def test_the_unload_of_a_plugin_that_raises_still_ends(bench):
    b = bench()
    script = b.add()
    script.raises["unload"] = SystemExit
    async with b.runtime:
        await b.runtime.load("a")
        await b.runtime.unload("a")
        assert (b.state(), b.reserved_mib()) == ("unloaded", 0)
        await b.all_well()


async def test_an_internal_error_answers_everybody(bench, monkeypatch, caplog):
    b = bench()
    script = b.add()
    script.block("infer")
    errors = []

    async def ask():
        try:
            await b.runtime.infer("a", 1)
        except Rejected as error:
            errors.append(error)

    async with b.runtime:
        async with create_task_group() as tasks:
            tasks.start_soon(ask)
            await script.blocked("infer")

            def broken(*_):
                raise AssertionError("a bug")

            monkeypatch.setattr(b.driver.core, "handle", broken)
            tasks.start_soon(ask)
        assert [error.reason.code for error in errors] == [ReasonCode.SHUTTING_DOWN] * 2
        with pytest.raises(RuntimeError, match="internal error"):
            await b.runtime.infer("a", 1)
        b.clock.advance(7)
        assert b.runtime.oldest_runnable_ns() == 7
        script.release("infer")
        await to_thread.run_sync(lambda: None)
    assert "a bug" in caplog.text
