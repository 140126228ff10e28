"""Requests through the runtime: answers, refusals, and what plugins do wrong."""

from __future__ import annotations

import math
import threading

import anyio
import numpy as np
import pytest
from anyio import create_task_group

from scheduler.core.outcome import ReasonCode
from scheduler.errors import (
    BadInput,
    DeadlineMissed,
    EngineError,
    EngineOutOfMemory,
    InferenceFailed,
    NeverFits,
    PluginError,
    QueueFull,
    ShuttingDown,
    UnknownModel,
)
from scheduler.plugin.engine import EXAMPLE, EngineOptions
from scheduler.runtime.lease import Lease


async def test_a_request_loads_the_engine_and_is_answered(bench):
    b = bench()
    script = b.add()
    async with b.runtime:
        assert await b.runtime.infer("a", "hello") == "hello"
        assert [name for name, _ in script.calls] == ["make", "load", "warm_up", "infer"]
        assert b.state() == "ready"
        await b.all_well()
    assert script.calls[-1][0] == "unload"


async def test_a_request_to_a_loaded_idle_engine_is_decided_before_infer_waits(bench):
    b = bench()
    b.add()
    async with b.runtime:
        await b.runtime.load("a")
        deciders = []
        b.ends.observe = lambda record: deciders.append((record, anyio.get_current_task().id))
        await b.runtime.infer("a", 1)
        (record, task), *_ = deciders
        assert [type(d).__name__ for d in record.decisions] == ["GrantLease"]
        assert task == anyio.get_current_task().id


async def test_all_calls_of_an_engine_come_from_its_one_thread(bench):
    b = bench()
    one, other = b.add("a"), b.add("b")
    async with b.runtime:
        for _ in range(20):
            await b.runtime.infer("a", EXAMPLE)
            await b.runtime.infer("b", 1)
            await anyio.to_thread.run_sync(lambda: None)
        await b.runtime.unload("a")
        await b.all_well("b")
    threads, others = ({thread for _, thread in script.calls} for script in (one, other))
    assert len(threads) == len(others) == 1
    assert not threads & (others | {threading.get_ident()})
    assert one.batches[0] == ["example"]
    assert [name for name, _ in one.calls][-1] == "unload"


async def test_the_loop_goes_on_while_an_engine_loads(bench):
    b = bench()
    script = b.add("a")
    b.add("b")
    script.block("load")
    async with b.runtime, create_task_group() as tasks:
        tasks.start_soon(b.runtime.infer, "a", 1)
        await script.blocked("load")
        assert await b.runtime.infer("b", 2) == 2
        script.release("load")
        await b.until(lambda: b.state() == "ready")
        await b.all_well()


async def test_parallel_requests_keep_their_own_answers(bench):
    b = bench()
    script = b.add(queue={"limit": 500})
    shared, inside = np.zeros(8), threading.Lock()

    def answer(batch):
        assert inside.acquire(blocking=False), "two threads in one engine"
        shared[:] = batch[0]
        result = shared.copy()
        inside.release()
        return [result]

    script.answer = answer
    right = []

    async def ask(value):
        for _ in range(50):
            answer = await b.runtime.infer("a", np.full(8, value))
            right.append(np.all(answer == value))

    async with b.runtime:
        async with create_task_group() as tasks:
            for value in (1, 2, 3, 4):
                tasks.start_soon(ask, value)
        script.answer = list
        assert all(right)
        assert len(script.batches) == 200
        await b.all_well()


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ([], "infer() returned 0 results for a batch of 1"),
        ([1, 2], "infer() returned 2 results for a batch of 1"),
        (None, "infer() returned a NoneType; it must return a list of 1 results"),
        ("x", "infer() returned a str; it must return a list of 1 results"),
        ({"a": 1}, "infer() returned a dict; it must return a list of 1 results"),
        (7, "infer() returned a int; it must return a list of 1 results"),
    ],
)
async def test_wrong_results_fail_the_request_with_a_sentence(bench, results, sentence):
    b = bench()
    script = b.add()
    script.answer = lambda _: results
    async with b.runtime:
        with pytest.raises(InferenceFailed) as caught:
            await b.runtime.infer("a", 1)
        assert sentence in str(caught.value)
        assert caught.value.reason.code is ReasonCode.RUN_FAILED
        script.answer = list
        await b.all_well()


@pytest.mark.parametrize(
    "error", [EngineError("no"), SystemExit(3), KeyboardInterrupt(), ZeroDivisionError()]
)
async def test_whatever_a_plugin_raises_fails_its_request_alone(bench, error, caplog):
    b = bench()
    script = b.add()
    script.raises["infer"] = error
    async with b.runtime:
        with pytest.raises(InferenceFailed) as caught:
            await b.runtime.infer("a", 1)
        assert caught.value.__cause__ is error
        assert error.__traceback__ is None
        with pytest.raises(InferenceFailed):
            await b.runtime.infer("a", 1)
        script.raises.clear()
        await b.all_well()
    logged = [r.levelname for r in caplog.records if "infer()" in r.message]
    assert logged == (["WARNING"] if isinstance(error, EngineError) else ["ERROR"])


async def test_who_sends_what_the_engine_does_not_take_is_told_and_nobody_else(bench, caplog):
    b = bench()
    b.add().raises["infer"] = BadInput("give it a picture")
    async with b.runtime:
        with pytest.raises(InferenceFailed, match="give it a picture"):
            await b.runtime.infer("a", 1)
    assert not caplog.records


async def test_why_an_engine_is_not_there_is_logged(bench, caplog):
    b = bench()
    b.add().raises["load"] = EngineError("a.onnx: there is no such file")
    async with b.runtime:
        with pytest.raises(InferenceFailed):
            await b.runtime.infer("a", 1)
    assert "a: load() failed: a.onnx: there is no such file" in caplog.messages


async def test_an_exception_among_the_results_fails_that_item_alone(bench):
    b = bench()
    script = b.add(batch={"max": 2, "wait": 1})
    bad = EngineError("this one is blurred")
    script.answer = lambda batch: [bad if item == "bad" else item for item in batch]
    outcomes = {}

    async def ask(payload):
        try:
            outcomes[payload] = await b.runtime.infer("a", payload)
        except InferenceFailed as error:
            outcomes[payload] = error

    async with b.runtime:
        await b.runtime.load("a")
        async with create_task_group() as tasks:
            tasks.start_soon(ask, "good")
            tasks.start_soon(ask, "bad")
        assert sorted(script.batches[0]) == ["bad", "good"]
        assert outcomes["good"] == "good"
        assert outcomes["bad"].__cause__ is bad
        assert str(outcomes["bad"]) == "this one is blurred"


async def test_a_batch_that_fails_for_memory_is_tried_again_in_halves(bench):
    b = bench()
    script = b.add(batch={"max": 4, "wait": 1})

    def answer(batch):
        if len(batch) > 2 or "huge" in batch:
            raise EngineOutOfMemory("full")
        return batch

    script.answer = answer
    outcomes = {}

    async def ask(payload):
        try:
            outcomes[payload] = await b.runtime.infer("a", payload)
        except InferenceFailed as error:
            outcomes[payload] = error.reason.code

    async with b.runtime:
        await b.runtime.load("a")
        async with create_task_group() as tasks:
            for payload in ("one", "two", "three", "huge"):
                tasks.start_soon(ask, payload)
        assert outcomes.pop("huge") is ReasonCode.OUT_OF_MEMORY
        assert outcomes == {payload: payload for payload in ("one", "two", "three")}
        assert [len(batch) for batch in script.batches[:2]] == [4, 2]
        assert set(b.ends.ended().values()) == {1}
        await b.all_well()


@pytest.mark.parametrize("error", [EngineOutOfMemory("full"), MemoryError()])
async def test_lack_of_memory_is_marked(bench, error):
    b = bench()
    script = b.add(backoff=0)
    script.raises["load"] = error
    async with b.runtime:
        with pytest.raises(InferenceFailed):
            await b.runtime.infer("a", 1)
        script.raises = {"infer": error}
        with pytest.raises(InferenceFailed):
            await b.runtime.infer("a", 1)
        marks = [
            record.event.out_of_memory
            for record in b.ends.records
            if type(record.event).__name__ in {"EngineLoadFailed", "LeaseEnded"}
        ]
        assert marks == [True, True]


async def test_refusals_have_types(bench):
    b = bench()
    script = b.add("a", queue={"limit": 1})
    b.add("huge", mib=2000)
    script.block("infer")
    async with b.runtime, create_task_group() as tasks:
        with pytest.raises(UnknownModel, match="no model 'b' is registered"):
            await b.runtime.infer("b", 1)
        with pytest.raises(NeverFits):
            await b.runtime.infer("huge", 1)
        tasks.start_soon(b.runtime.infer, "a", 1)
        await script.blocked("infer")
        tasks.start_soon(b.runtime.infer, "a", 2)
        await b.settle()
        with pytest.raises(QueueFull):
            await b.runtime.infer("a", 3)
        script.release("infer")


@pytest.mark.parametrize("deadline", [math.nan, -math.inf, -5, -0.001, True, "100"])
async def test_a_deadline_that_is_none_is_refused(bench, deadline):
    b = bench()
    b.add()
    async with b.runtime:
        with pytest.raises(ValueError, match="deadline is"):
            await b.runtime.infer("a", 1, deadline=deadline)
        await b.all_well()


async def test_a_deadline_of_nothing_is_over_and_one_without_end_never_is(bench):
    b = bench()
    script = b.add(deadline=1)
    async with b.runtime:
        await b.runtime.load("a")
        with pytest.raises(DeadlineMissed):
            await b.runtime.infer("a", 1, deadline=0)
        assert script.count("infer") == 0
        for endless in (math.inf, 1e308):
            assert await b.runtime.infer("a", 2, deadline=endless) == 2
        arrivals = [r.event.request for r in b.ends.records if hasattr(r.event, "request")]
        assert arrivals[-1].deadline_ns == arrivals[-2].deadline_ns == 2**63 - 1
        await b.all_well()


@pytest.mark.parametrize(
    "keywords",
    [{"priority": True}, {"priority": 2.5}, {"priority": 10**30}, {"items": 0}, {"items": True}],
)
async def test_arguments_out_of_range_are_refused(bench, keywords):
    b = bench()
    b.add()
    async with b.runtime:
        with pytest.raises(ValueError, match=next(iter(keywords))):
            await b.runtime.infer("a", 1, **keywords)
        await b.all_well()


async def test_before_entering_and_after_leaving_nothing_hangs(bench):
    b = bench()
    b.add()
    for call in (
        b.runtime.infer("a", 1),
        b.runtime.load("a"),
        b.runtime.unregister("a"),
        b.runtime.drain(),
    ):
        with pytest.raises(RuntimeError, match="not running"):
            await call
    with pytest.raises(RuntimeError, match="not running"):
        b.runtime.pin("a")
    lease = b.runtime.lease("a")
    with pytest.raises(RuntimeError):
        await lease.infer(1)
    async with b.runtime:
        pass
    for call in (b.runtime.infer("a", 1), b.runtime.load("a"), b.runtime.drain()):
        with pytest.raises(ShuttingDown):
            await call
    with pytest.raises(ShuttingDown):
        async with b.runtime.lease("a"):
            pass
    with pytest.raises(RuntimeError, match="once"):
        await b.runtime.__aenter__()
    assert isinstance(lease, Lease)


async def test_registering_refuses_what_cannot_be(bench):
    class Options(EngineOptions):
        size: int

    b = bench()
    script = b.add("a")
    plugin = script.plugin()
    with pytest.raises(ValueError, match="registered already"):
        b.add("a")
    with pytest.raises(ValueError, match="no pool 'cuda:0'"):
        b.add("b", device="cuda:0")
    plugin.Options = Options
    with pytest.raises(PluginError, match=r"options\.size"):
        b.add("c", plugin=plugin, options={"size": "large"})
    with pytest.raises(PluginError, match="not installed"):
        b.add("d", plugin="no_such_engine")
    async with b.runtime:
        with pytest.raises(ValueError, match="registered already"):
            b.add("a")
        assert set(b.runtime.models()) == {"a"}


async def test_a_model_can_be_removed_and_come_again(bench):
    b = bench()
    script = b.add()
    script.block("infer")
    refused = []

    async def ask():
        try:
            await b.runtime.infer("a", 2)
        except UnknownModel as error:
            refused.append(error)

    async with b.runtime:
        async with create_task_group() as tasks:
            tasks.start_soon(b.runtime.infer, "a", 1)
            await script.blocked("infer")
            tasks.start_soon(ask)
            await b.settle()
            tasks.start_soon(b.runtime.unregister, "a")
            await b.settle()
            assert refused
            assert "a" in b.runtime.models()
            script.release("infer")
        assert b.runtime.models() == {}
        assert script.calls[-1][0] == "unload"
        with pytest.raises(UnknownModel):
            await b.runtime.unregister("a")
        b.add()
        await b.all_well()


async def test_a_pin_loads_and_an_unload_of_it_is_refused(bench):
    b = bench()
    b.add()
    async with b.runtime:
        b.runtime.pin("a")
        await b.until(lambda: b.state() == "ready")
        with pytest.raises(Exception, match="pinned"):
            await b.runtime.unload("a")
        b.runtime.unpin("a")
        await b.runtime.unload("a")
        assert b.state() == "unloaded"
        with pytest.raises(UnknownModel):
            b.runtime.pin("b")
        await b.all_well()


async def test_an_observer_that_raises_is_left_out_and_disturbs_nobody(bench, caplog):
    class Broken:
        seen = 0

        def observe(self, record):
            self.seen += 1
            raise RuntimeError(record.sequence)

    broken = Broken()
    b = bench()
    b.runtime._observers = (broken, *b.runtime._observers)
    b.add()
    async with b.runtime:
        await b.all_well()
    assert broken.seen == 1
    assert [r.sequence for r in b.ends.records] == list(range(1, len(b.ends.records) + 1))
    assert sum("left out" in record.message for record in caplog.records) == 1
