from __future__ import annotations

from typing import Any

from scheduler.core.decisions import GrantLease, RevokeLease
from scheduler.core.events import (
    LeaseEnded,
    LeaseRenewed,
    LeaseRevocationAsked,
    RequestArrived,
)
from scheduler.core.outcome import Outcome
from scheduler.core.request import Request, RequestKind
from scheduler.sim.feed import Feed
from scheduler.sim.simulator import Simulator
from scheduler.sim.tenure import Tenure
from scheduler.source.tenure import RETRY_NS
from scheduler.trace.record import Record


def fed(simulator: Simulator, *due_ns: int, **rules: Any) -> tuple[Tenure, Feed]:
    """A tenure of `a` with 50 ns to live, and the feed whose frames go through it."""
    tenure = Tenure(simulator, "a", priority=rules.pop("priority", None), ttl_ns=50)
    feed = Feed(simulator, tenure, iter(due_ns), **rules)
    tenure.start()
    feed.start()
    return tenure, feed


def arrivals(records: list[Record], kind: RequestKind) -> list[int]:
    return [
        record.at_ns
        for record in records
        if isinstance(record.event, RequestArrived) and record.event.request.kind is kind
    ]


def revocations(records: list[Record]) -> list[int]:
    return [r.at_ns for r in records for d in r.decisions if isinstance(d, RevokeLease)]


def test_frames_wait_for_the_lease_and_then_run_under_it(
    simulator: Simulator, records: list[Record]
) -> None:
    _, feed = fed(simulator, 0, 40)
    simulator.run(101)
    asked = [r.event.request for r in records if isinstance(r.event, RequestArrived)]
    assert [(q.kind, q.under_lease) for q in asked] == [
        (RequestKind.HOLD, None),
        (RequestKind.INFER, 1),
        (RequestKind.INFER, 1),
    ]
    assert arrivals(records, RequestKind.INFER) == [100, 100]
    assert (feed.sent, feed.dropped) == (2, 0)


def test_a_frame_whose_deadline_passes_before_the_lease_comes_is_never_asked(
    simulator: Simulator, records: list[Record]
) -> None:
    fed(simulator, 0, 40, 110, deadline_ns=70)
    simulator.run(120)
    assert arrivals(records, RequestKind.INFER) == [100, 110]


def test_each_frame_renews_the_lease(simulator: Simulator, records: list[Record]) -> None:
    fed(simulator, *range(100, 1000, 40))
    simulator.run(1000)
    assert revocations(records) == []
    assert len([r for r in records if isinstance(r.event, LeaseRenewed)]) == 23


def test_a_lease_that_is_not_renewed_runs_out_and_goes_back_at_once(
    simulator: Simulator, records: list[Record]
) -> None:
    fed(simulator, 110)
    simulator.run(1000)
    assert revocations(records) == [160]
    assert [r.at_ns for r in records if isinstance(r.event, LeaseEnded)] == [130, 160]


def test_the_frame_that_finds_its_lease_gone_is_lost_and_the_next_one_has_another(
    simulator: Simulator, records: list[Record]
) -> None:
    _, feed = fed(simulator, 110, 400, 410)
    simulator.run(600)
    assert arrivals(records, RequestKind.INFER) == [110, 410]
    assert arrivals(records, RequestKind.HOLD) == [0, 400]
    assert feed.sent == 3


def test_a_revoked_lease_goes_back_when_what_runs_under_it_has_stopped(
    simulator: Simulator, records: list[Record], caller: Any
) -> None:
    fed(simulator, 110, priority=10)
    rival = Request(id=99, models=("b",), priority=90)
    simulator.at(115, lambda _: simulator.ask(rival, caller))
    simulator.run(1000)
    assert revocations(records)[0] == 115
    assert [r.at_ns for r in records if isinstance(r.event, LeaseEnded)][:2] == [130, 130]
    assert caller.outcomes == [Outcome.COMPLETED]


def test_a_lease_lost_with_a_frame_still_waiting_under_it_is_asked_for_again_at_once(
    simulator: Simulator, records: list[Record], caller: Any
) -> None:
    _, feed = fed(simulator, 110, 111, priority=10)
    rival = Request(id=99, models=("b",), priority=90)
    simulator.at(115, lambda _: simulator.ask(rival, caller))
    simulator.run(2000)
    assert arrivals(records, RequestKind.HOLD) == [0, 130]
    granted = [d for r in records for d in r.decisions if isinstance(d, GrantLease) and d.holds]
    assert len(granted) == 2
    assert simulator.open_requests == 0
    assert feed.sent == 2


def test_a_refused_lease_is_asked_for_again_after_a_second(
    simulator: Simulator, records: list[Record]
) -> None:
    tenure = Tenure(simulator, "unknown", priority=None, ttl_ns=50)
    tenure.start()
    simulator.run(2 * RETRY_NS + 1)
    assert arrivals(records, RequestKind.HOLD) == [0, RETRY_NS, 2 * RETRY_NS]


def test_a_frame_at_the_very_end_of_the_lease_is_refused_and_the_lease_asked_for_again(
    simulator: Simulator, records: list[Record]
) -> None:
    fed(simulator, 110, 160, 200)
    simulator.run(230)
    assert arrivals(records, RequestKind.HOLD) == [0, 160]
    assert arrivals(records, RequestKind.INFER) == [110, 160, 200]


def test_frames_that_wait_for_a_lease_which_is_gone_as_it_comes_have_the_next_one(
    simulator: Simulator, records: list[Record]
) -> None:
    fed(simulator, 0, 40)
    simulator.at(100, simulator.tell, LeaseRevocationAsked(1))
    simulator.run(200)
    assert arrivals(records, RequestKind.HOLD) == [0, 100]
    assert arrivals(records, RequestKind.INFER) == [100, 100]
