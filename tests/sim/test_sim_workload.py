from __future__ import annotations

import wave
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from scheduler.config import Config
from scheduler.core.events import RequestArrived
from scheduler.core.model import SECOND_NS
from scheduler.core.request import NO_DEADLINE_NS, Request
from scheduler.sim.simulation import simulate
from scheduler.source.source import SourceError
from scheduler.trace.record import Record

ROBOT = """
memory: {{budget: 1GiB}}
models:
  m: {{engine: synthetic, options: {{load: 0ms, infer: 1ms}}, footprint: 1MiB, deadline: 50ms}}
sources:
  s: {source}
"""


class Arrivals:
    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.at_s: list[float] = []

    def observe(self, record: Record) -> None:
        if isinstance(record.event, RequestArrived):
            self.requests.append(record.event.request)
            self.at_s.append(record.at_ns / SECOND_NS)


Arrive = Callable[..., Arrivals]


@pytest.fixture
def arrive(configured: Callable[[str], Config]) -> Arrive:
    def run(source: str, seconds: float = 10, seed: int = 1) -> Arrivals:
        config = configured(ROBOT.format(source=source))
        seen = Arrivals()
        duration_ns = round(seconds * SECOND_NS)
        settings = config.settings({})
        simulate(config, settings, duration_ns=duration_ns, seed=seed, observers=[seen])
        return seen

    return run


def test_periodic_frames_come_at_their_multiples_without_drift(arrive: Arrive) -> None:
    assert arrive("{model: m, from: synthetic, rate: 3Hz}").at_s == pytest.approx(
        [n / 3 for n in range(30)], abs=1e-9
    )


def test_jitter_moves_them_by_no_more_than_it_says(arrive: Arrive) -> None:
    at_s = arrive("{model: m, from: synthetic, rate: 10Hz, jitter: 20ms}").at_s
    moved = [at - n / 10 for n, at in enumerate(at_s)]
    assert max(map(abs, moved)) <= 0.02
    assert len({round(m, 6) for m in moved}) > 50


def test_poisson_arrivals_have_the_rate_and_the_spread_of_chance(arrive: Arrive) -> None:
    at_s = arrive("{model: m, from: synthetic, rate: 10Hz, arrivals: poisson}", 100).at_s
    gaps = [b - a for a, b in pairwise(at_s)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.1, rel=0.1)
    assert sum((g - mean) ** 2 for g in gaps) / len(gaps) == pytest.approx(0.01, rel=0.25)


@pytest.mark.parametrize(("outstanding", "asked"), [(1, 2), (4, 5), (8, 8)])
def test_of_frames_that_come_at_once_as_many_are_asked_as_may_be_outstanding(
    arrive: Arrive, outstanding: int, asked: int
) -> None:
    source = "{model: m, from: synthetic, rate: 8Hz, arrivals: burst, size: 8, outstanding: %d}"
    seen = arrive(source % outstanding, 1)
    assert len(seen.requests) == asked  # the newest of the others follows when there is room


def test_bursts_come_together(arrive: Arrive) -> None:
    at_s = arrive("{model: m, from: synthetic, rate: 2Hz, arrivals: burst, size: 4}").at_s
    assert at_s == [0.0] * 4 + [2.0] * 4 + [4.0] * 4 + [6.0] * 4 + [8.0] * 4


@pytest.mark.parametrize("extra", ["jitter: 5ms", "arrivals: poisson"])
def test_seeds_tell_runs_apart_and_nothing_else_does(arrive: Arrive, extra: str) -> None:
    source = f"{{model: m, from: synthetic, rate: 10Hz, {extra}}}"
    assert arrive(source, seed=1).at_s == arrive(source, seed=1).at_s
    assert arrive(source, seed=1).at_s != arrive(source, seed=2).at_s
    own = source.replace("rate:", "seed: 7, rate:")
    assert arrive(own, seed=1).at_s != arrive(source, seed=1).at_s


@pytest.mark.parametrize(
    ("extra", "deadline_ns", "priority"),
    [
        ("", None, None),
        (", deadline: none, priority: high", NO_DEADLINE_NS, 75),
        (", deadline: 30ms", 30_000_000, None),
    ],
)
def test_requests_carry_what_the_source_says(
    arrive: Arrive, extra: str, deadline_ns: int | None, priority: int | None
) -> None:
    request = arrive(f"{{model: m, from: synthetic, rate: 1Hz{extra}}}").requests[0]
    assert (request.deadline_ns, request.priority) == (deadline_ns, priority)
    assert request.stream == "s"


def test_a_leased_source_asks_under_its_lease_with_the_lease_s_priority(arrive: Arrive) -> None:
    source = "{model: m, from: synthetic, rate: 1Hz, priority: 30, lease: {ttl: 3s}}"
    hold, *runs = arrive(source).requests
    assert (hold.ttl_ns, hold.priority) == (3 * SECOND_NS, 30)
    assert [run.under_lease for run in runs] == [1] * 10
    source = source.replace("{ttl", "{priority: 40, ttl")
    assert arrive(source).requests[0].priority == 40


def test_a_microphone_gives_31_blocks_a_second(arrive: Arrive) -> None:
    assert len(arrive("{model: m, from: microphone}", 4).at_s) == 125


def test_utterances_are_assumed_and_it_is_said(configured: Callable[[str], Config]) -> None:
    config = configured(
        ROBOT.format(source="{model: m, from: microphone}")
        + "  words: {model: m, from: 'utterances:s'}"
    )
    result = simulate(config, config.settings({}), duration_ns=200 * SECOND_NS)
    assert result.notes == ("sources.words: nothing is heard: assuming speech at random, 0.1 Hz",)
    assert result.report.sources is not None
    assert 8 < result.report.sources["words"].sent < 35


@pytest.mark.parametrize(("extra", "count"), [("", 2), (", loop: true", 20)])
def test_pictures_end_or_begin_again(arrive: Arrive, tmp_path: Any, extra: str, count: int) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    seen = arrive(f"{{model: m, from: 'images:pictures', rate: 2Hz{extra}}}")
    assert len(seen.at_s) == count


def test_a_recording_that_is_not_in_real_time_goes_as_fast_as_it_is_served(
    arrive: Arrive, tmp_path: Any
) -> None:
    with wave.open(str(tmp_path / "quiet.wav"), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", "NONE"))
        sound.writeframes(bytes(2 * 512 * 100))
    source = "{model: m, from: 'wav:quiet.wav', rate: 5Hz, realtime: false}"
    assert len(arrive(source).at_s) == 50, "a rate paces it"
    at_s = arrive(source.replace("rate: 5Hz, ", "")).at_s
    assert len(at_s) == 100
    assert at_s[-1] == pytest.approx(0.1, abs=0.01), "1 ms each, instead of 32"


def test_a_recording_that_cannot_be_read_is_an_error_that_names_the_source(
    arrive: Arrive, tmp_path: Any
) -> None:
    (tmp_path / "scans.npz").write_text("nothing")
    with pytest.raises(SourceError, match=r"sources\.s: .*scans\.npz is not an archive"):
        arrive("{model: m, from: 'lidar:scans.npz'}")
