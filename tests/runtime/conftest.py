"""Engines that do what a test says, and the four checks that hold after every case."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

import anyio
import pytest
from anyio import to_thread

from scheduler.config import Model
from scheduler.core.decisions import FinishRequest
from scheduler.core.settings import PoolBudget, Settings
from scheduler.plugin.engine import EnginePlugin
from scheduler.runtime.clock import ManualClock
from scheduler.runtime.runtime import Runtime

MIB = 1024 * 1024
LIMIT_S = 10


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


class Script:
    """What an engine's methods do, and what they have done: `calls` are (method, thread)."""

    def __init__(self):
        self.calls = []
        self.batches = []
        self.raises = {}
        self.gates = {}
        self.reached = {}
        self.answer = list
        self.made = []

    def block(self, method):
        """Let the next call of `method` wait in the thread until `release`."""
        self.gates[method] = threading.Event()
        self.reached[method] = threading.Event()

    def release(self, method):
        self.gates.pop(method).set()

    async def blocked(self, method):
        """Wait until the engine's thread stands in `method`."""
        assert await to_thread.run_sync(self.reached[method].wait, LIMIT_S), method

    def count(self, method):
        return Counter(name for name, _ in self.calls)[method]

    def enter(self, method):
        self.calls.append((method, threading.get_ident()))
        gate = self.gates.get(method)
        if gate is not None:
            self.reached[method].set()
            assert gate.wait(LIMIT_S), f"nobody released {method}"
        error = self.raises.get(method)
        if error is not None:
            raise error() if isinstance(error, type) else error

    def plugin(self):
        script = self

        class Scripted(EnginePlugin):
            def __init__(self, options, context):
                super().__init__(options, context)
                script.enter("make")

            def load(self):
                script.enter("load")

            def warm_up(self):
                script.enter("warm_up")

            def infer(self, batch):
                script.batches.append(list(batch))
                script.enter("infer")
                return script.answer(batch)

            def unload(self):
                script.enter("unload")

            def example(self):
                script.enter("example")
                return "example"

            def cancel(self):
                script.calls.append(("cancel", threading.get_ident()))

        return Scripted


class Ends:
    """An observer that counts how often each request ended."""

    def __init__(self):
        self.records = []

    def observe(self, record):
        self.records.append(record)

    def ended(self):
        return Counter(
            decision.request_id
            for record in self.records
            for decision in record.decisions
            if isinstance(decision, FinishRequest)
        )

    def peak_bytes(self, pool="unified"):
        return max(record.reserved_bytes[pool] for record in self.records)


class Bench:
    """A runtime under test: manual clock, 1000 MiB, scripted engines."""

    def __init__(self, budget_mib=1000, **options):
        self.clock = ManualClock(1_000)
        self.ends = Ends()
        self.scripts = {}
        options.setdefault("clock", self.clock)
        options.setdefault("read_resident_bytes", lambda: 0)
        options.setdefault("drain_limit_s", 5)
        pools = {"unified": PoolBudget(budget_bytes=budget_mib * MIB)}
        resources = options.pop("resources", {})
        self.runtime = Runtime(
            Settings(pools=pools, resources=resources), observers=[self.ends], **options
        )

    def add(self, name="a", mib=100, plugin=None, **rules):
        """Register a model; returns the script of its engine."""
        script = self.scripts[name] = Script()
        model = Model(name=name, footprint=mib * MIB, **rules)
        self.runtime.register(model, plugin or script.plugin())
        return script

    def replace(self, name, plugin):
        """Let the engine of a model that was added be of this plugin."""
        registered = self.runtime._registered_early[name]
        registered._kinds = {
            variant: replace(kind, plugin=plugin) for variant, kind in registered._kinds.items()
        }

    @property
    def driver(self):
        return self.runtime._caller.driver

    async def settle(self):
        """Let all tasks go on until they wait for something else than each other."""
        await anyio.wait_all_tasks_blocked()

    async def pass_time(self, seconds):
        self.clock.advance(int(seconds * 1e9))
        await self.settle()

    async def until(self, condition):
        """Wait for what an engine's thread brings about."""
        with anyio.fail_after(LIMIT_S):
            while not condition():  # noqa: ASYNC110 - threads set no anyio events
                await anyio.sleep(0.001)

    def state(self, name="a"):
        (engine,) = [e for e in self.runtime.snapshot().engines if e.model == name]
        return engine.state.value

    def reserved_mib(self):
        return self.runtime.snapshot().pools[0].reserved_bytes / MIB

    async def all_well(self, name="a"):
        """The four checks: the ledger is true, no lease, no queue, a fresh request is served."""
        await self.until(lambda: not self.runtime.snapshot().leases)
        snapshot = self.runtime.snapshot()
        self.driver.core.check_invariants()
        pool = snapshot.pools[0]
        engines = sum(engine.reserved_bytes.get("unified", 0) for engine in snapshot.engines)
        assert pool.reserved_bytes == engines + pool.overhead_bytes + pool.residue_bytes
        assert not snapshot.waiting
        assert not self.driver._calls
        assert not self.driver._runs
        assert not self.driver._holds
        with anyio.fail_after(LIMIT_S):
            assert await self.runtime.infer(name, "fresh") == "fresh"
        assert set(self.ends.ended().values()) == {1}


@pytest.fixture
def bench():
    """A factory of benches."""
    return Bench
