"""Feeds and the sampler against the real runtime, in real time."""

import anyio
import pytest

from scheduler.config.model import Model
from scheduler.config.source import SourceConfig
from scheduler.core.outcome import Outcome
from scheduler.core.settings import PoolBudget, Settings
from scheduler.memory.host import host_probes
from scheduler.memory.process import Baseline
from scheduler.memory.sampler import MemorySampler
from scheduler.plugin.engine import EnginePlugin
from scheduler.runtime.clock import MonotonicClock
from scheduler.runtime.runtime import Runtime
from scheduler.source.feeds import build_sources

MIB = 1024**2


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


class Echo(EnginePlugin):
    def load(self):
        pass

    def example(self):
        return "example"

    def infer(self, batch):
        return [(payload, "seen") for payload in batch]

    def unload(self):
        pass


def model(name, **rules):
    return Model.model_validate({"name": name, "engine": "echo", "footprint": MIB, **rules})


def runtime():
    made = Runtime(Settings(pools={"unified": PoolBudget(budget_bytes=64 * MIB)}))
    made.register(model("faces"), engine=Echo)
    return made


def feeds_of(rota, answers, stop_after, **source):
    config = SourceConfig.model_validate({"from": "synthetic", "rate": 200.0, **source})
    feeds = build_sources(
        {"load": config},
        infer=rota.infer,
        lease=rota.lease,
        clock=MonotonicClock(),
        listeners=[answers.append, lambda a: feeds.stop() if a.sequence >= stop_after else None],
    )
    return feeds


async def test_frames_are_answered_and_the_sample_arrives():
    answers = []
    async with runtime() as rota:
        feeds = feeds_of(rota, answers, 10, model="faces")
        sampler = MemorySampler(
            host_probes(["unified"]),
            rota.take_sample,
            clock=MonotonicClock(),
            baseline=Baseline(),
            period_ns=5_000_000,
        )
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(sampler.run)
                await feeds.run()
                await anyio.sleep(0.1)
                (pool,) = rota.snapshot().pools
                group.cancel_scope.cancel()
        assert pool.available_bytes > 64 * MIB
        assert pool.used_bytes is not None
    completed = [answer for answer in answers if answer.outcome is Outcome.COMPLETED]
    assert completed[0].result == ("example", "seen")
    assert feeds.stats()["load"].completed == len(completed) >= 1


async def test_a_revoked_lease_is_taken_again():
    answers = []
    async with runtime() as rota:
        feeds = feeds_of(rota, answers, 40, model="faces", lease={"priority": 20, "ttl": 1.0})

        async def docking():
            while len(answers) < 10:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            async with rota.lease("faces", priority=90):
                await anyio.sleep(0.02)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(docking)
                await feeds.run()
    revoked = [a.sequence for a in answers if a.outcome is Outcome.PREEMPTED]
    completed = [a.sequence for a in answers if a.outcome is Outcome.COMPLETED]
    assert len(revoked) >= 1
    assert completed[0] < min(revoked) <= max(revoked) < completed[-1]
    assert len(completed) > 20


async def test_an_unknown_model_stops_its_source_and_not_the_others():
    answers = []
    async with runtime() as rota:
        configs = {
            "good": SourceConfig.model_validate(
                {"model": "faces", "from": "synthetic", "rate": 200.0}
            ),
            "bad": SourceConfig.model_validate(
                {"model": "nobody", "from": "synthetic", "rate": 200.0}
            ),
        }
        feeds = build_sources(
            configs,
            infer=rota.infer,
            lease=rota.lease,
            clock=MonotonicClock(),
            listeners=[answers.append],
        )
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(feeds.run)
                while feeds.stats()["good"].completed < 20:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                feeds.stop()
    assert "nobody" in feeds.feeders["bad"].stopped_by
    assert feeds.feeders["good"].stopped_by is None
