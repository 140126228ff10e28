"""When a lease begins: as it is granted, or when the one before it has ended."""

from __future__ import annotations

from scheduler.core.decisions import EngineRef, GrantLease
from scheduler.core.events import EngineLost, LeaseEnded, TimerFired
from scheduler.trace.beginnings import Beginnings
from scheduler.trace.record import Record


def grant(lease_id, model="a", after=None):
    return GrantLease(lease_id, (EngineRef(model, 1),), (lease_id,), after=after)


def begun(beginnings, event, *decisions):
    return [lease.lease_id for lease in beginnings.of(Record(1, 2, event, decisions, {}))]


def test_a_lease_begins_as_it_is_granted_or_when_the_one_before_it_ends():
    beginnings = Beginnings()
    assert begun(beginnings, TimerFired(), grant(1), grant(2, after=1), grant(3, "b")) == [1, 3]
    assert begun(beginnings, LeaseEnded(3)) == []
    assert begun(beginnings, LeaseEnded(1), grant(4, after=2)) == [2]
    assert begun(beginnings, LeaseEnded(1)) == []
    assert begun(beginnings, LeaseEnded(2)) == [4]


def test_what_was_to_follow_on_an_engine_that_is_lost_never_begins():
    beginnings = Beginnings()
    begun(beginnings, TimerFired(), grant(1), grant(2, after=1), grant(3, "b"), grant(4, "b", 3))
    assert begun(beginnings, EngineLost("a", 1, "killed")) == []
    assert begun(beginnings, LeaseEnded(1)) == []
    assert begun(beginnings, LeaseEnded(3)) == [4]
