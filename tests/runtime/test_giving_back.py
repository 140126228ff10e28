"""What an engine leaves free goes back to the system where the process's own memory is counted."""

import pytest

from scheduler import EnginePlugin, Footprint, Model, Runtime
from scheduler.core.settings import PoolBudget, Settings

pytestmark = pytest.mark.anyio


class Engine(EnginePlugin):
    def load(self):
        pass

    def infer(self, batch):
        return batch

    def unload(self):
        pass


@pytest.fixture
def trims(monkeypatch):
    """Count the calls of malloc_trim."""
    seen = []

    class Libc:
        @staticmethod
        def malloc_trim(_pad):
            seen.append(1)

    monkeypatch.setattr("scheduler.memory.trim._libc", Libc)
    return seen


PART = Footprint(resident=1000)


@pytest.mark.parametrize(
    ("device", "footprint", "count"),
    [
        ("unified", PART, 2),
        ("host", PART, 2),
        ("cuda:0", PART, 0),
        ("cuda:0", {"cuda:0": PART, "host": PART}, 2),
    ],
)
async def test_the_heap_is_trimmed_where_it_is_counted(trims, device, footprint, count):
    pools = {name: PoolBudget(budget_bytes=10_000) for name in ("unified", "host", "cuda:0")}
    async with Runtime(Settings(pools=pools)) as runtime:
        runtime.register(Model(name="m", device=device, footprint=footprint), engine=Engine)
        await runtime.load("m")
        await runtime.unload("m")
        assert len(trims) == count


async def test_the_heap_is_trimmed_where_any_form_of_the_model_counts_it(trims):
    pools = {name: PoolBudget(budget_bytes=10_000) for name in ("host", "cuda:0")}
    variants = [{"name": "cpu", "device": "host", "footprint": PART}]
    model = Model(name="m", device="cuda:0", footprint=PART, variants=variants)
    async with Runtime(Settings(pools=pools)) as runtime:
        runtime.register(model, engine=Engine)
        await runtime.load("m")
        assert len(trims) == 1
