"""What can be seen from outside."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from scheduler.core.engine import Engine, EngineState
from scheduler.core.events import DrainRequested, MemorySampled
from scheduler.core.lease import Lease
from scheduler.core.model import ModelSpec, PoolFootprint
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.settings import Trust


def test_a_snapshot_shows_pools_engines_leases_units_and_who_waits_for_what(make_world):
    world = make_world(resources={"gpu": 2})
    world.model("a", 300, workspace=50, uses={"gpu": 1}, batch_max=2)
    world.model("b", 750, priority=60)
    world.ask("a")
    world.ask("a")
    world.loaded("a")
    world.ask("b", deadline=500)
    world.ask("b")
    world.tell(MemorySampled("unified", 5000, 321))
    seen = world.scheduler.snapshot()
    (pool,) = seen.pools
    assert (pool.budget_bytes, pool.reserved_bytes, pool.high_water_bytes) == (1000, 350, 350)
    assert (pool.available_bytes, pool.used_bytes, pool.overhead_bytes) == (5000, 321, 0)
    a, b = seen.engines
    assert (a.state, a.instance, a.running, a.held_by, a.waiting) == ("ready", 1, (1, 2), None, 0)
    assert (b.state, b.reserved_bytes, b.waiting, b.condemned) == ("unloaded", {}, 2, None)
    (lease,) = seen.leases
    assert (lease.models, lease.request_ids, lease.holds) == (("a",), (1, 2), False)
    assert [w.request_id for w in seen.waiting] == [3, 4]
    assert str(seen.waiting[0].waits_for) == "a makes room for b, request 3"
    assert str(seen.waiting[1].waits_for) == "b has others first"
    assert seen.resources_in_use == {"gpu": 1}
    assert seen.draining is False
    assert (a.variant, a.device, a.loads_ahead, a.ready_again_ns) == ("", "", 0, None)
    world.tell(DrainRequested())
    assert world.scheduler.snapshot().draining is True


def waits(world):
    return [str(wait.waits_for) for wait in world.scheduler.snapshot().waiting]


def test_what_is_waited_for_is_told_in_words(world):
    world.model("a", 600)
    world.model("b", 600)
    world.ask("a")
    assert waits(world) == ["a is loading"]
    world.loaded("a")
    world.ended()
    world.unload("a")
    world.ask("b")
    assert waits(world)[1:] == ["the memory it needs is being freed"]


def test_whose_memory_others_have_is_told_how_it_comes_back(world):
    world.model("a", 400, workspace=400, pinned=True, max_wait_ns=1_000_000)
    world.loaded("a")
    world.ask("a")
    world.model("b", 300, max_wait_ns=1_000_000)
    world.ask("b")
    assert waits(world) == ["the memory it needs is being freed"]
    world.at(5)
    assert waits(world) == ["running work gives back what it needs"]
    assert world.waits_for(2) == "waits_for_memory"


def test_only_one_makes_room_and_who_comes_after_it_is_told_so(world):
    for name in ("a", "b", "c"):
        world.model(name, 600)
    world.ask("a")
    world.loaded("a")
    world.ask("b", deadline=9_000)
    world.ask("c", deadline=10_000)
    assert waits(world) == ["a makes room for b, request 2", "somebody before it is making room"]


def test_who_shares_a_group_with_what_others_need_is_told_so(world):
    world.model("a", 100, exclusive=["g"])
    world.model("b", 100, exclusive=["g"])
    world.bring("a")
    world.ask("a")
    world.ask("a")
    world.ask("b")
    assert waits(world)[1] == "a of its group is needed"


def test_a_snapshot_is_frozen_and_does_not_follow_what_happens_later(world):
    world.model("a")
    world.ask("a")
    before = world.scheduler.snapshot()
    world.loaded("a")
    assert before.engines[0].state is EngineState.LOADING
    assert pickle.loads(pickle.dumps(before)) == before  # noqa: S301 - our own bytes
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.draining = True


def test_a_held_engine_shows_its_lease_and_a_revoked_lease_its_reason(world):
    world.model("a")
    world.hold("a", ttl=10)
    world.loaded("a")
    assert world.scheduler.snapshot().engines[0].held_by == 1
    assert world.scheduler.snapshot().leases[0].expires_ns == 10_000_000
    world.at(10)
    assert world.scheduler.snapshot().leases[0].revoking.code is ReasonCode.LEASE_EXPIRED


def test_engines_and_leases_print_in_a_way_a_person_can_read():
    spec = ModelSpec(name="a", footprint={"x": PoolFootprint(resident_bytes=1)})
    engine = Engine(spec, Trust.MAX)
    lease = Lease(7, (engine, engine), [], holds=True, priority=1, granted_ns=0)
    assert repr(engine) == "<a#0 unloaded>"
    assert repr(lease) == "<lease 7 on a,a>"
    lease.revoking = Reason(ReasonCode.LEASE_REVOKED)
    assert repr(lease) == "<lease 7 on a,a revoking>"


def test_an_engine_cannot_skip_a_state():
    engine = Engine(ModelSpec(name="a", footprint={}), Trust.MAX)
    with pytest.raises(AssertionError, match="cannot become ready"):
        engine.enter(EngineState.READY, 0)
