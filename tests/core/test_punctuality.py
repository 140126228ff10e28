"""By which loads and runs a request is judged to come too late, and what it is told."""

from __future__ import annotations

import pytest

from scheduler.core.request import RequestKind

MS = 1_000_000
RUNS = (20, 22, 24, 30, 40)
"""In ms: the fastest takes 20, all but one at most 30."""


def seen(world, model="a", runs=RUNS, **rules):
    """A model that is loaded, and of which some runs were seen."""
    world.model(model, **rules)
    world.bring(model)
    for ms in runs:
        world.ask(model)
        world.at(world.now / MS + ms)
        world.ended()


def one_run(world):
    """One run, after a load of 320 ms."""
    world.hold("a")
    world.at(world.now / MS + 320)
    world.loaded("a")
    lease = max(world.leases)
    world.ask("a", under_lease=lease)
    world.at(world.now / MS + 20)
    world.ended(max(world.leases))
    world.ended(lease)
    world.unload("a")
    world.unloaded("a")


def behind(world, *, left, follower=None, **head):
    """How a request ends that has `left` ms when its engine is free, if one waits behind it."""
    world.ask("a")
    (busy,), bad = world.leases, ((world.requests, "bad input"),)  # so nothing is learned of it
    world.ask("a", deadline=left + 10, **head)
    request = world.requests
    if follower is not None:
        world.ask("a", **follower)
    world.at(world.now / MS + 10)
    world.ended(busy, errors=bad)
    return world.outcome(request)


LATE = "deadline_missed: deadline_unreachable"
HURRIED = {"deadline": 100}


@pytest.mark.parametrize(("left", "ends"), [(29, LATE), (30, "-")])
def test_who_will_hardly_be_on_time_gives_way_to_who_is_behind_it(world, left, ends):
    seen(world)
    assert behind(world, left=left, follower=HURRIED) == ends
    assert world.granted_ms.keys() >= {world.requests} if ends == LATE else True


@pytest.mark.parametrize(
    ("follower", "head"),
    [
        (None, {}),  # nobody could use the time
        ({}, {}),  # who is behind it is in no hurry
        (HURRIED, {"priority": 51}),  # it is more important
        (HURRIED | {"kind": RequestKind.LOAD}, {}),  # that is no run
    ],
)
def test_else_it_is_tried_though_only_the_fastest_run_would_do(world, follower, head):
    seen(world)
    assert behind(world, left=20, follower=follower, **head) == "-"


def test_what_even_the_fastest_run_cannot_do_is_refused_whoever_waits(world):
    seen(world)
    assert behind(world, left=19) == LATE


def test_in_a_batch_nobody_makes_the_other_late(world):
    seen(world, batch_max=2)
    assert behind(world, left=20, follower=HURRIED) == "-"


def test_age_counts_in_whether_who_is_behind_it_is_as_important(make_world):
    world = make_world(ageing_ns=50 * MS)
    seen(world)
    world.ask("a")
    (busy,) = world.leases
    world.ask("a", deadline=80)
    world.at(world.now / MS + 55)  # it counts as 99 by now
    world.ask("a", deadline=100)
    world.ended(busy)
    assert world.outcome(world.requests - 1) == "-"
    assert world.granted_ms.keys() >= {world.requests - 1}


def test_fewer_than_four_runs_say_nothing_of_slow_ones(world):
    seen(world, runs=(20, 30, 40))
    assert behind(world, left=20, follower=HURRIED) == "-"


def test_what_was_slow_a_minute_ago_refuses_nobody(world):
    seen(world)
    world.at(world.now / MS + 59_990)
    assert behind(world, left=29, follower=HURRIED) == LATE
    world.ended(errors=((world.requests, "bad input"),))
    world.at(world.now / MS + 60_000)
    assert behind(world, left=5, follower=HURRIED) == "-"


def test_who_is_not_the_first_gives_way_to_nobody_yet(world):
    seen(world)
    world.ask("a")
    world.ask("a", priority=60)
    world.ask("a", deadline=26)
    assert world.outcome(world.requests) == "-"


def test_the_sentence_names_what_it_is_known_from(world):
    seen(world)
    assert behind(world, left=25, follower=HURRIED) == LATE
    assert str(world.outcomes[world.requests - 1].reason) == (
        "it can take 30.0 ms from now, its deadline is in 30.0 ms: run 20.0 ms (fastest of 5) "
        "to 30.0 ms (0.67-quantile), another waits behind it"
    )


def test_it_says_how_long_the_answer_would_have_taken(world):
    """Of one run nothing is said: it does not count yet."""
    world.model("a")
    one_run(world)
    for ms in (310, 300):
        world.load("a")
        world.at(world.now / MS + ms)
        world.loaded("a")
        world.unload("a")
        world.unloaded("a")
    world.load("a")
    world.at(world.now / MS + 100)
    world.ask("a", deadline=150)
    told = world.outcomes[world.requests].reason
    assert str(told) == (
        "it takes at least 200.0 ms from now, its deadline is in 150.0 ms: load of a 300.0 ms "
        "(fastest of 3)"
    )
    assert told.takes_ns == 200 * MS
