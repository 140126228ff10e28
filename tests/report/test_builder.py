"""The report: what counts, what does not, and what it looks like as JSON."""

from __future__ import annotations

import json
from itertools import count

import pytest
from rich.console import Console

from scheduler.core import events as ev
from scheduler.core.decisions import (
    EngineRef,
    FinishRequest,
    GrantLease,
    LoadEngine,
    UnloadEngine,
)
from scheduler.core.model import ModelSpec
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.request import Request, RequestKind
from scheduler.core.settings import PoolBudget, Settings
from scheduler.report.builder import ReportBuilder
from scheduler.report.report import AheadReport, SourceReport
from scheduler.report.summary import render_summary
from scheduler.trace.record import Record

MIB = 1 << 20
MS = 1_000_000
SETTINGS = Settings(pools={"unified": PoolBudget(budget_bytes=420 * MIB)})
MAKE_ROOM = Reason(ReasonCode.MAKE_ROOM, "room for text")
IDLE = Reason(ReasonCode.KEEP_ALIVE_OVER, "idle")


class Run:
    """A builder fed by hand; times in milliseconds."""

    def __init__(self, *models):
        self.builder = ReportBuilder(SETTINGS)
        self.sequence = count(1)
        for model in models:
            self.step(0, ev.ModelRegistered(ModelSpec(name=model, footprint={})))

    def step(self, at_ms, event=None, *decisions, reserved=0):
        record = Record(
            next(self.sequence), at_ms * MS, event or ev.TimerFired(), decisions,
            {"unified": reserved},
        )  # fmt: skip
        self.builder.observe(record)

    def ask(self, at_ms, request_id, model, **rules):
        self.step(at_ms, ev.RequestArrived(Request(id=request_id, models=(model,), **rules)))

    def answer(self, at_ms, request_id, outcome=Outcome.COMPLETED):
        self.step(at_ms, None, FinishRequest(request_id, outcome))

    def report(self):
        return self.builder.report()


def test_every_outcome_is_counted_in_its_own_place():
    run = Run("faces", "text")
    wanted = {outcome: number for number, outcome in enumerate(Outcome, 1)}
    ids = count(1)
    for outcome, number in wanted.items():
        for request_id in (next(ids) for _ in range(number)):
            run.ask(1, request_id, "faces")
            run.answer(2, request_id, outcome)
    faces = run.report().models["faces"]
    assert {outcome: getattr(faces, outcome.value) for outcome in Outcome} == wanted
    assert faces.requests == sum(wanted.values())
    assert run.report().models["text"].requests == 0


def test_latency_is_from_arrival_to_answer_of_completed_requests_alone():
    run = Run("faces")
    for request_id, took in ((1, 10), (2, 30), (3, 20)):
        run.ask(100, request_id, "faces")
        run.answer(100 + took, request_id)
    run.ask(100, 4, "faces")
    run.answer(900, 4, Outcome.FAILED)
    latency = run.report().models["faces"].latency_ms
    assert (latency.p50, latency.p99, latency.max) == (20, 30, 30)
    assert run.builder.last_latency_ms() == {"faces": 20}


def test_a_request_that_has_not_ended_is_counted_as_asked():
    run = Run("faces")
    run.ask(1, 1, "faces")
    faces = run.report().models["faces"]
    assert (faces.requests, faces.completed, faces.latency_ms.p50) == (1, 0, None)


@pytest.mark.parametrize("kind", [RequestKind.HOLD, RequestKind.LOAD, RequestKind.UNLOAD])
def test_only_runs_are_requests(kind):
    run = Run("faces")
    run.ask(1, 1, "faces", kind=kind)
    run.answer(2, 1)
    faces = run.report().models["faces"]
    assert (faces.requests, faces.completed) == (0, 0)


def test_requests_for_models_that_do_not_exist_leave_nothing_behind():
    run = Run("faces")
    for request_id in range(100):
        run.ask(1, request_id, f"made-up-{request_id}")
        run.answer(1, request_id, Outcome.REJECTED)
    assert set(run.report().models) == {"faces"}
    assert run.builder._open == {}


def test_loads_and_unloads_are_those_that_succeeded():
    run = Run("faces")
    run.step(1, None, LoadEngine("faces", 1))
    run.step(2, ev.EngineLoadFailed("faces", 1, "no"))
    run.step(3, None, LoadEngine("faces", 2))
    run.step(4, ev.EngineLoaded("faces", 2))
    run.step(5, ev.EngineLost("faces", 2, "gone"))
    run.step(6, ev.EngineLoaded("faces", 3))
    run.step(7, ev.EngineUnloaded("faces", 3))
    faces = run.report().models["faces"]
    assert (faces.loads, faces.unloads) == (2, 1)


def test_a_swap_is_a_load_for_which_another_had_to_go():
    run = Run("a", "b", "c")
    run.step(0, None, LoadEngine("a", 1), LoadEngine("b", 1))
    run.step(100, None, UnloadEngine("a", 1, MAKE_ROOM), UnloadEngine("b", 1, MAKE_ROOM))
    run.step(200, None, LoadEngine("c", 1))
    run.step(300, None, UnloadEngine("c", 1, IDLE))
    run.step(400, None, LoadEngine("a", 2))
    run.step(30_000)
    assert run.builder.swaps == 1
    assert run.report().swaps_per_minute == 2


def test_memory_keeps_the_highest_of_what_was_reserved_and_of_what_was_measured():
    run = Run("faces")
    for reserved in (5, 70, 10):
        run.step(1, reserved=reserved)
    assert run.report().memory["unified"].measured_high_water_bytes is None
    for used in (30, 90, None, 20):
        run.step(2, ev.MemorySampled("unified", used_bytes=used, source="MemAvailable"))
    run.step(2, ev.MemorySampled("unified"))
    run.step(3, ev.MemorySampled("elsewhere", used_bytes=999))
    run.step(4, ev.BudgetChanged("unified", 100))
    pool = run.report().memory["unified"]
    assert pool.high_water_bytes == 70
    assert pool.measured_high_water_bytes == 90
    assert pool.source == "MemAvailable"
    assert pool.budget_bytes == 100


def test_the_duration_is_from_the_start_to_the_last_record_or_to_now():
    run = Run("faces")
    run.step(2_500)
    assert run.report().duration_s == 2.5
    assert run.builder.report(now_ns=4_000 * MS).duration_s == 4
    late = ReportBuilder(SETTINGS, started_ns=1_000 * MS)
    late.observe(Record(1, 3_000 * MS, ev.TimerFired(), (), {}))
    assert late.report().duration_s == 2


def test_loads_ahead_are_hits_when_they_are_used_before_they_go():
    run = Run("faces")
    assert run.report().models["faces"].loads_ahead is None
    run.step(0, None, LoadEngine("faces", 1, ahead=True), LoadEngine("stranger", 1, ahead=True))
    run.step(1, None, grant("faces", 1), grant("faces", 1), grant("stranger", 1))
    run.step(2, None, LoadEngine("faces", 2, ahead=True))
    run.step(3, None, LoadEngine("faces", 3), grant("faces", 3))
    assert run.report().models["faces"].loads_ahead == AheadReport(loads=2, used=1)
    assert "1 of 2" in text_of(run.report())
    plain = json.loads(run.report().model_dump_json())
    assert plain["models"]["faces"]["loads_ahead"] == {"loads": 2, "used": 1}


def grant(model, instance):
    return GrantLease(1, (EngineRef(model, instance),), (1,))


def test_a_run_without_records_has_a_report_too():
    report = ReportBuilder(SETTINGS).report()
    assert (report.duration_s, report.swaps_per_minute, report.models) == (0, 0, {})


def test_the_json_has_the_documented_keys_and_no_others():
    run = Run("faces")
    plain = json.loads(run.report().model_dump_json())
    assert set(plain) == {"duration_s", "models", "memory", "swaps_per_minute"}
    assert set(plain["models"]["faces"]) == {
        "requests", "completed", "failed", "rejected", "deadline_missed", "preempted", "cancelled",
        "loads", "unloads", "latency_ms",
    }  # fmt: skip
    assert plain["models"]["faces"]["latency_ms"] == {"p50": None, "p99": None, "max": None}
    assert set(plain["memory"]["unified"]) == {"budget_bytes", "high_water_bytes"}
    run.step(1, ev.MemorySampled("unified", used_bytes=7))
    run.builder.attach_sources({"camera": SourceReport(sent=9, dropped=2)})
    plain = run.report().model_dump()
    assert plain["memory"]["unified"]["measured_high_water_bytes"] == 7
    assert plain["sources"] == {"camera": {"sent": 9, "dropped": 2}}


def text_of(report, width=100):
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(render_summary(report))
    return capture.get()


def test_the_summary_shows_who_was_served_and_who_missed():
    run = Run("faces", "[bold]odd[/bold]")
    for request_id in (1, 2, 3):
        run.ask(0, request_id, "faces")
    run.answer(12, 1)
    run.answer(100, 2, Outcome.DEADLINE_MISSED)
    run.step(60_000, ev.MemorySampled("unified", used_bytes=300 * MIB), reserved=210 * MIB)
    run.builder.attach_sources({"camera": SourceReport(sent=9, dropped=2)})
    lines = text_of(run.report()).splitlines()
    assert lines[0] == (
        "60.0 s: 1 of 3 requests served, 1 missed their deadline, 0.0 swaps per minute"
    )
    assert lines[1].split() == [
        "model",
        "requests",
        "served",
        "missed",
        "p50",
        "ms",
        "p99",
        "ms",
        "max",
        "ms",
        "loads",
    ]
    assert lines[2].split() == ["faces", "3", "1", "1", "12.0", "12.0", "12.0", "0"]
    assert lines[3].split()[0] == "[bold]odd[/bold]"
    assert "210.0 MiB of 420.0 MiB" in lines[5]
    assert "300.0 MiB" in lines[5]
    assert lines[7].split() == ["camera", "9", "2"]


@pytest.mark.parametrize(
    ("reserved", "measured", "bar"),
    [(0, None, "·" * 24), (210, None, "█" * 12 + "·" * 12), (210, 105, "█████┃██████" + "·" * 12)],
)
def test_the_bar_is_as_long_as_memory_is_full(reserved, measured, bar):
    run = Run()
    run.step(1, ev.MemorySampled("unified", used_bytes=measured and measured * MIB))
    run.step(1, reserved=reserved * MIB)
    assert bar in text_of(run.report())


def test_a_bar_beyond_the_budget_ends_at_its_end():
    run = Run()
    run.step(1, ev.MemorySampled("unified", used_bytes=900 * MIB), reserved=500 * MIB)
    assert "unified  " + "█" * 23 + "┃  500.0 MiB of 420.0 MiB  900.0 MiB" in text_of(run.report())


def test_the_loads_of_each_form_are_counted_where_there_is_a_choice():
    run = Run("a", "b")
    run.step(1, None, LoadEngine("a", 1, "fp16", "cuda:1"), LoadEngine("b", 1))
    run.step(2, None, LoadEngine("a", 2, "int8"))
    run.step(3, None, LoadEngine("a", 3, "int8"), LoadEngine("unknown", 3, "int8"))
    report = run.builder.report()
    assert report.models["a"].forms == {"fp16 on cuda:1": 1, "int8": 2}
    assert "forms" not in report.models["b"].model_dump()
