"""Short runs in turn under one lease: who goes along, who does not, and what that costs others."""

from __future__ import annotations

import random

import pytest

from scheduler.core.model import ModelSpec
from scheduler.core.outcome import Outcome
from scheduler.core.train import TRAIN_NS


@pytest.fixture(autouse=True)
def nothing_follows(monkeypatch):
    """Trains alone: nobody is granted the run after the one that is on an engine."""
    for most_ns in ("AHEAD_NS", "UNHURRIED_NS"):
        monkeypatch.setattr(f"scheduler.core.following.{most_ns}", 0)


S = 1_000_000_000
MS = 1_000_000
RUN_MS = 0.1


def ids(first, last):
    return ",".join(str(number) for number in range(first, last + 1))


def run_once(world, model="a", run_ms=RUN_MS):
    """One run of that length, by itself."""
    assert world.ask(model)[0].startswith(f"run {model}")
    world.now += round(run_ms * MS)
    world.ended()


def known(make_world, runs=4, run_ms=RUN_MS, settings=None, **rules):
    """An engine `a` of which so many runs are known."""
    world = make_world(1000, **(settings or {}))
    world.model("a", 100, **rules)
    world.bring("a")
    for _ in range(runs):
        run_once(world, run_ms=run_ms)
    return world


def queue(world, count, **request):
    """One that runs, and `count` who wait for it."""
    world.ask("a")
    first = world.requests + 1
    for _ in range(count):
        world.ask("a", **request)
    return first


def next_run(world):
    """Who runs after the one that runs now."""
    world.now += round(RUN_MS * MS)
    return world.ended()[-1]


def test_as_many_go_in_turn_as_will_be_done_within_the_quantum(make_world):
    world = known(make_world)
    first = queue(world, 12)
    assert next_run(world) == f"run a for {ids(first, first + 9)} in turn"
    world.now += TRAIN_NS
    ends = [f"finish {first + number} completed" for number in range(10)]
    assert world.ended() == [*ends, f"run a for {first + 10},{first + 11} in turn"]
    world.quiesce()
    world.check_rest("a")


def test_of_an_engine_that_is_not_known_one_runs_at_a_time(make_world):
    world = known(make_world, runs=2)  # The third is known when the next is chosen.
    first = queue(world, 4)
    assert next_run(world) == f"run a for {first}"
    assert next_run(world) == f"run a for {ids(first + 1, first + 3)} in turn"


def test_one_hiccup_is_not_held_against_it_but_two_are(make_world):
    world = known(make_world)
    run_once(world, run_ms=50)
    first = queue(world, 3)
    assert next_run(world) == f"run a for {ids(first, first + 2)} in turn"
    world.quiesce()
    run_once(world, run_ms=50)
    first = queue(world, 3)
    assert next_run(world) == f"run a for {first}"


def test_runs_too_long_for_two_in_the_quantum_go_alone(make_world):
    world = known(make_world, run_ms=0.6)
    first = queue(world, 3)
    assert next_run(world) == f"run a for {first}"


def test_what_is_learned_of_a_train_is_the_time_of_one_of_its_runs(make_world):
    """Sixteen trains later no lone run is remembered, and trains are as long as before."""
    world = known(make_world)
    queue(world, 30)
    next_run(world)
    for _ in range(20):
        (lease,) = world.leases.values()
        assert len(lease.request_ids) == 10
        for _ in range(10):
            world.ask("a")
        world.now += TRAIN_NS
        assert world.ended()[-1].endswith("in turn")


@pytest.mark.parametrize(
    ("rules", "settings"),
    [({"batch_max": 8}, {}), ({}, {"policy": "fifo"})],
    ids=["batches", "fifo"],
)
def test_neither_batches_nor_the_policies_to_compare_with_are_trains(make_world, rules, settings):
    world = known(make_world, settings=settings, **rules)
    queue(world, 3)
    assert "in turn" not in next_run(world)


def test_a_train_takes_the_workspace_of_one_run(make_world):
    world = known(make_world, workspace=50, per_item=40)
    queue(world, 5)
    assert "in turn" in next_run(world)
    assert world.reserved == 150


def test_each_has_twice_the_time_of_the_train_until_its_deadline(make_world):
    world = known(make_world)
    world.ask("a")
    first = world.requests + 1
    for _ in range(8):
        world.ask("a", deadline=0.85)  # 0.75 ms when it is chosen: three runs are within half
    assert next_run(world) == f"run a for {ids(first, first + 2)} in turn"


def test_a_first_one_in_a_hurry_goes_alone(make_world):
    world = known(make_world)
    world.ask("a")
    world.ask("a", deadline=0.25)
    world.ask("a")
    assert next_run(world) == "run a for 7"


def test_a_train_is_far_from_the_time_limit_of_a_run(make_world):
    world = known(make_world, run_timeout_ns=MS)
    first = queue(world, 9)
    assert next_run(world) == f"run a for {ids(first, first + 4)} in turn"


def test_several_items_and_other_wishes_do_not_go_along(make_world):
    world = known(make_world)
    world.ask("a")
    for items in (1, 1, 2, 1, 1):
        world.ask("a", items=items)
    assert next_run(world) == "run a for 7,8 in turn"
    assert next_run(world) == "run a for 9"
    assert next_run(world) == "run a for 10,11 in turn"


def test_nobody_goes_along_before_somebody_who_wants_the_engine_for_himself(make_world):
    world = known(make_world)
    world.ask("a")
    world.ask("a")
    world.ask("a")
    world.hold("a")
    world.ask("a")
    assert next_run(world) == "run a for 7,8 in turn"
    assert next_run(world) == "hold a for 9"


def test_runs_under_a_lease_go_one_by_one(make_world):
    world = known(make_world)
    world.hold("a")
    (lease,) = world.leases
    for _ in range(3):
        world.ask("a", under_lease=lease)
    assert world.ended(lease + 1)[-1] == "run a for 8"


def test_an_error_is_that_of_one_request(make_world):
    world = known(make_world)
    first = queue(world, 3)
    next_run(world)
    said = world.ended(errors=((first + 1, "bad input"),))
    assert said == [
        f"finish {first} completed",
        f"finish {first + 1} failed: run_failed",
        f"finish {first + 2} completed",
    ]


def test_one_that_fails_for_memory_is_told_so_and_nothing_is_halved_or_tried_again(make_world):
    world = known(make_world)
    first = queue(world, 2)
    next_run(world)
    said = world.ended(errors=((first, "no memory"),), out_of_memory=True)
    assert said == [f"finish {first} failed: out_of_memory", f"finish {first + 1} completed"]


def test_the_others_go_on_when_one_caller_goes_away(make_world):
    world = known(make_world)
    first = queue(world, 2)
    next_run(world)
    assert world.cancel(first) == [f"finish {first} cancelled: caller_cancelled"]
    assert world.cancel(first + 1)[-1].startswith("revoke")
    assert world.ended() == []
    world.check_rest("a")


@pytest.mark.parametrize("seed", range(5))
def test_who_is_more_important_waits_for_a_train_no_longer_than_the_quantum(make_world, seed):
    """Endless short runs of little importance; now and then somebody important comes."""
    draw = random.Random(seed)  # noqa: S311 - a story, no secret
    world = known(make_world, runs=16)
    worst_ns = 0
    for _ in range(200):
        while len(world.scheduler.snapshot().waiting) < 20:
            world.ask("a", priority=10)
        (lease,) = world.leases.values()
        takes_ns = len(lease.request_ids) * round(RUN_MS * MS)
        came_ns = world.now + draw.randrange(takes_ns)
        ends_ns = world.now + takes_ns
        world.now = came_ns
        world.ask("a", priority=90)
        important = world.requests
        world.now = ends_ns
        world.ended()
        assert important in world.leases[max(world.leases)].request_ids
        worst_ns = max(worst_ns, world.now - came_ns)
    assert MS // 2 < worst_ns <= TRAIN_NS
    world.quiesce()
    assert {done.outcome for done in world.outcomes.values()} == {Outcome.COMPLETED}


def test_a_quantum_is_short_beside_the_usual_patience():
    assert ModelSpec(name="a", footprint={}).max_wait_ns > TRAIN_NS * 100


def test_what_counts_is_how_long_the_engine_works_not_the_way_to_it_and_back(make_world):
    world = make_world(1000)
    world.model("a", 100)
    world.bring("a")
    for _ in range(4):
        world.ask("a")
        world.now += 5 * MS
        world.ended(worked_ns=MS // 4)
    first = queue(world, 5)
    world.now += 5 * MS
    assert world.ended(worked_ns=MS // 4)[-1] == f"run a for {ids(first, first + 3)} in turn"
