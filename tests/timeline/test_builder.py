"""From records to lanes: phases, leases, waits, marks, and whose bytes are whose."""

from __future__ import annotations

from itertools import count

import pytest

from scheduler.core import events as ev
from scheduler.core.decisions import (
    EngineRef,
    FinishRequest,
    GrantLease,
    LoadEngine,
    RevokeLease,
    UnloadEngine,
)
from scheduler.core.model import ModelSpec, PoolFootprint
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.request import Request, RequestKind
from scheduler.core.settings import PoolBudget, Settings, Trust
from scheduler.timeline.builder import TimelineBuilder
from scheduler.timeline.timeline import Phase
from scheduler.trace.header import Header
from scheduler.trace.record import Record

MAKE_ROOM = Reason(ReasonCode.MAKE_ROOM, "room for text")
FOOTPRINT = PoolFootprint(
    resident_bytes=40, load_peak_bytes=70, workspace_bytes=9, per_item_bytes=6
)


def header(**settings):
    pools = {"unified": PoolBudget(budget_bytes=420)}
    return Header(
        node="rover", started_at="", started_ns=0, settings=Settings(pools=pools, **settings)
    )


class Run:
    """A builder fed by hand; times in plain nanoseconds."""

    def __init__(self, *models, first=1, **settings):
        self.builder = TimelineBuilder(header(**settings))
        self.sequence = count(first)
        for model in models:
            spec = ModelSpec(name=model, footprint={"unified": FOOTPRINT})
            self.step(0, ev.ModelRegistered(spec))

    def step(self, at_ns, event=None, *decisions, reserved=0):
        self.builder.observe(
            Record(
                next(self.sequence), at_ns, event or ev.TimerFired(), decisions,
                {"unified": reserved},
            )
        )  # fmt: skip
        return self

    def ask(self, at_ns, request_id, *models, **rules):
        return self.step(at_ns, ev.RequestArrived(Request(id=request_id, models=models, **rules)))

    def grant(self, at_ns, lease_id, request_id, *models, holds=False):
        refs = tuple(EngineRef(model, 1) for model in models)
        return self.step(at_ns, None, GrantLease(lease_id, refs, (request_id,), holds))

    def lane(self, model):
        lanes = {lane.model: lane for lane in self.builder.timeline().lanes}
        return lanes[model]

    def spans(self, model, phase):
        return [(span.start_ns, span.end_ns) for span in self.lane(model).spans[phase]]

    def amounts(self):
        steps = self.builder.timeline().pools[0].steps
        return [(step.at_ns, dict(step.by_model), step.running_bytes) for step in steps]


def loaded(*models, **settings):
    run = Run(*models, **settings)
    for model in models:
        run.step(0, None, LoadEngine(model, 1)).step(10, ev.EngineLoaded(model, 1))
    return run


def test_an_engine_goes_through_its_phases():
    run = Run("faces")
    run.step(10, None, LoadEngine("faces", 1))
    run.step(30, ev.EngineLoaded("faces", 1))
    run.step(70, None, UnloadEngine("faces", 1, MAKE_ROOM))
    run.step(75, ev.EngineUnloaded("faces", 1)).step(100)
    phases = (Phase.LOADING, Phase.RESIDENT, Phase.UNLOADING)
    assert [run.spans("faces", phase) for phase in phases] == [[(10, 30)], [(30, 70)], [(70, 75)]]
    assert [span.note for span in run.lane("faces").spans[Phase.UNLOADING]] == ["room for text"]


def test_late_news_of_an_older_engine_changes_nothing():
    run = Run("faces").step(10, None, LoadEngine("faces", 2))
    run.step(20, ev.EngineLoaded("faces", 1)).step(25, ev.EngineLost("faces", 1, "x"))
    run.step(28, ev.EngineUnloaded("faces", 2)).step(30, ev.EngineLoaded("faces", 2)).step(40)
    assert run.spans("faces", Phase.LOADING) == [(10, 30)]
    assert run.spans("faces", Phase.RESIDENT) == [(30, 40)]


def test_a_failed_load_and_a_lost_engine_are_drawn_until_then_with_the_error():
    run = Run("faces").step(10, None, LoadEngine("faces", 1))
    run.step(20, ev.EngineLoadFailed("faces", 1, "no file"))
    run.step(30, None, LoadEngine("faces", 2)).step(40, ev.EngineLoaded("faces", 2))
    run.step(60, ev.EngineLost("faces", 2, "died")).step(100)
    loads = list(run.lane("faces").spans[Phase.LOADING])
    assert [(s.start_ns, s.end_ns, s.note) for s in loads] == [
        (10, 20, "load failed: no file"), (30, 40, ""),
    ]  # fmt: skip
    (resident,) = run.lane("faces").spans[Phase.RESIDENT]
    assert (resident.end_ns, resident.note) == (60, "lost: died")


def test_a_lost_engine_ends_the_leases_on_it_on_every_lane():
    run = loaded("faces", "text")
    run.ask(20, 1, "faces", "text", kind=RequestKind.HOLD)
    run.grant(20, 5, 1, "faces", "text", holds=True)
    run.step(50, ev.EngineLost("faces", 1, "died")).step(90)
    assert run.spans("faces", Phase.HELD) == run.spans("text", Phase.HELD) == [(20, 50)]


def test_runs_and_held_leases_are_told_apart():
    run = loaded("faces")
    run.ask(15, 1, "faces", kind=RequestKind.HOLD).grant(20, 5, 1, "faces", holds=True)
    run.ask(30, 2, "faces", under_lease=5).grant(32, 6, 2, "faces")
    run.step(40, ev.LeaseEnded(6)).step(45, None, RevokeLease(5, MAKE_ROOM))
    run.step(50, ev.LeaseEnded(5)).step(60)
    assert run.spans("faces", Phase.RUNNING) == [(32, 40)]
    (held,) = run.lane("faces").spans[Phase.HELD]
    assert (held.start_ns, held.end_ns) == (20, 50)
    assert held.note == "lease 5, request 1, taken back: room for text"


def test_waiting_is_from_the_first_arrival_until_nobody_waits():
    run = loaded("faces")
    run.ask(20, 1, "faces").ask(30, 2, "faces").grant(40, 5, 1, "faces")
    run.step(50, ev.LeaseEnded(5), FinishRequest(1, Outcome.COMPLETED))
    run.step(60, None, FinishRequest(2, Outcome.DEADLINE_MISSED, MAKE_ROOM))
    run.ask(70, 3, "faces").grant(70, 6, 3, "faces").step(80)
    assert run.spans("faces", Phase.WAITING) == [(20, 60)]


@pytest.mark.parametrize("kind", [RequestKind.LOAD, RequestKind.UNLOAD])
def test_loads_and_unloads_asked_for_do_not_wait_in_the_picture(kind):
    run = Run("faces").ask(10, 1, "faces", kind=kind).step(30)
    assert run.spans("faces", Phase.WAITING) == []


def test_outcomes_leave_marks_with_their_reason():
    run = Run("faces")
    marked = (Outcome.DEADLINE_MISSED, Outcome.REJECTED, Outcome.FAILED, Outcome.PREEMPTED)
    for request_id, outcome in enumerate(Outcome):
        run.ask(10, request_id, "faces")
        run.step(20 + request_id, None, FinishRequest(request_id, outcome, MAKE_ROOM))
    marks = run.lane("faces").marks
    assert {outcome for outcome, spans in marks.items() if len(spans)} == set(marked)
    for request_id, outcome in enumerate(Outcome):
        if outcome in marked:
            (mark,) = marks[outcome]
            assert mark.start_ns == mark.end_ns == 20 + request_id
            assert mark.note == f"request {request_id}: room for text"


def test_what_goes_on_is_drawn_until_the_last_record_and_can_be_asked_again():
    run = loaded("faces")
    run.ask(15, 1, "faces").ask(16, 2, "faces").grant(20, 5, 1, "faces").step(50)
    assert run.spans("faces", Phase.RUNNING) == [(20, 50)]
    assert run.spans("faces", Phase.WAITING) == [(15, 50)]
    run.step(60)
    assert run.spans("faces", Phase.RUNNING) == [(20, 60)]
    assert run.spans("faces", Phase.RESIDENT) == [(10, 60)]


def test_a_model_nobody_registered_has_no_lane_and_breaks_nothing():
    run = Run("faces").ask(10, 1, "ghost")
    run.step(
        10, ev.EngineLoaded("ghost", 1), LoadEngine("ghost", 2), UnloadEngine("ghost", 2, MAKE_ROOM)
    )
    run.grant(20, 5, 1, "ghost")
    run.step(30, ev.LeaseEnded(5), FinishRequest(1, Outcome.FAILED, MAKE_ROOM))
    assert [lane.model for lane in run.builder.timeline().lanes] == ["faces"]
    assert run.amounts()[-1] == (0, {}, 0)


def test_pins_and_priorities_are_those_of_the_end():
    run = Run("faces").step(10, ev.PinChanged("faces", pinned=True))
    assert run.lane("faces").pinned


def test_a_flight_recorders_dump_begins_after_its_gap():
    run = Run("faces", first=1)
    run.sequence = count(900)
    second = 1_000_000_000
    run.ask(5 * second, 7, "faces").grant(6 * second, 70, 7, "faces").step(8 * second)
    timeline = run.builder.timeline()
    assert (timeline.start_ns, timeline.end_ns) == (5 * second, 8 * second)
    assert timeline.report.duration_s == 3
    assert run.spans("faces", Phase.RESIDENT) == [(6 * second, 8 * second)]
    assert run.amounts()[-1] == (6 * second, {"faces": 40}, 9)


def test_records_lost_in_the_middle_do_not_move_the_beginning():
    run = loaded("faces")
    run.sequence = count(900)
    run.step(5_000)
    assert run.builder.timeline().start_ns == 0


# -- memory -----------------------------------------------------------------------------------


def test_an_engine_takes_its_peak_then_its_resident_bytes_then_nothing():
    run = Run("faces").step(10, None, LoadEngine("faces", 1), reserved=70)
    run.step(20, ev.EngineLoaded("faces", 1), reserved=40)
    run.step(30, None, UnloadEngine("faces", 1, MAKE_ROOM), reserved=40)
    run.step(40, ev.EngineUnloaded("faces", 1))
    assert run.amounts() == [
        (0, {}, 0),
        (10, {"faces": 70}, 0),
        (20, {"faces": 40}, 0),
        (40, {}, 0),
    ]


def test_a_train_takes_the_workspace_of_one_run():
    run = loaded("faces")
    for request_id in (1, 2, 3):
        run.ask(20, request_id, "faces")
    run.step(20, None, GrantLease(1, (EngineRef("faces", 1),), (1, 2, 3), in_turn=True))
    assert run.amounts()[-1] == (20, {"faces": 40}, 9)


def test_a_run_takes_workspace_and_items_and_under_a_lease_only_what_is_new():
    run = loaded("faces")
    run.ask(20, 1, "faces", kind=RequestKind.HOLD).grant(20, 5, 1, "faces", holds=True)
    assert run.amounts()[-1] == (20, {"faces": 40}, 9)
    run.ask(30, 2, "faces", items=3, under_lease=5).grant(30, 6, 2, "faces")
    assert run.amounts()[-1] == (30, {"faces": 40}, 9 + 2 * 6)
    run.step(40, ev.LeaseEnded(6))
    assert run.amounts()[-1] == (40, {"faces": 40}, 9)
    run.step(50, ev.LeaseEnded(5))
    assert run.amounts()[-1] == (50, {"faces": 40}, 0)


@pytest.mark.parametrize(
    ("trust", "seen", "counted"),
    [
        (Trust.MAX, 60, 60), (Trust.MAX, 30, 40), (Trust.DECLARED, 60, 40),
        (Trust.MEASURED, 30, 30),
    ],
)  # fmt: skip
def test_measured_bytes_count_as_trust_says(trust, seen, counted):
    run = Run("faces", trust=trust).step(10, None, LoadEngine("faces", 1))
    run.step(20, ev.EngineLoaded("faces", 1, {"unified": ev.Measurement(seen)}))
    assert run.amounts()[-1] == (20, {"faces": counted}, 0)


@pytest.mark.parametrize("seen", [ev.Measurement(99, reliable=False), ev.Measurement(-99)])
def test_unreliable_and_impossible_figures_are_not_used(seen):
    run = loaded("faces", trust=Trust.MEASURED)
    run.ask(20, 1, "faces").grant(20, 5, 1, "faces")
    run.step(30, ev.LeaseEnded(5, measured={"faces": {"unified": seen}}))
    assert run.amounts()[-1] == (30, {"faces": 40}, 0)


def test_the_sum_is_what_the_core_booked_at_every_step(robot):
    builder = TimelineBuilder(header_of(robot))
    overhead = robot.core._state.settings.pools["unified"].overhead_bytes
    for record in robot.records:
        builder.observe(record)
        step = builder._pools["unified"].steps[-1]
        booked = sum(step.by_model.values()) + step.running_bytes
        assert booked + overhead == record.reserved_bytes["unified"], record
    assert {lane.model for lane in builder.timeline().lanes} == {
        "slam", "faces", "voice", "speech", "text",
    }  # fmt: skip


def test_the_robots_leases_show(robot):
    builder = TimelineBuilder(header_of(robot))
    for record in robot.records:
        builder.observe(record)
    held = {lane.model for lane in builder.timeline().lanes if len(lane.spans[Phase.HELD])}
    assert held == {"text", "faces", "voice"}


def header_of(robot):
    settings = robot.core._state.settings
    return Header(node="rover", started_at="", started_ns=0, settings=settings)


def test_a_run_that_follows_is_drawn_from_when_it_begins():
    run = loaded("faces")
    for request_id in (1, 2):
        run.ask(20, request_id, "faces")
    first = GrantLease(1, (EngineRef("faces", 1),), (1,))
    run.step(20, None, first, GrantLease(2, (EngineRef("faces", 1),), (2,), after=1))
    assert run.amounts()[-1] == (20, {"faces": 40}, 9)
    run.step(30, ev.LeaseEnded(1))
    run.step(45, ev.LeaseEnded(2))
    assert run.spans("faces", Phase.RUNNING) == [(20, 30), (30, 45)]
    assert run.spans("faces", Phase.WAITING) == [(20, 30)]
