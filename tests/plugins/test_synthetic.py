"""The synthetic engine: really takes its memory and its time."""

from __future__ import annotations

import threading
import time

import anyio
import numpy as np
import pytest

from scheduler.config import Model
from scheduler.core.settings import PoolBudget, Settings
from scheduler.errors import EngineOutOfMemory
from scheduler.memory.process import resident_bytes
from scheduler.memory.trim import release_free_memory
from scheduler.plugin.engine import EXAMPLE, EngineContext
from scheduler.plugin.synthetic import SyntheticEngine, SyntheticOptions
from scheduler.runtime.runtime import Runtime
from scheduler.testing import check_engine

MIB = 1024 * 1024


def engine(**options):
    return SyntheticEngine(SyntheticOptions(**options), EngineContext())


def test_it_keeps_the_rules_of_engines():
    options = {"load": 0, "infer": 0, "per_item": 0, "memory": 4 * MIB}
    assert check_engine(SyntheticEngine, options, bad_payloads=()) == ()


def test_options_are_read_with_their_units():
    options = SyntheticOptions(load="300ms", infer="20ms", per_item="2ms", memory="200MiB")
    assert options == SyntheticOptions()
    assert (options.load, options.memory) == (300_000_000, 200 * MIB)


def test_its_memory_is_real_and_all_of_it_comes_back():
    one = engine(load=0, memory=64 * MIB)
    before = resident_bytes()
    one.load()
    assert resident_bytes() - before >= 63 * MIB
    one.unload()
    assert resident_bytes() - before < 8 * MIB
    one.unload()


def test_it_takes_its_time():
    one = engine(load="30ms", infer="30ms", per_item="10ms", memory=0)
    started = time.monotonic()
    one.load()
    loaded = time.monotonic()
    assert one.infer([1, 2, 3]) == [1, 2, 3]
    assert loaded - started >= 0.03
    assert time.monotonic() - loaded >= 0.05


def test_a_cancel_ends_the_sleep_and_the_next_one_is_whole_again():
    one = engine(load=0, infer=30, memory=0)
    thread = threading.Thread(target=one.infer, args=([1],))
    thread.start()
    while thread.is_alive():
        one.cancel()
        thread.join(0.01)
    short = engine(load=0, infer="20ms", memory=0)
    short.cancel()
    started = time.monotonic()
    short.infer([1])
    assert time.monotonic() - started >= 0.02


def test_too_much_memory_is_out_of_memory():
    with pytest.raises(EngineOutOfMemory, match="does not give"):
        engine(load=0, memory=2**50).load()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_runtime_measures_what_it_holds(backend):
    async def main():
        release_free_memory()  # What other tests left is not to be returned while we measure.
        runtime = Runtime(Settings(pools={"unified": PoolBudget(budget_bytes=200 * MIB)}))
        model = Model(name="a", footprint=20 * MIB)
        runtime.register(model, "synthetic", {"load": 0, "infer": 0, "memory": 64 * MIB})
        async with runtime:
            result = await runtime.infer("a", EXAMPLE)
            assert np.array_equal(result, np.zeros(16, np.float32))
            pool = runtime.snapshot().pools[0]
            assert 63 * MIB <= pool.reserved_bytes <= 72 * MIB  # declared 20, seen 64
        assert runtime.snapshot().pools[0].reserved_bytes == 0

    anyio.run(main, backend=backend)


def test_a_runtime_is_made_of_a_configuration(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text(
        "memory: {budget: 100MiB}\n"
        "scheduling: {drain: 2s}\n"
        "models:\n"
        "  a:\n"
        "    engine: synthetic\n"
        "    options: {load: 1ms, infer: 1ms, memory: 1MiB}\n"
        "    footprint: 2MiB\n"
    )

    async def main():
        async with Runtime.from_config(file) as runtime:
            assert list(runtime.models()) == ["a"]
            assert await runtime.infer("a", "x") == "x"
            assert runtime._drain_limit_ns == 2_000_000_000

    anyio.run(main)
