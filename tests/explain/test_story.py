from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from scheduler.core.decisions import LoadEngine
from scheduler.core.events import (
    EngineLoaded,
    EngineLoadFailed,
    EngineLost,
    LeaseEnded,
    ModeChanged,
    ModelRegistered,
    RequestCancelled,
    TimerFired,
)
from scheduler.core.mode import Mode
from scheduler.core.model import Form, ModelSpec, PoolFootprint, QueueKeep
from scheduler.core.outcome import Outcome, ReasonCode
from scheduler.explain.moment import FIRST, LAST, Moments
from scheduler.explain.nearest import Nearest
from scheduler.explain.remedy import ADVICE
from scheduler.explain.residence import Residence
from scheduler.explain.story import UnknownRequestError, read_story
from scheduler.explain.wait import FOR
from scheduler.trace.flight import FlightRecorder
from scheduler.trace.record import Record

WAITED = {code for code in ReasonCode if code.value.startswith("waits_for_")} | {
    ReasonCode.EXTERNAL_PRESSURE
}
OF_ENGINES = {
    ReasonCode.MAKE_ROOM,
    ReasonCode.KEEP_ALIVE_OVER,
    ReasonCode.ASKED_TO_UNLOAD,
    ReasonCode.OVER_BUDGET,
    ReasonCode.CHANGE_FORM,
    ReasonCode.UNDER_DECLARED,
    ReasonCode.LEAK,
    ReasonCode.BATCH_HALVED,
    ReasonCode.POOL_NEARLY_FULL,
    ReasonCode.THRASHING,
}
WITH_FIGURES = {
    ReasonCode.DEADLINE_PASSED,
    ReasonCode.DEADLINE_UNREACHABLE,
    ReasonCode.WAITS_FOR_MEMORY,
    ReasonCode.WAITS_FOR_LOAD,
}

SWAPPED = """\
request 2: infer b, priority 50, no deadline, came 1.00 s after the start
+0.0 ms  comes; b was not in memory, and had not been before
+0.0 ms  looks for room
short by 200.0 MiB of unified; weighed:
a goes: frees 600.0 MiB of unified, back in 300.0 ms, wanted again in 1.70 s, deadlines missed 0, \
loss 1.42
+0.0 ms  a has to go: room for b, request 2 (priority 50)
+0.0 ms  place 1 of 1 in line, waits for memory: the memory it needs is being freed
+10.0 ms  a is out of memory, after 10.0 ms
+10.0 ms  b begins to load
+10.0 ms  place 1 of 1 in line, waits for its load: its engine is being loaded
+310.0 ms  b is loaded, after 300.0 ms
+310.0 ms  runs on b, lease 2
+315.0 ms  its lease ends
+315.0 ms  ends: completed
in all 315.0 ms; waited 300.0 ms for its load, 10.0 ms for memory; had its lease for 5.0 ms
what would have had to be different:
- it was short by 200.0 MiB of unified: with a budget of 1.17 GiB instead of 1000.0 MiB nobody \
would have had to make room at that moment
- its load took 300.0 ms: b pinned, or never asked to make room, would have spared it"""


def two(robot):
    robot.model("a", 600)
    robot.model("b", 600)
    return robot.ask(0, "a"), robot.ask(1000, "b")


def test_a_swap_from_beginning_to_end(robot):
    _, asked = two(robot)
    robot.run(3000)
    assert robot.told(asked) == SWAPPED


def test_what_ran_at_once_needs_nothing_different(robot):
    robot.model("a", 600)
    robot.ask(0, "a")
    asked = robot.ask(500, "a")
    robot.run(1000)
    told = robot.told(asked)
    assert "+0.0 ms  comes; a was in memory, since 200.0 ms" in told
    assert told.endswith("in all 5.0 ms; had its lease for 5.0 ms")


def test_the_budget_that_is_named_would_have_been_enough(make_robot):
    """Decided again with as much as the story asks for, nobody goes; with a byte less, somebody."""
    robot = make_robot()
    _, asked = two(robot)
    robot.run(3000)
    story = robot.story(asked)
    enough = story.budgets["unified"] + story.weighing.deficits["unified"]
    for budget, unloads in ((enough, 0), (enough - 1, 1)):
        other = make_robot(budget=budget)
        two(other)
        other.run(3000)
        assert other.unloads == unloads


def test_a_deadline_that_the_load_cannot_meet_is_answered_with_figures(robot):
    robot.model("b", 600, keep_alive_ns=100_000_000)
    for at_ms in (0, 1000, 2000):
        robot.ask(at_ms, "b", deadline_ns=60_000_000_000)
    late = robot.ask(2_700, "b", deadline_ns=2_733_000_000)
    robot.run(4000)
    story = robot.story(late)
    assert story.life.reason.code is ReasonCode.DEADLINE_UNREACHABLE
    assert (
        "b needs 300.0 ms to load and 5.0 ms to run (as the last time), the deadline was 33.0 ms: "
        "pin it, or a deadline of at least 305.0 ms"
    ) in robot.told(late)
    assert "b was not in memory: gone" in robot.told(late)
    assert "(b was not used)" in robot.told(late)


def test_a_load_alone_that_would_be_in_time_is_told_with_its_run(robot):
    robot.model("b", 600, keep_alive_ns=100_000_000)
    for at_ms in (0, 1000, 2000):
        robot.ask(at_ms, "b", deadline_ns=60_000_000_000)
    late = robot.ask(2_700, "b", deadline_ns=3_002_000_000)
    robot.run(4000)
    assert "pin it, or a deadline of at least 305.0 ms" in robot.told(late)


def test_a_load_after_the_keep_alive_names_the_keep_alive(robot):
    robot.model("b", 600, keep_alive_ns=100_000_000)
    robot.ask(0, "b")
    asked = robot.ask(1000, "b")
    robot.run(2000)
    assert "a longer `keep_alive` of b, or a pin, would have spared it" in robot.told(asked)


def test_a_run_longer_than_the_deadline_is_said(robot):
    robot.model("b", 600, run_ms=80)
    robot.ask(0, "b")
    late = robot.ask(1000, "b", deadline_ns=1_050_000_000)
    robot.run(2000)
    story = robot.story(late)
    assert story.life.outcome is Outcome.DEADLINE_MISSED
    assert "its last run took 80.0 ms, the deadline was 50.0 ms" in robot.told(late)


def test_a_place_in_line_is_told_as_it_changes(robot):
    robot.model("a", 600, run_ms=100)
    for at_ms in (0, 400, 410):
        robot.ask(at_ms, "a")
    last = robot.ask(420, "a")
    robot.run(2000)
    told = robot.told(last)
    assert "+0.0 ms  place 2 of 2 in line, waits for its turn" in told
    assert "place 1 of 1 in line, waits for its engine" in told
    assert robot.story(last).spent_ns == {
        ReasonCode.WAITS_FOR_TURN: 80_000_000,
        ReasonCode.WAITS_FOR_ENGINE: 100_000_000,
    }


def test_who_comes_behind_is_no_news(robot):
    robot.model("a", 600, run_ms=100)
    robot.ask(0, "a")
    asked = robot.ask(310, "a")
    robot.ask(320, "a")
    robot.run(2000)
    assert robot.told(asked).count("in line") == 1


def test_late_news_of_an_older_instance_moves_nobody():
    residence = Residence()
    spec = ModelSpec(name="a", footprint={})
    steps = [
        (ModelRegistered(spec), ()),
        (TimerFired(), (LoadEngine("a", 1),)),
        (EngineLost("a", 1, "gone"), ()),
        (TimerFired(), (LoadEngine("a", 2),)),
        (EngineLoaded("a", 1), ()),
    ]
    for number, (event, decisions) in enumerate(steps):
        residence.take(Record(number + 1, number * 1_000_000, event, decisions, {}))
    assert residence.stays["a"].described(5_000_000) == "a was being loaded, since 2.0 ms"


def test_what_it_waited_for_adds_up_to_its_wait(recorded):
    header, records = recorded()
    for request_id in range(1, 200, 7):
        story = read_story(header, records, request_id)
        until_ns = story.life.granted_ns or story.life.ended_ns
        assert sum(story.spent_ns.values()) == until_ns - story.life.arrived_ns


def test_a_newer_frame_is_no_fault(robot):
    robot.model("a", 600, run_ms=500, queue_keep=QueueKeep.LATEST)
    robot.ask(0, "a", stream="camera")
    older = robot.ask(310, "a", stream="camera")
    robot.ask(320, "a", stream="camera")
    robot.run(2000)
    assert "- nothing is wrong: `queue.keep: latest` prefers the newer frame" in robot.told(older)


def test_a_caller_who_gave_up_is_told(robot):
    robot.model("a", 600, run_ms=500)
    robot.ask(0, "a")
    asked = robot.ask(310, "a")
    robot.tell(400, RequestCancelled(asked))
    robot.run(2000)
    told = robot.told(asked)
    assert "+90.0 ms  its caller no longer wants it" in told
    assert "+90.0 ms  ends: cancelled" in told


def test_a_load_that_fails_is_told(robot):
    robot.model("a", 600)
    asked = robot.ask(0, "a")
    robot.tell(100, EngineLoadFailed("a", 1, "no such file"))
    robot.run(200)
    told = robot.told(asked)
    assert "+100.0 ms  a could not be loaded: no such file" in told
    assert "- what the error of the load says, mended" in told


def test_a_request_that_had_not_ended_is_told_until_the_trace_ends(robot):
    _, asked = two(robot)
    robot.run(1100)
    assert "not ended when the trace ends, 10.0 ms later" in robot.told(asked)


def test_a_request_that_never_came_names_the_nearest(recorded):
    header, records = recorded(seconds=1)
    with pytest.raises(UnknownRequestError, match=r"no request 100000 arrives.*nearest are"):
        read_story(header, records, 100_000)
    with pytest.raises(UnknownRequestError, match="no requests at all"):
        read_story(header, records[:2], 1)


def test_the_nearest_are_kept_whatever_comes():
    nearest = Nearest(50)
    for number in [*range(100, 55, -1), *range(40), 47]:
        nearest.add(number)
    assert nearest.ids() == [47, 56, 57, 58, 59]


def test_a_dump_of_the_flight_recorder_is_told_from_its_lines(robot):
    _, asked = two(robot)
    recorder = FlightRecorder(robot.header, limit=6)
    robot.run(3000)
    for record in robot.kept.records:
        recorder.observe(record)
    story = read_story(robot.header, recorder.records(), asked)
    assert story.note.endswith("are missing")
    assert story.spent_ns == {}
    assert story.weighing is None
    assert story.life.outcome is Outcome.COMPLETED
    assert story.life.granted_ns is not None


def test_a_run_that_this_version_decides_otherwise_is_told_from_its_lines(robot):
    _, asked = two(robot)
    robot.run(3000)
    records = robot.kept.records
    records[3] = structs.replace(records[3], decisions=())
    story = read_story(robot.header, records, asked)
    assert story.note == "this Rota decides otherwise at record 4"
    assert story.spent_ns == {}
    assert story.life.outcome is Outcome.COMPLETED
    unknown = replace(robot.header, settings=replace(robot.settings, policy="astrology"))
    assert "astrology" in read_story(unknown, records, asked).note


def test_every_code_has_words_and_advice():
    assert set(FOR) == WAITED
    assert set(ADVICE) == set(ReasonCode) - OF_ENGINES - WITH_FIGURES


def test_a_long_story_keeps_its_beginning_and_its_end():
    moments = Moments()
    for index in range(FIRST + LAST + 30):
        moments.add(index, "x")
    assert [m.at_ns for m in moments.first] == list(range(FIRST))
    assert [m.at_ns for m in moments.last] == list(range(FIRST + 30, FIRST + LAST + 30))
    assert moments.left_out == 30


def test_a_batch_that_is_tried_again_is_told(robot):
    robot.model("a", 100, run_ms=50, batch_max=4)
    first, second, third = robot.ask(0, "a"), robot.ask(310, "a"), robot.ask(311, "a")
    robot.tell(360, LeaseEnded(2, Outcome.FAILED, "no room", out_of_memory=True))
    robot.run(1000)
    assert robot.story(first).life.outcome is Outcome.COMPLETED
    told = robot.told(second)
    assert "its lease ends: no room" in told
    assert "waits again, for a run of fewer\n+50.0 ms  runs on a, lease 3" in told
    assert robot.told(third).count("runs on a") == 2


def test_a_switch_of_modes_is_part_of_the_story(robot):
    robot.model("a", 100)
    robot.model("b", 100)
    quiet = Mode(name="quiet", priority={"a": 7}, disable=("b",))
    waits, refused, later = robot.ask(0, "b"), robot.ask(200, "b"), robot.ask(300, "a")
    robot.tell(100, ModeChanged(quiet))
    robot.tell(250, ModeChanged(Mode(name="impossible", pin=("nobody",))))
    robot.run(2000)
    told = robot.told(waits)
    assert "+100.0 ms  mode quiet is in force now" in told
    assert "ends: rejected, b is disabled in mode quiet" in told
    assert told.endswith("- a mode in which its model is enabled")
    assert "a mode in which its model is enabled" in robot.told(refused)
    assert "infer a, priority 7, no deadline" in robot.told(later)


def test_the_form_that_an_engine_takes_is_told(robot):
    robot.model("a", 600)
    small = Form(footprint={"unified": PoolFootprint(resident_bytes=300 * 2**20)}, variant="int8")
    robot.model("b", 600, variant="fp16", alternatives=(small,))
    robot.ask(0, "a")
    asked, again = robot.ask(1000, "b"), robot.ask(2000, "b")
    robot.run(3000)
    assert "b begins to load as int8" in robot.told(asked)
    assert "comes; b was in memory as int8, since" in robot.told(again)


def test_a_short_run_in_turn_is_told_with_its_place(robot):
    robot.model("a", 100, run_ms=0)
    for at_ms in (0, 310, 320, 330, 340):
        robot.ask(at_ms, "a")
    first, second, third = (robot.ask(400, "a") for _ in range(3))
    robot.run(1000)
    assert "number 1 of 2 short runs in turn" in robot.told(second)
    assert "number 2 of 2 short runs in turn" in robot.told(third)
    assert "in turn" not in robot.told(first)


def test_a_run_that_follows_another_one_is_told_from_when_it_begins(robot):
    robot.model("a", 100, run_ms=2)
    for at_ms in (0, 310, 320, 330, 340):
        robot.ask(at_ms, "a")
    _, following = (robot.ask(400, "a") for _ in range(2))
    robot.run(1000)
    told = robot.told(following)
    assert "is to run on a after lease 6, lease 7" in told
    assert "+2.0 ms  runs, as lease 6 has ended" in told
