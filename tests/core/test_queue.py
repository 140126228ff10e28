"""Who waits, in which order, and who is refused at the door."""

from __future__ import annotations

import pytest

from scheduler.core.events import LeaseEnded
from scheduler.core.model import QueueKeep
from scheduler.core.outcome import Outcome
from scheduler.core.request import RequestKind


def test_the_order_is_priority_then_deadline_then_arrival(world):
    world.model("a")
    world.ask("a")  # 1 runs first: nobody else was there
    world.loaded("a")
    world.ask("a", priority=50)  # 2
    world.ask("a", priority=50, deadline=9000)  # 3
    world.ask("a", priority=50, deadline=5000)  # 4
    world.ask("a", priority=60)  # 5
    world.ask("a", priority=50)  # 6
    assert [w.request_id for w in world.scheduler.snapshot().waiting] == [5, 4, 3, 2, 6]
    world.quiesce()
    served = sorted(world.outcomes, key=list(world.outcomes).index)
    assert served == [1, 5, 4, 3, 2, 6]


def test_a_burst_is_counted_exactly(world):
    world.model("a", queue_limit=4)
    world.bring("a")
    for _ in range(10):
        world.ask("a")
    assert world.count("run a") == 1
    assert len(world.scheduler.snapshot().waiting) == 4
    full = [i for i in range(2, 12) if world.outcome(i) == "rejected: queue_full"]
    assert full == [7, 8, 9, 10, 11]
    world.ended()
    assert world.ask("a") == []
    assert world.ask("a") == ["finish 13 rejected: queue_full"]
    world.quiesce()
    world.check_rest("a")


def test_payloads_that_wait_are_bounded_by_bytes_whatever_their_number(make_world):
    world = make_world(100, queue_bytes=50, queue_pool="unified")
    world.model("a", 50, queue_limit=1000)
    assert world.reserved == 50
    for _ in range(10):
        world.ask("a", payload_bytes=5)
    assert world.ask("a", payload_bytes=5) == ["finish 11 rejected: queue_bytes"]
    world.loaded("a")  # one of them runs: it does not wait any more
    assert world.ask("a", payload_bytes=5) == []
    world.quiesce()
    assert world.reserved == 100
    world.check_rest("a")


def test_the_newest_of_a_stream_replaces_the_one_that_waits_and_leaves_other_streams_alone(world):
    world.model("a", queue_keep=QueueKeep.LATEST)
    world.ask("a", stream="left")
    world.loaded("a")
    world.ask("a", stream="left")
    world.ask("a", stream="right")
    world.load("a")
    assert world.ask("a", stream="left") == ["finish 2 rejected: superseded"]
    world.quiesce()
    assert [world.outcome(i) for i in (1, 3, 4, 5)] == ["completed"] * 4
    world.check_rest("a")


def test_a_newer_one_that_is_refused_itself_replaces_nothing(make_world):
    world = make_world(queue_bytes=50, queue_pool="unified")
    world.model("a", queue_keep=QueueKeep.LATEST)
    world.ask("a", stream="left", payload_bytes=40)
    assert world.ask("a", stream="left", payload_bytes=60) == ["finish 2 rejected: queue_bytes"]
    assert world.outcome(1) == "-"
    # The room of the one it replaces counts as free.
    assert world.ask("a", stream="left", payload_bytes=50) == ["finish 1 rejected: superseded"]


def test_the_newest_takes_the_place_of_the_one_it_replaces_in_a_full_queue(world):
    world.model("a", queue_keep=QueueKeep.LATEST, queue_limit=1)
    world.ask("a", stream="left")
    assert world.ask("a", stream="right") == ["finish 2 rejected: queue_full"]
    assert world.ask("a", stream="left") == ["finish 1 rejected: superseded"]


def test_a_cancelled_request_leaves_the_queue_and_cancelling_again_changes_nothing(world):
    world.model("a")
    world.ask("a")
    world.ask("a")
    assert world.cancel(2) == ["finish 2 cancelled: caller_cancelled"]
    assert world.cancel(2) == []
    assert world.cancel(99) == []
    assert world.loaded("a") == ["run a for 1"]
    world.ended()
    world.check_rest("a")


def test_a_request_that_arrives_at_any_point_of_a_load_is_answered(world):
    world.model("a")
    world.ask("a")
    for ms in (0.5, 1, 9.999999, 10):
        world.at(ms)
        world.ask("a")
    world.loaded("a")
    world.ask("a")
    world.at(10.000001)
    world.ask("a")
    world.quiesce()
    assert [world.outcome(i) for i in range(1, 8)] == ["completed"] * 7
    world.check_rest("a")


def test_a_strange_priority_or_deadline_disturbs_no_order(world):
    world.model("a")
    world.ask("a")
    world.loaded("a")
    world.ask("a")
    assert world.ask("a", deadline=0) == ["finish 3 deadline_missed: deadline_passed"]
    assert world.ask("a", deadline_ns=-5) == ["finish 4 deadline_missed: deadline_passed"]
    world.ask("a", priority=10**30)
    world.ask("a", priority=-(10**30))
    world.ask("a", deadline_ns=10**308)
    world.ask("a")
    assert [w.request_id for w in world.scheduler.snapshot().waiting] == [5, 2, 7, 8, 6]
    world.quiesce()
    world.check_rest("a")


@pytest.mark.parametrize(
    "request_of",
    [
        {"models": ()},
        {"models": ("a", "a"), "kind": RequestKind.HOLD},
        {"models": ("a", "b")},
        {"models": ("a",), "items": 0},
        {"models": ("a",), "kind": RequestKind.LOAD, "items": 2},
        {"models": ("a",), "kind": RequestKind.HOLD, "under_lease": 1},
        {"models": ("a",), "kind": RequestKind.HOLD, "ttl_ns": 0},
    ],
)
def test_a_request_that_means_nothing_is_the_fault_of_the_edge_that_let_it_in(world, request_of):
    world.model("a")
    world.model("b")
    models = request_of.pop("models")
    with pytest.raises(AssertionError, match="not a request"):
        world.ask(*models, **request_of)


def test_the_same_request_cannot_arrive_twice(world):
    world.model("a")
    world.ask("a")
    world.requests = 0
    with pytest.raises(AssertionError, match="twice"):
        world.ask("a")


def test_a_request_for_a_model_nobody_knows_is_refused(world):
    assert world.ask("a") == ["finish 1 rejected: unknown_model"]


def test_an_abandoned_queue_starts_nothing(world):
    world.model("a", deadline_ns=100_000_000)
    for _ in range(20):
        world.ask("a")
    world.loaded("a")
    world.at(200)
    assert world.ended() == []
    assert world.count("run a") == 1
    assert [world.outcome(i) for i in range(1, 21)] == ["deadline_missed: deadline_passed"] * 20
    world.check_rest("a")


def test_what_has_ended_badly_is_said_for_each_request_of_a_batch(world):
    world.model("a", batch_max=3)
    world.bring("a")
    world.ask("a", priority=99)
    for _ in range(3):
        world.ask("a")
    world.ended()
    assert world.ended(2, errors=((3, "bad input"),)) == [
        "finish 4 completed"
        if i == 4
        else f"finish {i} completed"
        if i != 3
        else "finish 3 failed: run_failed"
        for i in (3, 4, 5)
    ]
    assert world.outcomes[3].reason.detail == "bad input"


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED])
def test_an_outcome_that_is_not_completed_holds_for_the_whole_lease(world, outcome):
    world.model("a", batch_max=2)
    world.ask("a")
    world.ask("a")
    world.loaded("a")
    said = world.ended(outcome=outcome, error="it broke")
    assert said == [f"finish {i} {outcome.value}: run_failed" for i in (1, 2)]
    assert str(world.outcomes[1].reason) == "it broke"
    assert world.tell(LeaseEnded(1)) == []
    world.check_rest("a")
