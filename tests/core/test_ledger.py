"""What is booked, when, and when it is given back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.amounts import fits, larger, plus, shortage, sized, total
from scheduler.core.events import BudgetChanged, Measurement, MemorySampled
from scheduler.core.ledger import Ledger
from scheduler.core.model import PoolFootprint
from scheduler.core.outcome import Outcome
from scheduler.core.settings import PoolBudget, Settings, Trust

amounts = st.dictionaries(st.sampled_from("xy"), st.integers(-99, 99))


@given(first=amounts, second=amounts)
def test_amounts_count_a_missing_pool_as_nothing(first, second):
    for pool in "xy":
        one, two = first.get(pool, 0), second.get(pool, 0)
        assert plus(first, second).get(pool, 0) == one + two
        assert shortage({pool: one}, second).get(pool, 0) == max(0, one - two)
    assert total([]) == {}
    assert fits(first, second) == all(n <= 0 or n <= second.get(p, 0) for p, n in first.items())
    assert all(larger(first, second)[p] >= n for p, n in {**first, **second}.items())


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (300 * 2**20, "300.0 MiB"),
        (2040109466, "1.90 GiB"),
        (-(2**20), "-1.0 MiB"),
    ],
)
def test_bytes_are_said_in_a_unit_a_person_would_use(amount, words):
    assert sized(amount) == words


def test_a_booking_replaces_the_one_before_it_and_the_high_water_stays():
    ledger = Ledger(Settings(pools={"x": PoolBudget(budget_bytes=100, overhead_bytes=10)}))
    ledger.book(("engine", "a"), {"x": 70})
    ledger.book(("engine", "a"), {"x": 30})
    assert ledger.reserved_bytes() == {"x": 40}
    assert ledger.pools["x"].high_water_bytes == 80
    ledger.release(("engine", "a"))
    ledger.release(("engine", "a"))
    assert ledger.reserved_bytes() == {"x": 10}
    assert ledger.booked(("engine", "a")) == {}
    ledger.check()


def test_the_memory_is_reserved_when_the_load_is_decided_and_shrinks_when_it_is_there(world):
    world.model("a", 300, peak=700)
    world.ask("a")
    assert world.reserved == 700
    world.loaded("a")
    assert world.reserved == 300


def test_two_engines_whose_peaks_do_not_fit_together_load_one_after_the_other(world):
    world.model("a", 300, peak=600)
    world.model("b", 300, peak=600)
    assert world.ask("a") == ["load a"]
    assert world.ask("b") == []
    assert world.loaded("a") == ["run a for 1", "load b"]
    assert world.reserved == 900


def test_a_load_peak_larger_than_what_stays_waits_for_its_peak(make_world):
    world = make_world(1500)
    world.model("a", 700)
    world.model("b", 400, peak=900)
    world.hold("a")
    world.loaded("a")
    assert world.ask("b") == []  # 1600 at the peak, though 1100 would stay
    assert world.waits_for(2) == "waits_for_memory"
    assert world.ended(1) == ["finish 1 completed", "unload a: make_room"]
    assert world.unloaded("a") == ["load b"]
    assert world.reserved == 900
    world.loaded("b")
    assert world.reserved == 400
    world.ended()
    world.check_rest("a")


def test_two_loads_asked_for_in_one_moment_do_not_both_pass_the_budget(world):
    for first, second in (("a", "b"), ("b", "a"), ("a", "b")):
        if not world.states():
            world.model("a", 600)
            world.model("b", 600)
        world.ask(first)
        world.ask(second)
        assert set(world.states().values()) != {"loading"}
        assert world.reserved <= 1000
        world.quiesce()
    assert world.scheduler.snapshot().pools[0].high_water_bytes == 600
    assert {done.outcome for done in world.outcomes.values()} == {Outcome.COMPLETED}
    world.check_rest("a")


def test_the_last_byte_of_the_budget_can_be_used_and_not_one_more(make_world):
    for resident, said in ((1000, ["load a"]), (1001, ["finish 1 rejected: never_fits"])):
        world = make_world(1000)
        world.model("a", resident)
        assert world.ask("a") == said


def test_a_workspace_is_booked_while_the_engine_runs_and_grows_with_the_items(world):
    world.model("a", 300, workspace=50, per_item=20, batch_max=4)
    world.bring("a")
    world.ask("a", items=3)
    assert world.reserved == 300 + 50 + 2 * 20
    world.ended()
    assert world.reserved == 300


def test_two_engines_fit_in_memory_but_not_while_both_run(world):
    world.model("a", 400, workspace=200)
    world.model("b", 400, workspace=200)
    world.bring("a", "b")
    assert world.ask("a") == ["run a for 3"]
    assert world.ask("b") == []
    assert world.waits_for(4) == "waits_for_memory"
    assert world.ended() == ["finish 3 completed", "run b for 4"]


def test_a_pool_is_booked_where_the_footprint_names_it(make_world):
    pools = {name: PoolBudget(budget_bytes=1000) for name in ("host", "cuda:0")}
    world = make_world(pools=pools)
    part = PoolFootprint(resident_bytes=600)
    world.model("a", footprint={"host": part, "cuda:0": PoolFootprint(resident_bytes=900)})
    world.model("b", footprint={"host": part})
    assert world.ask("a") == ["load a"]
    assert world.scheduler.reserved_bytes() == {"host": 600, "cuda:0": 900}
    assert world.ask("b") == []  # the host is too full; the device does not help
    world.quiesce()
    assert world.outcome(2) == "completed"


def test_overhead_and_the_room_for_payloads_are_booked_from_the_start(make_world):
    pools = {"unified": PoolBudget(budget_bytes=1000, overhead_bytes=100)}
    world = make_world(pools=pools, queue_bytes=50, queue_pool="unified")
    assert world.reserved == 150
    world.model("a", 850)
    world.model("b", 851)
    assert world.ask("b") == ["finish 1 rejected: never_fits"]
    assert world.ask("a") == ["load a"]


def test_what_the_machine_said_before_a_load_is_not_spent_twice(world):
    world.tell(MemorySampled("unified", 600))
    world.model("a", 400)
    world.model("b", 400)
    assert world.ask("a") == ["load a"]
    assert world.ask("b") == []  # of the 600 seen, 400 are gone though no newer sample says so
    assert world.waits_for(2) == "external_pressure"
    world.loaded("a")
    world.ended()
    world.unloaded("a")
    assert world.loaded("b") == ["run b for 2"]
    world.ended()
    world.check_rest("a")


def test_a_sample_taken_during_a_load_does_not_show_what_is_on_its_way(world):
    world.model("a", 400)
    world.model("b", 300)
    world.ask("a")
    world.tell(MemorySampled("unified", 600))
    assert world.ask("b") == []  # 600 less the 400 that are on their way
    world.tell(MemorySampled("unified", 700))
    assert world.count("load b") == 1


def test_a_machine_that_does_not_say_is_not_a_machine_with_nothing(world):
    world.model("a", 1000)
    world.tell(MemorySampled("unified", None, None))
    assert world.ask("a") == ["load a"]


def test_the_reserve_is_left_to_others(make_world):
    world = make_world(pools={"unified": PoolBudget(budget_bytes=1000, reserve_bytes=100)})
    world.model("a", 500)
    world.tell(MemorySampled("unified", 599))
    assert world.ask("a") == []
    assert world.tell(MemorySampled("unified", 600)) == ["load a"]


def test_another_process_that_takes_the_room_is_waited_for_and_no_held_engine_is_evicted(
    make_world,
):
    world = make_world(4000)
    world.model("a", 1000)
    world.model("b", 800)
    world.hold("a")
    world.loaded("a")
    world.tell(MemorySampled("unified", 600))
    assert world.ask("b") == []
    assert world.waits_for(2) == "external_pressure"
    assert world.states()["a"] == "ready"
    assert world.tell(MemorySampled("unified", 900)) == ["load b"]
    world.quiesce()
    world.check_rest("a")


def test_page_cache_does_not_refuse_the_reload_of_a_model_that_just_served(world):
    world.model("a", 600, keep_alive_ns=60_000_000_000)
    world.ask("a")
    world.quiesce()
    assert world.states() == {"a": "unloaded"}
    world.tell(MemorySampled("unified", 4000, 60))  # available counts the cache as there
    assert world.ask("a") == ["load a"]
    world.quiesce()
    world.check_rest("a")


def test_a_leased_engine_that_grows_is_followed_and_gives_all_of_it_back(world):
    world.model("a", 300, batch_max=8)
    world.model("b", 500)
    world.bring("a")
    for items, seen in ((1, 300), (2, 360), (8, 520)):
        world.ask("a", items=items)
        world.ended(measured={"a": {"unified": Measurement(seen)}})
        assert world.reserved == seen
    assert world.count("alarm a: under_declared") == 2
    assert world.ask("b") == ["unload a: make_room"]
    assert world.unloaded("a") == ["load b"]
    assert world.reserved == 500
    world.loaded("b")
    world.ended()
    world.check_rest("a")


def test_an_estimate_that_was_too_low_is_corrected_and_remembered_for_the_next_load(world):
    world.model("a", 200)
    world.model("b", 500)
    world.hold("a")
    said = world.loaded("a", {"unified": Measurement(600)})
    assert said == ["alarm a: under_declared", "hold a for 1"]
    assert world.reserved == 600
    assert world.ask("b") == []
    assert world.ended(1) == ["finish 1 completed", "unload a: make_room"]
    world.unloaded("a")
    world.quiesce()
    world.ask("a")
    world.quiesce()
    assert world.reserved == 600
    world.check_rest("b")


@pytest.mark.parametrize(
    "seen", [Measurement(-200), Measurement(1100, reliable=False), Measurement(0)]
)
def test_a_negative_or_absurd_measurement_does_not_reach_the_books(world, seen):
    world.model("a", 300)
    world.ask("a")
    assert world.loaded("a", {"unified": seen, "elsewhere": Measurement(5)}) == ["run a for 1"]
    assert world.reserved == 300
    world.ended()
    world.check_rest("a")


@pytest.mark.parametrize(
    ("trust", "seen", "booked"),
    [
        (Trust.DECLARED, 500, 300),
        (Trust.MEASURED, 500, 500),
        (Trust.MEASURED, 100, 100),
        (Trust.MAX, 500, 500),
        (Trust.MAX, 100, 300),
    ],
)
def test_trust_says_whether_the_declared_or_the_measured_bytes_count(
    make_world, trust, seen, booked
):
    world = make_world(trust=trust)
    world.model("a", 300)
    world.ask("a")
    world.loaded("a", {"unified": Measurement(seen)})
    assert world.reserved == booked


def test_constant_residue_is_booked_once_as_overhead_and_is_no_leak(world):
    world.model("a", 300)
    world.bring("a")
    world.unload("a")
    assert world.unloaded("a", {"unified": Measurement(120)}) == ["finish 2 completed"]
    assert world.reserved == 120
    world.bring("a")
    world.unload("a")
    assert world.unloaded("a", {"unified": Measurement(0)}) == ["finish 4 completed"]
    assert world.reserved == 120
    assert world.count("alarm") == 0
    world.check_rest("a")


def test_what_two_models_left_behind_is_booked_for_both(world):
    for name, left in (("a", 120), ("b", 50)):
        world.model(name, 300)
        world.bring(name)
        world.unload(name)
        world.unloaded(name, {"unified": Measurement(left)})
    assert world.reserved == 170


def test_residue_that_grows_with_every_cycle_is_a_leak_and_stays_booked(world):
    world.model("a", 300)
    for cycle in range(1, 6):
        world.bring("a")
        world.unload("a")
        world.unloaded("a", {"unified": Measurement(30), "elsewhere": Measurement(9)})
        assert world.reserved == 30 * cycle
    assert world.count("alarm a: leak") == 4
    world.check_rest("a")


def test_unreliable_residue_is_not_booked(world):
    world.model("a", 300)
    world.bring("a")
    world.unload("a")
    world.unloaded("a", {"unified": Measurement(120, reliable=False)})
    assert world.reserved == 0


def test_residue_counts_against_what_can_ever_fit(world):
    world.model("a", 100)
    world.model("b", 950)
    world.bring("a")
    world.unload("a")
    world.unloaded("a", {"unified": Measurement(60)})
    assert world.ask("b") == ["finish 3 rejected: never_fits"]


def test_a_budget_that_shrinks_is_answered_by_unloading_what_is_idle(world):
    world.model("a", 400)
    world.model("b", 400)
    world.bring("a", "b")
    world.at(1)
    world.ask("b")
    world.ended()
    assert world.tell(BudgetChanged("unified", 799)) == ["unload a: over_budget"]
    assert world.unloaded("a") == []
    world.check_rest("b")


def test_an_overdraft_that_no_unload_can_cover_still_unloads_all_that_is_idle(world):
    world.model("a", 300)
    world.model("b", 300)
    world.model("c", 300, pinned=True)
    world.loaded("c")
    world.bring("a", "b")
    said = world.tell(BudgetChanged("unified", 100))
    assert said == ["unload a: over_budget", "unload b: over_budget"]
    assert world.states()["c"] == "ready"  # pinned


def test_over_budget_the_engine_that_is_leased_goes_as_soon_as_its_work_has_stopped(world):
    world.model("a", 600)
    world.ask("a")
    world.loaded("a")
    assert world.tell(BudgetChanged("unified", 500)) == []
    assert world.ended() == ["finish 1 completed", "unload a: over_budget"]
    assert world.ask("a") == ["finish 2 rejected: never_fits"]
    world.unloaded("a")
    world.tell(BudgetChanged("unified", 700))
    world.check_rest("a")


def test_unloads_under_way_count_before_another_engine_is_sacrificed(world):
    world.model("a", 500)
    world.model("b", 500)
    world.bring("a", "b")
    world.unload("a")
    assert world.tell(BudgetChanged("unified", 600)) == []
    world.unloaded("a")
    assert world.states()["b"] == "ready"


def test_the_books_of_a_run_outlive_the_lease_it_was_under(world):
    world.model("a", 300, workspace=100, per_item=50)
    world.hold("a")
    world.loaded("a")
    world.ask("a", under_lease=1, items=2)
    assert world.reserved == 450
    world.ended(1)  # the holder lets go; the thread is still inside `infer`
    assert world.reserved == 450
    world.ended(2)
    assert world.reserved == 300
    world.check_rest("a")


def test_a_pool_over_its_budget_sends_nobody_away_who_has_nothing_of_it(make_world):
    """What is pinned there stays, and to send away the others would not help."""
    world = make_world(pools={p: PoolBudget(budget_bytes=1000) for p in ("unified", "cuda:0")})
    world.model("p", footprint={"cuda:0": PoolFootprint(resident_bytes=400)}, pinned=True)
    world.loaded("p")
    world.model("a", 300)
    world.bring("a")
    assert world.tell(BudgetChanged("cuda:0", 100)) == []
    assert world.ask("a") == ["run a for 2"]
    world.ended()
    world.check_rest("a")
