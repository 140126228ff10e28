"""Loading ahead: for whom, into whose memory, and who goes before."""

from __future__ import annotations

from itertools import pairwise

import pytest

from scheduler.core.events import DrainRequested, ModelRemoved, PinChanged
from scheduler.core.request import NO_DEADLINE_NS
from scheduler.core.room import Room

MS = 1_000_000
S = 1000 * MS
LOAD, RUN, UNLOAD = 300, 20, 10


def learned(make_world, rival=None, size=600, settings=None, **rules):
    """A stream of one request each second, seen until 4 s, and a rival for its memory."""
    world = make_world(1000, **(settings or {}))
    world.pace = (LOAD, RUN, UNLOAD)
    rules.setdefault("deadline_ns", 100 * MS)
    world.model("beat", 600, **rules)
    world.model("rival", size, **(rival or {}))
    world.load("beat")
    for second in (1, 2, 3, 4):
        world.at(1000 * second)
        world.ask("beat")
    world.at(4050)
    return world


def beat(world, seconds):
    """Further requests of the stream; returns how each ended."""
    ids = []
    for second in seconds:
        world.at(1000 * second)
        world.ask("beat")
        ids.append(world.requests)
    world.at(1000 * seconds[-1] + 500)
    return [world.outcome(i) for i in ids]


def test_a_stream_whose_load_is_longer_than_its_deadline_is_served_again_after_an_eviction(
    make_world,
):
    world = learned(make_world)
    world.ask("rival")
    world.at(4500)
    assert world.states() == {"beat": "unloaded", "rival": "ready"}
    assert beat(world, range(5, 9)) == ["completed"] * 4
    assert world.count("load beat") == 2


def test_it_is_there_just_in_time_with_a_quarter_of_its_load_to_spare(make_world):
    world = learned(make_world)
    world.ask("rival")
    world.at(5000 - LOAD * 1.25 - 1e-3)
    assert world.states()["rival"] == "ready"
    assert world.at(5000 - LOAD * 1.25) == ["unload rival: make_room"]


def test_into_free_memory_it_is_loaded_without_anybody_going(make_world):
    world = learned(make_world, size=400)
    world.tell(PinChanged("rival", pinned=True))
    world.at(4400)
    world.unload("beat")
    world.at(4450)
    for second in (5, 6, 7, 8):
        world.at(1000 * second)
        world.ask("beat")
    assert world.at(8950) != []
    assert world.states() == {"beat": "ready", "rival": "ready"}


def test_two_streams_that_need_the_same_memory_both_get_some_of_it(make_world):
    """The second is asked for on demand; the first is loaded ahead between, and starves nobody."""
    world = learned(make_world)
    for i in range(10):
        world.later(4300 + 1000 * i, lambda: world.ask("rival"))
    ended = beat(world, range(5, 14))
    world.at(15_000)
    rivals = [i for i in world.outcomes if i > 5 and world.outcome(i) == "completed"]
    assert ended.count("completed") >= 4
    assert len(rivals) >= 10
    assert world.scheduler.snapshot().waiting == ()


def test_nobody_goes_who_is_worth_more(make_world):
    world = learned(make_world, rival={"priority": 90, "deadline_ns": 90 * MS})
    world.load("rival")
    for ms in range(4100, 9000, 100):
        world.later(ms, lambda: world.ask("rival"))
    assert set(beat(world, range(5, 9))) == {"deadline_missed: deadline_unreachable"}
    assert world.count("unload rival") == 0


@pytest.mark.sources
@pytest.mark.parametrize(("gap_ms", "again_ms"), [(1000, 1000), (280, LOAD)])
def test_in_vain_it_is_tried_again_after_the_gap_or_the_load_whichever_is_longer(
    make_world, gap_ms, again_ms
):
    world = make_world(1000)
    world.pace = (LOAD, RUN, UNLOAD)
    world.model("beat", 600, deadline_ns=100 * MS)
    world.model("rival", 600, priority=100, deadline_ns=50 * MS)
    world.load("beat")
    for i in range(5):
        world.at(1000 + gap_ms * i)
        world.ask("beat")
    world.at(world.now / MS + 50)
    world.load("rival")
    for _ in range(8):
        world.at(world.now / MS + 45)
        world.ask("rival", deadline=5000)
    tries = []
    make = Room.make_ahead

    def tried(room, engine, need):
        if room.state is world.scheduler._state and engine.name == "beat":
            tries.append(room.now)
        return make(room, engine, need)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Room, "make_ahead", tried)
        for _ in range(150):
            world.at(world.now / MS + 25)
            world.ask("rival", deadline=5000)
    assert len(tries) > 1
    assert min(b - a for a, b in pairwise(tries)) == again_ms * MS


def test_nobody_goes_who_is_worth_as_much(make_world):
    """It has to be worth twice as much: two of a kind do not take turns unasked."""
    world = make_world(1000)
    world.pace = (LOAD, RUN, UNLOAD)
    for name in ("one", "two"):
        world.model(name, 600, deadline_ns=100 * MS)
    for i in range(4):
        world.later(1000 + 1000 * i, lambda: world.ask("one"))
    world.load("one")
    world.at(4500)
    world.load("two")
    for i in range(4, 12):
        world.later(1000 + 1000 * i, lambda: world.ask("one"))
        world.later(1500 + 1000 * i, lambda: world.ask("two"))
    world.at(13_000)
    assert world.count("load") <= 5


def test_never_for_what_is_held(make_world):
    world = learned(make_world)
    world.hold("rival")
    world.at(9000)
    assert world.states() == {"beat": "unloaded", "rival": "ready"}
    assert world.count("revoke") == 0


def test_never_for_what_is_pinned(make_world):
    world = learned(make_world)
    world.tell(PinChanged("rival", pinned=True))
    ended = beat(world, range(5, 9))
    assert world.states() == {"beat": "unloaded", "rival": "ready"}
    assert "completed" not in ended


def test_what_is_pinned_stays_though_it_is_the_cheapest(make_world):
    world = make_world(1000)
    world.pace = (LOAD, RUN, UNLOAD)
    world.model("pinned", 300, pinned=True)
    world.model("beat", 600, deadline_ns=100 * MS)
    world.model("rival", 200)
    world.load("beat")
    for second in (1, 2, 3, 4):
        world.at(1000 * second)
        world.ask("beat")
    world.at(4050)
    world.ask("rival")
    assert beat(world, range(5, 7)) == ["completed"] * 2
    assert world.count("unload rival") == 1
    assert world.count("unload pinned") == 0


def test_never_for_what_was_loaded_a_moment_ago(make_world):
    world = make_world(1000)
    world.pace = (LOAD, RUN, UNLOAD)
    world.model("beat", 600, deadline_ns=100 * MS)
    world.model("rival", 600, min_residency_ns=3 * S)
    world.load("beat")
    for second in (1, 2, 3, 4):
        world.at(1000 * second)
        world.ask("beat")
    world.at(4050)
    world.ask("rival")
    ended = beat(world, range(5, 10))
    assert ended[:2] == ["deadline_missed: deadline_unreachable"] * 2
    assert ended[-1] == "completed"


def test_never_for_what_somebody_waits_for(make_world):
    world = learned(make_world, settings={"resources": {"gpu": 1}})
    world.model("runs", 100, uses={"gpu": 1})
    world.model("idle", 600, uses={"gpu": 1})
    world.pace = None
    world.ask("runs")
    world.loaded("runs")
    world.ask("idle")
    world.at(4100)
    world.unloaded("beat")
    world.loaded("idle")
    assert world.waits_for(7) == "waits_for_units"
    assert world.at(5500) == []
    assert world.states()["idle"] == "ready"


def test_never_when_somebody_waits_for_memory(make_world):
    """It would fit beside the one that waits for more, and does not push in."""
    world = learned(make_world, size=350)
    world.model("held", 350)
    world.model("large", 900, priority=40)
    world.hold("held")
    world.at(4500)
    world.ask("rival")
    world.at(4600)
    world.unload("beat")
    world.at(4650)
    world.ask("large")
    for second in (5, 6, 7, 8, 9):
        world.at(1000 * second)
        world.ask("beat", priority=10)
    assert world.states()["beat"] == "unloaded"


def test_real_demand_has_the_memory_that_was_freed_for_it(make_world):
    world = learned(make_world)
    world.ask("rival")
    world.at(4500)
    world.model("other", 600)
    world.at(4626)
    assert world.states()["rival"] == "unloading"
    world.ask("other")
    world.at(4700)
    assert world.states()["other"] == "loading"
    world.at(5500)
    assert world.outcome(world.requests) == "completed"


def test_a_stream_that_has_stopped_is_not_expected_any_more(make_world):
    world = learned(make_world)
    world.hold("rival")
    world.at(9000)
    world.ended(max(world.leases))
    world.at(60_000)
    assert world.states() == {"beat": "unloaded", "rival": "ready"}


def test_what_could_be_loaded_on_demand_in_time_and_has_no_beat_is_not_loaded_ahead(make_world):
    world = make_world(1000)
    world.pace = (LOAD, RUN, UNLOAD)
    world.model("now and then", 600, deadline_ns=2 * S)
    world.model("rival", 600)
    for ms in (0, 500, 4000, 4700, 9000):
        world.at(ms)
        world.ask("now and then")
    world.at(9500)
    world.ask("rival")
    world.at(40_000)
    assert world.states() == {"now and then": "unloaded", "rival": "ready"}


def test_what_has_no_beat_but_cannot_be_loaded_in_time_is_loaded_ahead(make_world):
    world = make_world(1000)
    world.pace = (LOAD, RUN, UNLOAD)
    world.model("now and then", 600, deadline_ns=100 * MS)
    world.model("rival", 600)
    world.load("now and then")
    for ms in (1000, 1500, 4000, 4700, 9000):
        world.at(ms)
        world.ask("now and then")
    world.at(9500)
    world.ask("rival")
    world.at(13_000)
    assert world.states() == {"now and then": "ready", "rival": "unloaded"}


def irregular(make_world, model_deadline_ns=None, **asked):
    """A stream without beat and a rival that took its place, with what its requests say."""
    world = make_world(1000)
    world.pace = (LOAD, RUN, UNLOAD)
    world.model("now and then", 600, deadline_ns=model_deadline_ns)
    world.model("rival", 600)
    world.load("now and then")
    for ms in (1000, 1500, 4000, 4700, 9000):
        world.at(ms)
        world.ask("now and then", **asked)
    world.at(9500)
    world.ask("rival")
    world.at(10_000)
    return world


def test_the_deadlines_of_its_requests_count_when_its_model_has_none(make_world):
    for asked, comes_back in (({"deadline": 100}, True), ({}, False)):
        world = irregular(make_world, **asked)
        world.at(13_000)
        assert world.states()["now and then"] == ("ready" if comes_back else "unloaded")


def test_the_deadlines_of_its_requests_count_before_that_of_its_model(make_world):
    world = irregular(make_world, 100 * MS, deadline_ns=NO_DEADLINE_NS)
    world.at(13_000)
    assert world.states()["now and then"] == "unloaded"


def test_a_request_that_comes_too_late_does_not_put_off_a_load_that_is_due(make_world):
    """Its mean gap is 2 s, so the load is due 1.625 s after the engine went."""
    world = irregular(make_world, deadline=100)
    for ms in (10_100, 10_900):
        world.at(ms)
        world.ask("now and then", deadline=100)
        assert world.outcome(world.requests) == "deadline_missed: deadline_unreachable"
    world.at(11_500)
    assert world.count("load now and then") == 2


def test_who_asked_for_an_unload_does_not_see_it_loaded_again_by_itself(make_world):
    for state in ("ready", "unloading", "unloaded", "running"):
        world = learned(make_world)
        if state == "running":
            world.at(5000)
            world.ask("beat")
        elif state != "ready":
            world.ask("rival")
        if state == "unloaded":
            world.at(4300)
        assert world.states()["beat"] == ("ready" if state == "running" else state)
        world.unload("beat")
        world.at(9000)
        assert world.states()["beat"] == "unloaded", state
        assert world.count("load beat") == 1, state


def test_an_engine_that_failed_is_not_tried_ahead_until_its_back_off_is_over(make_world):
    """After that it is: a stream that cannot be served on demand would else be lost for good."""
    world = learned(make_world, backoff_ns=2500 * MS)
    world.lost("beat")
    assert beat(world, range(5, 9)) == [
        *["rejected: backing_off"] * 2,
        "deadline_missed: deadline_unreachable",
        "completed",
    ]
    assert world.count("load beat") == 2


def test_what_never_fits_any_more_is_not_tried(make_world):
    world = learned(make_world, size=500)
    world.ask("rival")
    world.at(4500)
    world.tell(PinChanged("rival", pinned=True))
    world.at(9000)
    assert world.states()["beat"] == "unloaded"


def test_an_exclusive_rival_is_not_sent_away_for_it(make_world):
    world = make_world(1000)
    world.pace = (LOAD, RUN, UNLOAD)
    world.model("beat", 100, deadline_ns=100 * MS, exclusive=["g"])
    world.model("rival", 100, exclusive=["g"])
    world.load("beat")
    for second in (1, 2, 3, 4):
        world.at(1000 * second)
        world.ask("beat")
    world.at(4050)
    world.ask("rival")
    world.at(9000)
    assert world.states() == {"beat": "unloaded", "rival": "ready"}


def test_one_that_is_removed_is_not_loaded_ahead(make_world):
    world = learned(make_world)
    world.ask("rival")
    world.at(4500)
    world.tell(ModelRemoved("beat"))
    world.at(9000)
    assert world.states() == {"rival": "ready"}


def test_nothing_is_loaded_ahead_while_shutting_down(make_world):
    world = learned(make_world)
    world.tell(DrainRequested())
    world.at(9000)
    assert world.states() == {"beat": "unloaded", "rival": "unloaded"}
    assert world.scheduler.next_timer() is None


@pytest.mark.parametrize("rival_priority", [50, 90])
@pytest.mark.parametrize("gap_ms", [10, 1000])
def test_it_never_spins(make_world, rival_priority, gap_ms):
    """In vain or not, it wakes up a few times for each request, and not at all without them."""
    world = make_world(1000)
    world.pace = (LOAD, 1, UNLOAD)
    world.model("beat", 600, deadline_ns=5 * MS)
    world.model("rival", 600, priority=rival_priority)
    world.load("beat")
    for i in range(200):
        world.later(1000 + gap_ms * i, lambda: world.ask("beat"))
        world.later(3000 + gap_ms * i, lambda: world.ask("rival"))
    world.at(4000 + 200 * gap_ms)
    assert world.wakeups < 5 * world.requests
    before = world.wakeups
    world.at(4000 + 1000 * gap_ms + 100_000)
    assert world.wakeups - before < 10
    assert world.scheduler.next_timer() is None


def ahead(world):
    beat = world.scheduler.snapshot().engines[0]
    return beat.loads_ahead, beat.loads_ahead_used


def test_a_load_ahead_that_is_used_is_a_hit_once(make_world):
    world = learned(make_world)
    world.ask("rival")
    world.at(4900)
    assert ahead(world) == (1, 0)
    beat(world, range(5, 7))
    assert ahead(world) == (1, 1)


def test_a_lease_uses_it_as_well(make_world):
    world = learned(make_world)
    world.ask("rival")
    world.at(4990)
    world.hold("beat")
    assert ahead(world) == (1, 1)


def test_a_load_ahead_that_is_evicted_unused_is_no_hit_and_nor_is_the_next_load(make_world):
    world = learned(make_world)
    world.ask("rival")
    world.at(4990)
    assert world.states()["beat"] == "ready"
    world.ask("rival", priority=99)
    world.at(6500)
    world.load("beat")
    world.at(7500)
    world.ask("beat", deadline=5000)
    world.at(8500)
    assert ahead(world) == (1, 0), "it was loaded ahead once, and not used then"


def test_a_load_that_was_asked_for_is_not_ahead(world):
    world.model("a", 100)
    world.ask("a")
    world.quiesce()
    assert ahead(world) == (0, 0)
