"""A device that fails for the whole process: told once, and no engine is loaded again for it."""

from __future__ import annotations

import logging

import pytest

from scheduler import EngineOptions, EnginePlugin, InferenceFailed, Model
from scheduler.core.settings import PoolBudget, Settings
from scheduler.errors import BadInput, DeviceLost
from scheduler.plugin import lost
from scheduler.runtime.runtime import Runtime
from scheduler.trace.record import Record

SETTINGS = Settings(
    pools={name: PoolBudget(budget_bytes=1000) for name in ("host", "cuda:0", "cuda:1")}
)
ILLEGAL = "an illegal memory access was encountered; start the process again"


class Gpu(EnginePlugin):
    """Asks a device that has failed."""

    class Options(EngineOptions):
        fails_at: str = "infer"

    def load(self) -> None:
        self._ask("load")

    def infer(self, batch):
        self._ask("infer")
        return list(batch)

    def unload(self) -> None:
        self._ask("unload")

    def _ask(self, where: str) -> None:
        if self.options.fails_at == where:
            raise DeviceLost(ILLEGAL)


@pytest.fixture(autouse=True)
def nothing_is_lost(monkeypatch):
    monkeypatch.setattr(lost, "_lost", {})


class Kept:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def observe(self, record: Record) -> None:
        self.records.append(record)

    def count(self, name: str) -> int:
        return sum(type(d).__name__ == name for r in self.records for d in r.decisions)


def model(name: str, device: str, **options: str) -> Model:
    return Model(name=name, footprint=100, device=device, options=options, keep_alive=None)


async def test_a_device_that_is_lost_is_told_once_and_nothing_is_loaded_again(caplog):
    kept = Kept()
    caplog.set_level(logging.ERROR)
    async with Runtime(SETTINGS, observers=[kept]) as runtime:
        for name, device in (("a", "cuda:0"), ("b", "cuda:0"), ("c", "cuda:1")):
            fails = "never" if name == "c" else "infer"
            runtime.register(model(name, device, fails_at=fails), Gpu)
        for name in "abab":
            with pytest.raises(InferenceFailed, match="illegal memory access") as caught:
                await runtime.infer(name, 1)
            assert isinstance(caught.value.__cause__, DeviceLost)
        assert await runtime.infer("c", 1) == 1
        assert lost.lost_devices() == {"cuda:0": ILLEGAL}
        assert (kept.count("LoadEngine"), kept.count("UnloadEngine")) == (3, 0)
    told = [r.getMessage() for r in caplog.records if "is lost" in r.getMessage()]
    assert told == [f"cuda:0 is lost to this process, which must be started again: {ILLEGAL}"]


@pytest.mark.parametrize("where", ["load", "unload"])
async def test_it_is_told_whichever_call_meets_it(where):
    async with Runtime(SETTINGS) as runtime:
        runtime.register(model("a", "cuda:1", fails_at=where), Gpu)
        if where == "load":
            with pytest.raises(InferenceFailed, match="illegal memory access"):
                await runtime.infer("a", 1)
        else:
            await runtime.infer("a", 1)
            await runtime.unload("a")
    assert list(lost.lost_devices()) == ["cuda:1"]


async def test_any_other_error_loses_nothing():
    class Wrong(Gpu):
        def _ask(self, where: str) -> None:
            if where == "infer":
                raise BadInput("not a picture")

    async with Runtime(SETTINGS) as runtime:
        runtime.register(model("a", "cuda:0"), Wrong)
        with pytest.raises(InferenceFailed):
            await runtime.infer("a", 1)
    assert lost.lost_devices() == {}
