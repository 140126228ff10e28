"""A feeder under a manual clock: what is sent when, and what becomes of it."""

import math
from itertools import islice, pairwise

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.request import NO_DEADLINE_NS
from scheduler.errors import (
    BadInput,
    DeadlineMissed,
    InferenceFailed,
    LeaseRevoked,
    QueueFull,
    ShuttingDown,
    UnknownModel,
)
from scheduler.runtime.clock import ManualClock
from scheduler.source.arrivals import Arrivals, Schedule
from scheduler.source.feeder import Feeder, FeederStats
from scheduler.source.source import Frame, Source, SourceError

MS = 1_000_000
S = 1_000_000_000


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


class Frames(Source):
    """Yields what it was given; `reading_ns` of the clock's time pass while it reads a frame."""

    def __init__(self, frames, *, clock=None, reading_ns=0):
        self.frames = iter(frames)
        self.clock, self.reading_ns = clock, reading_ns
        self.closed = 0

    async def next_frame(self):
        if self.reading_ns:
            await self.clock.sleep_until(self.clock.now_ns() + self.reading_ns)
        frame = next(self.frames, None)
        if isinstance(frame, Exception):
            raise frame
        return frame

    def marked(self, payload):
        return ("after a gap", payload)

    async def aclose(self):
        self.closed += 1


class Live(Source):
    live = True

    def __init__(self):
        self.send, self.receive = anyio.create_memory_object_stream(10)

    async def next_frame(self):
        return await self.receive.receive()

    async def aclose(self):
        self.send.close()
        self.receive.close()


class Model:
    """Answers when told to, or at once; remembers what it was asked and when."""

    def __init__(self, clock, *, at_once=True):
        self.clock, self.at_once = clock, at_once
        self.asked = []
        self.waiting = []
        self.errors = {}

    async def infer(self, model, payload, /, *, deadline, priority, stream):
        self.asked.append((self.clock.now_ns(), payload))
        self.last = {"model": model, "deadline": deadline, "priority": priority, "stream": stream}
        if not self.at_once:
            answered = anyio.Event()
            self.waiting.append(answered)
            await answered.wait()
        if payload in self.errors:
            raise self.errors[payload]
        return f"answer to {payload}"

    @property
    def payloads(self):
        return [payload for _, payload in self.asked]


def numbered(count, step_ns=None):
    return [Frame(n, None if step_ns is None else n * step_ns) for n in range(count)]


class Bench:
    def __init__(self, frames=(), *, at_once=True, reading_ns=0, source=None, **options):
        self.clock = ManualClock(5 * S)
        self.model = Model(self.clock, at_once=at_once)
        self.source = source or Frames(frames, clock=self.clock, reading_ns=reading_ns)
        self.answers = []
        self.feeder = Feeder(
            "camera", "faces", self.source, infer=self.model.infer, clock=self.clock, **options
        )
        self.feeder.listeners.append(self.answers.append)
        self.ended = anyio.Event()
        self.feeder.at_end.append(self.ended.set)

    async def advance(self, by_ns):
        """Move the time on from one wake-up to the next, as a real clock does."""
        await wait_all_tasks_blocked()
        end_ns = self.clock.now_ns() + by_ns
        while (wake_ns := self.clock.next_sleeper_ns) is not None and wake_ns <= end_ns:
            self.clock.advance(wake_ns - self.clock.now_ns())
            await wait_all_tasks_blocked()
        self.clock.advance(end_ns - self.clock.now_ns())
        await wait_all_tasks_blocked()

    async def answer(self):
        self.model.waiting.pop(0).set()
        await wait_all_tasks_blocked()

    def times(self):
        return [at - 5 * S for at, _ in self.model.asked]


async def test_frames_are_sent_at_the_rate_and_answers_are_told():
    bench = Bench(numbered(100), schedule=Schedule(10), priority=7)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(250 * MS)
        assert bench.times() == [0, 100 * MS, 200 * MS]
        assert bench.model.last == {
            "model": "faces",
            "deadline": None,
            "priority": 7,
            "stream": "camera",
        }
        assert [answer.result for answer in bench.answers] == [f"answer to {n}" for n in range(3)]
        assert bench.feeder.stats == FeederStats(sent=3, completed=3)
        group.cancel_scope.cancel()
    assert bench.source.closed == 1


async def test_a_recording_goes_by_its_own_times():
    bench = Bench([Frame("a", 0), Frame("b", 40 * MS), Frame("c", 300 * MS)])
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(S)
    assert bench.times() == [0, 40 * MS, 300 * MS]
    assert bench.ended.is_set()
    assert bench.feeder.stopped_by is None


async def test_it_does_not_wait_for_answers():
    bench = Bench(numbered(100), at_once=False, schedule=Schedule(10))
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(300 * MS)
        assert bench.times() == [0, 100 * MS, 200 * MS, 300 * MS]
        group.cancel_scope.cancel()


async def test_beyond_the_outstanding_the_newest_frame_waits_and_older_ones_are_dropped():
    bench = Bench(numbered(8), at_once=False, schedule=Schedule(10), outstanding=2)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(500 * MS)
        assert bench.model.payloads == [0, 1]
        assert bench.feeder.stats == FeederStats(sent=2, dropped=3)
        await bench.answer()
        assert bench.model.payloads == [0, 1, ("after a gap", 5)]
        dropped = [answer.sequence for answer in bench.answers if answer.outcome is None]
        assert dropped == [2, 3, 4]
        assert bench.feeder.stats == FeederStats(sent=3, completed=1, dropped=3)
        group.cancel_scope.cancel()


async def test_latency_and_deadline_count_from_when_the_frame_was_due():
    bench = Bench(
        numbered(4), at_once=False, schedule=Schedule(10), outstanding=1, deadline_ns=250 * MS
    )
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(150 * MS)
        assert bench.model.last["deadline"] == pytest.approx(0.25)
        await bench.answer()
        assert bench.answers[0].latency_ns == 150 * MS
        assert bench.model.last["deadline"] == pytest.approx(0.2)  # was due at 100, sent at 150
        group.cancel_scope.cancel()


async def test_a_frame_whose_deadline_passed_while_it_waited_is_dropped():
    bench = Bench(
        numbered(2), at_once=False, schedule=Schedule(10), outstanding=1, deadline_ns=100 * MS
    )
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(200 * MS)
        await bench.answer()
        assert bench.model.payloads == [0]
        assert bench.feeder.stats == FeederStats(sent=1, completed=1, dropped=1)


async def test_an_explicit_absence_of_a_deadline_is_told_as_infinity():
    bench = Bench(numbered(1), schedule=Schedule(10), deadline_ns=NO_DEADLINE_NS)
    await bench.feeder.run()
    assert bench.model.last["deadline"] == math.inf


@pytest.mark.parametrize(
    ("error", "outcome", "counted"),
    [
        (DeadlineMissed(Reason(ReasonCode.DEADLINE_PASSED)), Outcome.DEADLINE_MISSED, "missed"),
        (QueueFull(Reason(ReasonCode.QUEUE_FULL, "full")), Outcome.REJECTED, "failed"),
        (InferenceFailed(Reason(ReasonCode.RUN_FAILED)), Outcome.FAILED, "failed"),
        (LeaseRevoked(Reason(ReasonCode.HIGHER_PRIORITY)), Outcome.PREEMPTED, "failed"),
        (BadInput("odd"), Outcome.FAILED, "failed"),
        (ZeroDivisionError(), Outcome.FAILED, "failed"),
    ],
)
async def test_one_error_is_counted_and_the_feed_goes_on(error, outcome, counted):
    bench = Bench(numbered(3), schedule=Schedule(10))
    bench.model.errors[1] = error
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(S)
    assert bench.feeder.stats == FeederStats(sent=3, completed=2, **{counted: 1})
    assert [answer.outcome for answer in bench.answers][1] is outcome
    assert bench.answers[1].detail
    assert bench.feeder.stopped_by is None


@pytest.mark.parametrize(
    "error",
    [
        UnknownModel(Reason(ReasonCode.UNKNOWN_MODEL, "no model faces")),
        ShuttingDown(Reason(ReasonCode.SHUTTING_DOWN, "going")),
    ],
)
async def test_an_unknown_model_and_the_end_of_the_runtime_stop_it(error):
    bench = Bench(numbered(50), schedule=Schedule(10))
    bench.model.errors[1] = error
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(150 * MS)
    assert bench.ended.is_set()
    assert bench.model.payloads == [0, 1]
    assert bench.feeder.stopped_by == str(error)


async def test_stop_sends_no_more_and_waits_for_what_is_out():
    bench = Bench(numbered(50), at_once=False, schedule=Schedule(10), outstanding=1)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(150 * MS)
        bench.feeder.stop()
        await bench.advance(S)
        assert not bench.ended.is_set()
        await bench.answer()
    assert bench.ended.is_set()
    assert bench.feeder.stats == FeederStats(sent=1, completed=1, dropped=1)


async def test_a_listener_may_stop_the_feed_when_it_hears_of_a_dropped_frame():
    bench = Bench(numbered(50), at_once=False, schedule=Schedule(10), outstanding=1)
    bench.feeder.listeners.append(lambda _answer: bench.feeder.stop())
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(150 * MS)
        bench.feeder.stop()
        await bench.answer()
    assert bench.feeder.stats == FeederStats(sent=1, completed=1, dropped=1)


async def test_turns_that_pass_while_a_frame_is_read_are_lost_and_the_rest_keep_their_time():
    bench = Bench(numbered(3), reading_ns=350 * MS, schedule=Schedule(10))
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(2 * S)
    assert bench.model.payloads == [0, 1, 2]
    assert bench.times() == [350 * MS, 700 * MS, 1050 * MS]
    assert bench.feeder.stats.dropped == 4


async def test_a_recording_read_more_slowly_than_it_plays_still_gets_every_frame_through():
    bench = Bench(numbered(10, 40 * MS), reading_ns=100 * MS)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(2 * S)
    assert bench.model.payloads == list(range(10))
    assert bench.feeder.stats.dropped == 9 * (100 - 40) // 40
    assert max(answer.latency_ns for answer in bench.answers) < 80 * MS


async def test_poisson_arrivals_close_together_are_not_lost():
    bench = Bench(numbered(40), reading_ns=MS, schedule=Schedule(30, Arrivals.POISSON, seed=1))
    due = list(islice(Schedule(30, Arrivals.POISSON, seed=1).due_times(), 40))
    assert min(after - before for before, after in pairwise(due)) < MS  # there is such a pair
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(20 * S)
    assert bench.feeder.stats.sent == 40
    assert bench.feeder.stats.dropped == 0


async def test_unpaced_it_goes_as_fast_as_the_answers_and_drops_nothing():
    bench = Bench(numbered(7), at_once=False, paced=False, outstanding=2)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await wait_all_tasks_blocked()
        sent = [len(bench.model.asked)]
        while bench.model.waiting:
            await bench.answer()
            sent.append(len(bench.model.asked))
    assert sent == [2, 3, 4, 5, 6, 7, 7, 7]
    assert bench.feeder.stats == FeederStats(sent=7, completed=7)


async def test_live_frames_are_due_when_they_are_there():
    source = Live()
    bench = Bench(source=source)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.feeder.run)
        await bench.advance(70 * MS)
        source.send.send_nowait(Frame("a", 1, gap=True))
        source.send.send_nowait(Frame("b", 2))
        await bench.advance(MS)
        assert bench.times() == [70 * MS, 70 * MS]
        assert bench.model.payloads[1] == "b"
        group.cancel_scope.cancel()


async def test_a_gap_of_the_source_itself_is_told_to_the_model():
    bench = Bench([Frame("a"), Frame("b", gap=True), Frame("c")], paced=False)
    await bench.feeder.run()
    assert bench.model.payloads == ["a", ("after a gap", "b"), "c"]


async def test_a_source_that_fails_stops_the_feed_and_says_why():
    bench = Bench([Frame("a"), SourceError("bikes.mp4 is gone")], schedule=Schedule(10))
    await bench.feeder.run()
    assert bench.feeder.stopped_by == "bikes.mp4 is gone"
    assert bench.feeder.stats.completed == 1
    assert bench.source.closed == 1


async def test_frames_are_asked_in_their_order_however_tasks_start():
    bench = Bench(numbered(40), paced=False, outstanding=40)
    await bench.feeder.run()
    assert bench.model.payloads == list(range(40))


async def test_frames_without_times_need_a_rate():
    bench = Bench(numbered(3))
    await bench.feeder.run()
    assert "give the source a rate" in bench.feeder.stopped_by
