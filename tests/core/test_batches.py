"""Several requests in one run."""

from __future__ import annotations

from scheduler.core.request import RequestKind

TICK = 1e-6


def busy(world, **rules):
    """A model that is running, so that what comes now waits."""
    world.model("a", 100, **rules)
    world.bring("a")
    world.ask("a", priority=99)


def test_those_who_wait_for_one_engine_run_together_up_to_the_maximum(world):
    busy(world, batch_max=3)
    for _ in range(4):
        world.ask("a")
    assert world.ended() == ["finish 2 completed", "run a for 3,4,5"]
    assert world.ended() == [*(f"finish {i} completed" for i in (3, 4, 5)), "run a for 6"]
    world.ended()
    world.check_rest("a")


def test_items_count_and_the_first_that_does_not_fit_ends_the_batch(world):
    busy(world, batch_max=4)
    for items in (2, 2, 1):
        world.ask("a", items=items)
    assert world.ended() == ["finish 2 completed", "run a for 3,4"]
    assert world.ended()[-1] == "run a for 5"
    world.ask("a", items=3)
    world.ask("a", items=2)
    assert world.ended()[-1] == "run a for 6"


def test_a_batch_is_bounded_by_the_memory_there_is(world):
    world.model("b", 700)
    world.hold("b")
    world.loaded("b")
    world.model("a", 100, workspace=50, per_item=50, batch_max=8)
    world.load("a")
    world.loaded("a")
    world.ask("a")
    for _ in range(5):
        world.ask("a")
    assert world.ended(2)[-1] == "run a for 4,5,6,7"  # 200 are left: 50 and three times 50
    world.quiesce()


def test_a_batch_waits_for_company_and_no_longer_than_it_may(world):
    world.model("a", batch_max=2, batch_wait_ns=5_000_000)
    world.bring("a")
    assert world.ask("a") == []
    assert world.waits_for(2) == "waits_for_batch"
    assert world.at(5 - TICK) == []
    assert world.at(5) == ["run a for 2"]


def test_a_batch_that_is_full_does_not_wait(world):
    world.model("a", batch_max=2, batch_wait_ns=5_000_000)
    world.bring("a")
    world.ask("a")
    assert world.ask("a") == ["run a for 2,3"]


def test_waiting_for_company_never_costs_more_than_half_of_the_time_there_is(world):
    world.model("a", batch_max=2, batch_wait_ns=50_000_000)
    world.bring("a")
    world.ask("a", deadline=40)
    assert world.at(20 - TICK) == []
    assert world.at(20) == ["run a for 2"]


def test_a_batch_that_memory_limits_does_not_wait_for_company(world):
    world.model("a", 100, workspace=100, per_item=900, batch_max=2, batch_wait_ns=5_000_000)
    world.bring("a")
    world.ask("a")
    assert world.ask("a") == ["run a for 2"]


def test_who_waits_for_company_keeps_its_claim_on_the_memory(world):
    world.model("a", 100, workspace=300, batch_max=2, batch_wait_ns=5_000_000)
    world.model("b", 700)
    world.bring("a")
    world.ask("a")
    assert world.ask("b") == []
    assert world.at(5) == ["run a for 2"]


def test_a_hold_and_a_load_are_not_part_of_a_batch(world):
    busy(world, batch_max=4)
    world.ask("a")
    world.hold("a")
    world.ask("a")
    assert world.ended() == ["finish 2 completed", "run a for 3"]
    assert world.ended() == ["finish 3 completed", "hold a for 4"]
    world.ask("a", kind=RequestKind.LOAD, priority=99)
    assert world.ended() == ["finish 4 completed", "run a for 5"]


def test_a_hold_does_not_wait_for_company(world):
    world.model("a", batch_max=4, batch_wait_ns=5_000_000)
    world.bring("a")
    assert world.hold("a") == ["hold a for 2"]


def test_one_request_of_more_items_than_a_batch_runs_alone(world):
    busy(world, batch_max=2)
    world.ask("a", items=5)
    world.ask("a")
    assert world.ended() == ["finish 2 completed", "run a for 3"]


def test_one_of_a_batch_can_go_while_the_others_run_on(world):
    busy(world, batch_max=2)
    world.ask("a")
    world.ask("a")
    world.ended()
    assert world.cancel(3) == ["finish 3 cancelled: caller_cancelled"]
    assert world.ended() == ["finish 4 completed"]
    world.check_rest("a")


def test_the_memory_of_who_waits_for_company_is_not_lent_to_others(world):
    """What the run of `other` will give back is no good to it: it may come later than the batch."""
    world.model("other", 100, workspace=100)
    world.ask("other")
    world.loaded("other")
    world.model("a", 400, workspace=100, batch_max=4, batch_wait_ns=50_000_000, max_wait_ns=0)
    world.bring("a")
    world.ask("a")
    assert world.waits_for(3) == "waits_for_batch"
    world.model("large", 350)
    assert world.ask("large") == []
    assert world.at(50) == ["run a for 3"]
    assert world.ended(1) == ["finish 1 completed", "load large"]
