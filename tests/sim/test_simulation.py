from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from scheduler.config import Config
from scheduler.config.source import Arrivals
from scheduler.core.decisions import FinishRequest
from scheduler.core.events import EngineLoaded, LeaseEnded, RequestArrived
from scheduler.core.model import SECOND_NS
from scheduler.core.request import Request, RequestKind
from scheduler.report.report import Report
from scheduler.sim.feed import Feed, Plainly
from scheduler.sim.simulation import Simulated, simulate
from scheduler.sim.simulator import Simulator
from scheduler.sim.times import written_times
from scheduler.source.arrivals import Schedule
from scheduler.trace.line import encode_record
from scheduler.trace.record import Record

ROBOT = """
memory: {budget: 400MiB}
resources: {gpu: 1}
models:
  faces:
    engine: synthetic
    options: {load: 60ms, infer: 12ms, per_item: 4ms}
    footprint: {resident: 120MiB, workspace: 20MiB, per_item: 5MiB}
    deadline: 250ms
    priority: 60
    uses: {gpu: 1}
    queue: {limit: 6, keep: latest}
    batch: {max: 4, wait: 5ms}
  text:
    engine: synthetic
    options: {load: 90ms, infer: 30ms}
    footprint: {resident: 140MiB, load_peak: 180MiB}
    exclusive: [heavy]
    uses: {gpu: 1}
    keep_alive: 1s
  speech:
    engine: synthetic
    options: {load: 40ms, infer: 50ms}
    footprint: 150MiB
    exclusive: [heavy]
    deadline: 2s
  slam:
    engine: synthetic
    options: {load: 20ms, infer: 8ms}
    footprint: 40MiB
    priority: high
"""

SOURCES = {
    "periodic": """
sources:
  camera: {model: faces, from: synthetic, rate: 30Hz}
  words: {model: text, from: synthetic, rate: 3Hz}
  talk: {model: speech, from: synthetic, rate: 2Hz}
""",
    "jitter": """
sources:
  camera: {model: faces, from: synthetic, rate: 40Hz, jitter: 9ms, deadline: 60ms}
  words: {model: text, from: synthetic, rate: 4Hz, jitter: 100ms}
  talk: {model: speech, from: synthetic, rate: 1Hz, jitter: 300ms}
""",
    "poisson": """
sources:
  camera: {model: faces, from: synthetic, rate: 35Hz, arrivals: poisson}
  words: {model: text, from: synthetic, rate: 8Hz, arrivals: poisson}
  talk: {model: speech, from: synthetic, rate: 3Hz, arrivals: poisson, priority: 70}
""",
    "burst": """
sources:
  camera: {model: faces, from: synthetic, rate: 30Hz, arrivals: burst, size: 9}
  words: {model: text, from: synthetic, rate: 5Hz, arrivals: burst, size: 3}
  talk: {model: speech, from: synthetic, rate: 1Hz}
""",
    "leased": """
sources:
  camera: {model: faces, from: synthetic, rate: 20Hz, jitter: 5ms}
  words: {model: text, from: synthetic, rate: 1Hz, lease: {ttl: 600ms, priority: 30}}
  talk: {model: speech, from: synthetic, rate: 0.7Hz, priority: 80}
  pose: {model: slam, from: synthetic, rate: 25Hz, lease: {ttl: 200ms}}
""",
}
"""Each with what the others lack; more than fits at once, so that engines change places."""

DURATION_NS = 20 * SECOND_NS


class Keeper:
    """Keeps the records and their own account of what became of the requests."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.asked: dict[int, Request] = {}
        self.ended: dict[int, int] = {}

    def observe(self, record: Record) -> None:
        assert not self.records or record.at_ns >= self.records[-1].at_ns
        assert record.at_ns < DURATION_NS
        self.records.append(record)
        if isinstance(record.event, RequestArrived):
            assert record.event.request.id not in self.asked
            self.asked[record.event.request.id] = record.event.request
        for decision in record.decisions:
            if isinstance(decision, FinishRequest):
                assert decision.request_id in self.asked
                assert decision.request_id not in self.ended, "a request ends once"
                self.ended[decision.request_id] = record.at_ns

    def still_open(self) -> int:
        return len(self.asked) - len(self.ended)

    def encoded(self) -> bytes:
        return b"".join(map(encode_record, self.records))


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every simulator checks its core after every event."""
    tell = Simulator.tell

    def tell_and_check(self: Simulator, event: object) -> None:
        tell(self, event)  # type: ignore[arg-type]
        self.core.check_invariants()

    monkeypatch.setattr(Simulator, "tell", tell_and_check)


def run(
    config: Config, *, seed: int = 1, arrivals: Iterable[Record] | None = None
) -> tuple[Simulated, Keeper]:
    keeper = Keeper()
    simulated = simulate(
        config,
        config.settings({}),
        duration_ns=DURATION_NS,
        seed=seed,
        arrivals=arrivals,
        observers=[keeper],
    )
    return simulated, keeper


def outcomes(report: Report) -> int:
    return sum(
        m.completed + m.failed + m.rejected + m.deadline_missed + m.preempted + m.cancelled
        for m in report.models.values()
    )


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize("sources", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_workload_runs_within_the_rules_and_no_request_is_lost_sight_of(
    configured: Callable[[str], Config], sources: str, seed: int
) -> None:
    simulated, keeper = run(configured(ROBOT + sources), seed=seed)
    report = simulated.report
    assert report.duration_s == 20
    runs = [q for q in keeper.asked.values() if q.kind is RequestKind.INFER]
    assert sum(m.requests for m in report.models.values()) == len(runs)
    still_open = [q for q in runs if q.id not in keeper.ended]
    assert outcomes(report) == len(runs) - len(still_open)
    assert bool(simulated.notes) == bool(still_open)
    assert sum(m.completed for m in report.models.values()) > 50
    assert report.swaps_per_minute > 0


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize("arrivals", list(Arrivals))
def test_sources_that_come_and_go_run_within_the_rules(
    configured: Callable[[str], Config], arrivals: Arrivals
) -> None:
    config = configured(ROBOT)
    keeper = Keeper()
    times = {name: written_times(model) for name, model in config.models.items()}
    simulator = Simulator(
        config.settings({}), {name: one for name, one in times.items() if one}, [keeper]
    )
    for model in config.models.values():
        simulator.register(model.to_spec())
    for seed, name in enumerate(config.models):
        on_off = Schedule(
            20.0, arrivals, seed=seed, active_ns=SECOND_NS, idle_ns=(seed + 1) * SECOND_NS
        )
        asking = Plainly(simulator, name, stream=name, priority=None)
        Feed(simulator, asking, on_off.due_times()).start()
    simulator.run(DURATION_NS)
    assert len(keeper.ended) > 300
    assert keeper.still_open() == simulator.open_requests <= 16


@pytest.mark.usefixtures("checked")
def test_the_arrivals_of_a_run_replayed_give_the_same_run(
    configured: Callable[[str], Config],
) -> None:
    config = configured(ROBOT + SOURCES["poisson"])
    first, keeper = run(config)
    second, again = run(config, arrivals=keeper.records)
    assert second.report.models == first.report.models
    assert second.report.sources is None
    assert [r.at_ns for r in again.records if isinstance(r.event, LeaseEnded)] == [
        r.at_ns for r in keeper.records if isinstance(r.event, LeaseEnded)
    ]


def test_replaying_a_trace_with_leases_says_what_is_left_out(
    configured: Callable[[str], Config],
) -> None:
    config = configured(ROBOT + SOURCES["leased"])
    _, keeper = run(config)
    held = [q for q in keeper.asked.values() if q.kind is RequestKind.HOLD]
    simulated, _ = run(config, arrivals=keeper.records)
    assert simulated.notes[0].startswith(f"{len(held)} leases held in the trace are not held")


@pytest.mark.parametrize("sources", SOURCES.values(), ids=SOURCES)
def test_equal_seeds_give_equal_records(configured: Callable[[str], Config], sources: str) -> None:
    config = configured(ROBOT + sources)
    assert run(config)[1].encoded() == run(config)[1].encoded()


@pytest.mark.parametrize("sources", [SOURCES["jitter"], SOURCES["poisson"]])
def test_other_seeds_give_other_records(configured: Callable[[str], Config], sources: str) -> None:
    config = configured(ROBOT + sources)
    assert run(config, seed=1)[1].encoded() != run(config, seed=2)[1].encoded()


def test_times_are_drawn_from_a_trace_where_it_has_them(
    configured: Callable[[str], Config],
) -> None:
    _, keeper = run(configured(ROBOT + SOURCES["periodic"]))
    slow = configured(ROBOT.replace("load: 60ms", "load: 900ms") + SOURCES["periodic"])
    seen = Keeper()
    simulate(
        slow,
        slow.settings({}),
        duration_ns=DURATION_NS,
        times=keeper.records,
        observers=[seen],
    )
    first = next(r.at_ns for r in seen.records if r.event == EngineLoaded("faces", 1))
    assert first == 60_000_000


FOREIGN = """
memory: {budget: 1GiB}
models:
  faces: {engine: "tests_sim_engine:Foreign", footprint: 1MiB}
  text: {engine: "tests_sim_engine:Foreign", footprint: 1MiB}
  known: {engine: synthetic, footprint: 1MiB}
sources:
  camera: {model: faces, from: synthetic, rate: 10Hz}
"""


@pytest.fixture
def foreign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: Callable[[str], Config]
) -> Config:
    """A configuration with an engine of somebody's own, whose load would end the test."""
    code = (
        "from scheduler.plugin.engine import EnginePlugin\n"
        "class Foreign(EnginePlugin):\n"
        "    def __init__(self, options, context): raise SystemExit('made')\n"
        "    def load(self): raise SystemExit('loaded')\n"
        "    def infer(self, batch): return batch\n"
        "    def unload(self): pass\n"
    )
    (tmp_path / "tests_sim_engine.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    return configured(FOREIGN)


def test_what_no_engine_says_is_assumed_and_named_and_no_engine_is_made(foreign: Config) -> None:
    simulated, keeper = run(foreign)
    assert simulated.notes[0] == (
        "no times known for faces, text: assuming load 100 ms, run 20 ms; "
        "record a trace with rota run --trace and pass --times"
    )
    ended = [r.at_ns for r in keeper.records if isinstance(r.event, LeaseEnded)]
    assert ended[0] == 120_000_000


def test_only_what_a_trace_lacks_is_assumed(foreign: Config) -> None:
    _, keeper = run(foreign)
    load_only = [r for r in keeper.records if not isinstance(r.event, LeaseEnded)]
    simulated = simulate(foreign, foreign.settings({}), duration_ns=SECOND_NS, times=load_only)
    told = [note.partition(";")[0] for note in simulated.notes if "assuming" in note]
    assert told == [
        "no run times known for faces: assuming run 20 ms",
        "no times known for text: assuming load 100 ms, run 20 ms",
    ]


def test_what_had_not_ended_is_named(configured: Callable[[str], Config]) -> None:
    config = configured(ROBOT + "sources:\n  talk: {model: speech, from: synthetic, rate: 2Hz}")
    simulated = simulate(config, config.settings({}), duration_ns=1_020_000_000)
    assert simulated.notes == ("not ended after 1.02 s: speech 1",)
    assert simulated.report.models["speech"].requests == 3
