"""Where a fast path must not be taken: it would decide otherwise than the long way.

Each world of these tests (of all tests here) has a twin beside it that goes the long way only; the
two are compared after each event, see `conftest`.
"""

from __future__ import annotations

from scheduler.core.events import BudgetChanged, Measurement, MemorySampled
from scheduler.core.request import RequestKind
from scheduler.core.settings import PoolBudget

S = 1_000_000_000


def full(make_world, **settings):
    """A lease of priority 100 holds most of the memory, and nobody can take it back."""
    world = make_world(1000, **settings)
    world.model("held", 500)
    world.hold("held", priority=100)
    world.loaded("held")
    return world


def test_a_batch_that_fits_no_more_is_refused_though_single_requests_are_not(make_world):
    world = make_world(1000)
    world.model("a", 100, workspace=100, per_item=100, batch_max=1)
    world.ask("a")
    world.loaded("a")
    world.ask("a")
    world.ask("a", items=8)
    world.ask("a")
    world.tell(BudgetChanged("unified", 800))
    assert world.ended() == ["finish 1 completed", "run a for 2", "finish 3 rejected: never_fits"]
    world.quiesce()
    world.check_rest("a")


def test_a_batch_that_was_refused_room_says_nothing_about_single_requests(make_world):
    world = full(make_world)
    world.model("large", 300, workspace=100, per_item=100, max_wait_ns=0)
    world.model("small", 300, workspace=100, max_wait_ns=0)
    assert world.ask("large", items=4) == []
    assert world.ask("small") == ["load small"]


def test_who_needs_less_is_not_hopeless(make_world):
    """Both would have to send `busy` away: for the larger that is not enough."""
    world = full(make_world)
    world.model("busy", 200)
    world.ask("busy")
    world.loaded("busy")
    world.model("large", 600)
    world.model("small", 450)
    world.ask("large")
    world.ask("small")
    assert world.ended(2) == ["finish 2 completed", "unload busy: make_room"]


def test_who_needs_less_to_run_is_not_hopeless(make_world):
    world = full(make_world)
    world.model("busy", 200)
    world.ask("busy")
    world.loaded("busy")
    world.model("large", 400, workspace=200)
    world.model("small", 450)
    world.ask("large")
    world.ask("small")
    assert world.ended(2) == ["finish 2 completed", "unload busy: make_room"]


def test_of_those_who_need_as_much_only_the_first_is_looked_at(make_world):
    world = full(make_world)
    for name in "abc":
        world.model(name, 600)
        world.ask(name)
    assert [world.waits_for(i) for i in (2, 3, 4)] == ["waits_for_memory"] + ["waits_for_turn"] * 2
    assert world.ended(1) == ["finish 1 completed", "unload held: make_room"]
    world.quiesce()
    world.check_rest("b")


def test_the_important_one_behind_an_old_head_is_not_hopeless(make_world):
    world = make_world(1000, ageing_ns=S)
    world.model("held", 500)
    world.hold("held", priority=70)
    world.loaded("held")
    world.model("first", 600)
    world.model("second", 600)
    world.ask("first", priority=60)
    world.ask("second", priority=10)
    world.at(3000)
    said = world.ask("second", priority=80)
    assert said == ["revoke 1: higher_priority", "finish 1 preempted: higher_priority"]


def test_who_excludes_one_that_is_protected_from_others_is_not_hopeless(make_world):
    world = full(make_world)
    world.model("settled", 300, exclusive=["g"], min_residency_ns=60 * S)
    world.ask("settled")
    world.loaded("settled")
    world.model("first", 400)
    world.model("second", 400, exclusive=["g"])
    world.ask("first")  # the minimum residency of `settled` keeps it out
    world.ask("second")
    assert world.ended(2) == ["finish 2 completed", "unload settled: make_room"]


def test_who_is_impatient_is_not_as_hopeless_as_the_patient(make_world):
    """All have aged. The first still lets the customers of `busy` be served, the next does not."""
    world = make_world(1000, ageing_ns=S)
    world.model("busy", 600)
    world.model("patient", 600, max_wait_ns=60 * S)
    world.model("hasty", 600, max_wait_ns=2 * S)
    world.ask("busy")
    world.loaded("busy")
    for name in ("patient", "hasty", "busy"):
        world.ask(name)
    world.at(5000)
    assert world.ended() == ["finish 1 completed", "unload busy: make_room"]
    assert world.scheduler.snapshot().waiting[0].models == ("patient",)
    world.quiesce()
    world.check_rest("hasty")


def test_customers_who_are_answered_protect_their_engine_no_longer(make_world):
    """A load that was asked for counts as a customer, and is answered in the same pass."""
    world = full(make_world)
    world.model("idle", 400)
    world.load("idle")
    world.model("first", 450, max_wait_ns=60 * S)
    world.model("second", 450, max_wait_ns=60 * S)
    world.ask("first", deadline=100_000)
    world.ask("second")
    assert world.loaded("idle") == ["finish 2 completed", "unload idle: make_room"]
    world.quiesce()
    world.check_rest("second")


def test_what_is_kept_from_one_for_its_length_is_not_kept_from_a_shorter_one(make_world):
    """`long` would be overtaken by the stream; `short` needs as much, and is done before it."""
    world = make_world(1000)
    world.pace = (900, 5, 10)
    world.model("stream", 600, priority=80)
    world.model("long", 600, priority=40)
    world.model("short", 600, priority=30)
    world.load("long")
    world.at(1000)
    world.pace = (100, 5, 10)
    world.load("short")
    world.at(1500)
    world.load("stream")
    for i in range(6):
        world.later(3000 + 600 * i, lambda: world.ask("stream"))
    world.at(6050)
    assert world.ask("long") == []
    assert world.ask("short") == ["unload stream: make_room"]


def test_an_engine_with_customers_before_them_is_nothing_that_others_plan_with(make_world):
    """A plan with `busy` would come to nothing, and keep `third` from the room it can have."""
    world = make_world(1000)
    world.model("idle", 200)
    world.bring("idle")
    world.model("busy", 500)
    world.ask("busy")
    world.loaded("busy")
    world.ask("busy", priority=60)
    world.model("second", 600, max_wait_ns=0)
    world.model("third", 400, priority=40)
    assert world.ask("second") == []
    assert world.ask("third") == ["unload idle: make_room"]


def test_what_a_run_gives_back_counts_for_the_claim_of_who_waits_before_it(make_world):
    """`first` claims what `old` gives back, and 300 of what is free. The run that starts behind it
    takes 60 and returns them, so they need not be kept back twice.
    """
    world = make_world(1000)
    world.model("old", 300)
    world.model("runs", 300, workspace=60)
    world.model("first", 600, priority=60)
    world.model("small", 90, priority=40)
    world.bring("old")
    world.ask("runs")
    assert world.ask("first") == ["unload old: make_room"]
    assert world.ask("small") == []
    assert world.loaded("runs") == ["run runs for 2", "load small"]
    world.quiesce()
    world.check_rest("first")


def test_a_measurement_is_judged_by_who_waits_already(make_world):
    world = full(make_world)
    world.model("a", 300)
    world.model("b", 600)
    world.bring("a")
    world.ask("b")
    world.ask("a")
    world.ask("a")
    world.ended(2, measured={"a": {"unified": Measurement(450)}})
    world.quiesce()
    world.check_rest("a")


def busy_with_customers(make_world, **settings):
    """`runs` works for request 1, and request 2 waits for it, set aside."""
    world = make_world(1000, **settings)
    world.model("runs", 300)
    world.ask("runs")
    world.loaded("runs")
    world.ask("runs")
    return world


def test_who_waits_aside_still_comes_before_a_lease_on_the_same_engine(make_world):
    world = busy_with_customers(make_world)
    assert world.hold("runs") == []
    assert world.ended() == ["finish 1 completed", "run runs for 2"]
    assert world.ended() == ["finish 2 completed", "hold runs for 3"]


def test_who_waits_aside_keeps_its_engine_from_who_comes_later_only(make_world):
    world = busy_with_customers(make_world)
    world.model("other", 800, max_wait_ns=0)
    world.ask("other", priority=60)
    world.ask("other", priority=40)
    assert world.waits_for(2) == "waits_for_turn"
    assert world.ended() == ["finish 1 completed", "unload runs: make_room"]
    world.quiesce()
    world.check_rest("runs")


def test_the_engine_of_who_waits_aside_is_no_rival_to_send_away(make_world):
    world = make_world(1000)
    world.model("runs", 300, exclusive=["g"])
    world.model("rival", 300, exclusive=["g"], max_wait_ns=0)
    world.ask("runs")
    world.loaded("runs")
    world.ask("runs")
    assert world.ask("rival") == []
    assert world.waits_for(3) == "waits_for_exclusive"
    assert world.ended() == ["finish 1 completed", "run runs for 2"]


def test_who_waits_aside_is_judged_again_when_the_budget_shrinks(make_world):
    world = busy_with_customers(make_world)
    assert world.tell(BudgetChanged("unified", 200)) == ["finish 2 rejected: never_fits"]


def test_a_patient_one_behind_an_impatient_one_still_claims_what_comes_back(make_world):
    """`first` may not count on the workspace that runs; `second` may, and nobody takes it away."""
    world = make_world(1000)
    world.model("runs", 300, workspace=300, pinned=True)
    world.loaded("runs")
    world.ask("runs")
    world.model("first", 600, max_wait_ns=0)
    world.model("second", 600, max_wait_ns=60 * S)
    world.model("third", 300)
    world.ask("first")
    world.at(1)
    world.ask("second")
    assert world.ask("third") == []
    world.quiesce()
    world.check_rest("third")


def test_a_run_that_needs_no_memory_waits_for_nobody_who_makes_room_in_an_overdrawn_pool(
    make_world,
):
    world = make_world(1000)
    world.model("runs", 300, pinned=True)
    world.loaded("runs")
    world.model("old", 400)
    world.ask("old")
    world.loaded("old")
    world.model("first", 300, priority=60, max_wait_ns=0)
    world.ask("runs")
    world.ask("runs")
    world.tell(BudgetChanged("unified", 650))
    assert world.ask("first") == []  # `old` is to go for it, and still runs
    assert world.ended(2) == ["finish 2 completed", "run runs for 3"]
    world.quiesce()
    world.check_rest("first")


def test_who_lets_customers_be_served_first_looks_again_when_its_patience_ends(make_world):
    """Those of `idle` wait for a unit; half of the time that `new` has is over at 1500."""
    world = make_world(1000, resources={"gpu": 1})
    world.model("other", 100, uses={"gpu": 1})
    world.model("idle", 600, uses={"gpu": 1})
    world.model("new", 600)
    world.bring("idle")
    world.ask("other")
    world.loaded("other")
    world.ask("idle")
    assert world.ask("new", deadline=3000) == []
    assert world.at(1499) == []
    assert world.at(1500) == ["unload idle: make_room"]


def test_who_was_behind_others_is_looked_at_anew_when_its_engine_goes(make_world):
    """`first` makes room of `old`, which runs; behind it somebody waits for the idle `small`."""
    world = make_world(pools={"unified": PoolBudget(budget_bytes=1000, reserve_bytes=100)})
    world.model("small", 300, workspace=50)
    world.bring("small")
    world.model("old", 400, priority=10)
    world.ask("old")
    world.loaded("old")
    world.ask("small", priority=20)
    world.ask("small", priority=20)
    world.model("first", 300, priority=60, max_wait_ns=0)
    world.tell(BudgetChanged("unified", 740))
    world.ask("first")
    assert world.ended(2) == ["finish 3 completed"]
    assert world.tell(MemorySampled("unified", 50, 50, 100)) == ["unload small: external_pressure"]
    world.tell(MemorySampled("unified", None, None, None))
    world.quiesce()
    world.check_rest("small")


def test_who_is_like_one_that_was_behind_is_looked_at_once_somebody_was_answered(make_world):
    """The load that was asked for protects `idle` until it is answered, in the same pass."""
    world = full(make_world)
    world.model("aux", 100)
    world.hold("aux", priority=100)
    world.loaded("aux")
    world.model("idle", 400)
    for name in ("first", "second", "third"):
        world.model(name, 450, max_wait_ns=60 * S)
    world.ask("first", priority=60)
    world.ask("second", priority=60)
    world.ask("idle", kind=RequestKind.LOAD, priority=60)
    world.ask("third", priority=60)
    world.ended(2)
    said = ["finish 5 completed", "unload aux: make_room", "unload idle: make_room"]
    assert world.loaded("idle") == said
    world.quiesce()
    world.check_rest("third")
