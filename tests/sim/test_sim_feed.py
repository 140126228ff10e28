from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from scheduler.config.source import Arrivals
from scheduler.core.events import RequestArrived
from scheduler.core.outcome import Outcome
from scheduler.core.request import NO_DEADLINE_NS
from scheduler.runtime.clock import ManualClock
from scheduler.sim.feed import READ_NS, Feed, Plainly
from scheduler.sim.simulator import Client, Simulator
from scheduler.source.arrivals import Schedule
from scheduler.source.feeder import Feeder
from scheduler.source.synthetic import SyntheticSource
from scheduler.trace.record import Record

MS_NS = 1_000_000


class Slow:
    """Answers each frame after its own while; `asked` says when each was asked for."""

    def __init__(self, simulator: Simulator, takes_ns: Callable[[int], int]) -> None:
        self.asked: list[tuple[int, int | None]] = []
        self._simulator = simulator
        self._takes_ns = takes_ns

    def ask(self, deadline_ns: int | None, client: Client) -> None:
        now_ns = self._simulator.now_ns
        takes_ns = self._takes_ns(len(self.asked))
        self.asked.append((now_ns, deadline_ns))
        self._simulator.at(now_ns + takes_ns, client.finished, Outcome.COMPLETED)


def test_at_most_so_many_wait_and_the_newest_takes_the_place_of_the_older(
    simulator: Simulator,
) -> None:
    slow = Slow(simulator, lambda _: 100)
    feed = Feed(simulator, slow, iter([0, 10, 20, 30, 40]), deadline_ns=1000, outstanding=2)
    feed.start()
    simulator.run(1000)
    # 20 and 30 are replaced while 0 and 10 are out; 40 is sent when 0 is answered.
    assert slow.asked == [(0, 1000), (10, 1010), (100, 1040)]
    assert (feed.sent, feed.dropped) == (3, 2)


def test_the_held_frame_goes_before_one_that_comes_with_the_answer(simulator: Simulator) -> None:
    slow = Slow(simulator, lambda _: 100)
    feed = Feed(simulator, slow, iter([0, 10, 100]), deadline_ns=1000, outstanding=1)
    feed.start()
    simulator.run(1000)
    assert slow.asked == [(0, 1000), (100, 1010), (200, 1100)]
    assert feed.dropped == 0


def test_a_held_frame_whose_time_has_passed_is_dropped(simulator: Simulator) -> None:
    slow = Slow(simulator, lambda _: 100)
    feed = Feed(simulator, slow, iter([0, 10]), deadline_ns=90, outstanding=1)
    feed.start()
    simulator.run(1000)
    assert slow.asked == [(0, 90)]
    assert (feed.sent, feed.dropped) == (1, 1)


@pytest.mark.parametrize("deadline_ns", [None, NO_DEADLINE_NS])
def test_the_model_s_deadline_and_none_at_all_are_passed_on(
    simulator: Simulator, deadline_ns: int | None
) -> None:
    slow = Slow(simulator, lambda _: 10)
    Feed(simulator, slow, iter([5]), deadline_ns=deadline_ns).start()
    simulator.run(1000)
    assert slow.asked == [(5, deadline_ns)]


def test_a_recording_that_is_not_paced_goes_as_fast_as_it_is_answered(
    simulator: Simulator,
) -> None:
    slow = Slow(simulator, lambda _: 10 * MS_NS)
    feed = Feed(simulator, slow, repeat(0, 5), paced=False, outstanding=2)
    feed.start()
    simulator.run(1000 * MS_NS)
    asked_ms = [asked_ns // MS_NS for asked_ns, _ in slow.asked]
    assert asked_ms == [1, 2, 12, 13, 23]
    assert READ_NS == MS_NS
    assert (feed.sent, feed.dropped) == (5, 0)


def test_frames_refused_at_once_do_not_stop_time(simulator: Simulator) -> None:
    slow = Slow(simulator, lambda _: 0)
    feed = Feed(simulator, slow, repeat(0), paced=False)
    feed.start()
    simulator.run(50 * MS_NS)
    assert 40 <= feed.sent <= 50


def test_a_request_says_where_it_comes_from(simulator: Simulator, records: list[Record]) -> None:
    asking = Plainly(simulator, "a", stream="camera", priority=70)
    Feed(simulator, asking, iter([3]), deadline_ns=500).start()
    simulator.run(10)
    event = records[-1].event
    assert isinstance(event, RequestArrived)
    request = event.request
    assert (request.models, request.stream, request.priority) == (("a",), "camera", 70)
    assert request.deadline_ns == 503


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


@pytest.mark.parametrize("arrivals", list(Arrivals))
@pytest.mark.parametrize("deadline_ns", [None, 150 * MS_NS])
@pytest.mark.parametrize("outstanding", [1, 4])
async def test_a_feed_sends_and_drops_what_the_real_feeder_does(
    simulator: Simulator, arrivals: Arrivals, deadline_ns: int | None, outstanding: int
) -> None:
    schedule = Schedule(30.0, arrivals, jitter_ns=3 * MS_NS, seed=5)

    def takes_ns(index: int) -> int:
        return (17 + 61 * index % 290) * MS_NS + index

    real, sent_real = await _feed_really(schedule, takes_ns, deadline_ns, outstanding)
    slow = Slow(simulator, takes_ns)
    feed = Feed(
        simulator, slow, schedule.due_times(), deadline_ns=deadline_ns, outstanding=outstanding
    )
    feed.start()
    simulator.run(END_NS)
    assert [asked_ns for asked_ns, _ in slow.asked] == sent_real
    assert (feed.sent, feed.dropped) == (real.sent, real.dropped)
    assert feed.dropped > 0


END_NS = 3000 * MS_NS + 1


async def _all_have_acted() -> None:
    """A frame passes few tasks: this many turns of each are plenty."""
    for _ in range(12):
        await checkpoint()


async def _feed_really(
    schedule: Schedule, takes_ns: Callable[[int], int], deadline_ns: int | None, outstanding: int
) -> tuple[Any, list[int]]:
    """The real feeder until `END_NS`: its counts then, and when it asked."""
    clock = ManualClock()
    sent_at: list[int] = []

    async def infer(_model: str, _payload: Any, **_rest: Any) -> None:
        sent_at.append(clock.now_ns())
        await clock.sleep_until(clock.now_ns() + takes_ns(len(sent_at) - 1))

    feeder = Feeder(
        "camera",
        "a",
        SyntheticSource(),
        infer=infer,
        clock=clock,
        schedule=schedule,
        deadline_ns=deadline_ns,
        outstanding=outstanding,
    )
    async with anyio.create_task_group() as running:
        running.start_soon(feeder.run)
        await _all_have_acted()
        while (next_ns := clock.next_sleeper_ns) is not None and next_ns < END_NS:
            clock.advance(next_ns - clock.now_ns())
            await _all_have_acted()
        stats = feeder.stats
        running.cancel_scope.cancel()
    return stats, list(sent_at)
