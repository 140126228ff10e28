"""Several requests in one run."""

from __future__ import annotations

from scheduler.core.events import BudgetChanged
from scheduler.core.outcome import Outcome
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
    world.at(100)
    world.ask("a", deadline=40)
    assert world.at(120 - TICK) == []
    assert world.at(120) == ["run a for 2"]


def test_a_batch_that_memory_limits_does_not_wait_for_company(world):
    world.model("a", 100, workspace=100, per_item=300, batch_max=2, batch_wait_ns=5_000_000)
    world.model("other", 700)
    world.bring("a", "other")
    assert world.ask("a") == []
    assert world.ask("a") == ["run a for 3"]


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


# -- what failed for memory -----------------------------------------------------------------------


def fail(world):
    """The one run there is ends for lack of memory."""
    return world.ended(outcome=Outcome.FAILED, error="no room", out_of_memory=True)


def limit(world):
    return world.scheduler.snapshot().engines[0].batch_limit


def test_a_batch_that_fails_for_memory_is_tried_again_in_halves(world):
    busy(world, batch_max=8)
    for _ in range(8):
        world.ask("a")
    assert world.ended()[-1] == "run a for 3,4,5,6,7,8,9,10"
    assert fail(world) == ["alarm a: batch_halved", "run a for 3,4,5,6"]
    assert limit(world) == 4
    assert fail(world) == ["alarm a: batch_halved", "run a for 3,4"]
    assert world.ended()[-1] == "run a for 5,6"
    assert fail(world) == ["alarm a: batch_halved", "run a for 5"]
    assert fail(world) == ["finish 5 failed: out_of_memory", "run a for 6"]
    world.quiesce()
    assert [world.outcome(n) for n in range(3, 11)] == [
        *["completed"] * 2,
        "failed: out_of_memory",
        *["completed"] * 5,
    ]
    world.check_rest("a")


def test_a_request_of_several_items_cannot_be_divided_but_the_next_batch_is_smaller(world):
    busy(world, batch_max=8)
    world.ask("a", items=6)
    world.ended()
    assert fail(world) == ["alarm a: batch_halved", "finish 3 failed: out_of_memory"]
    assert limit(world) == 3
    world.ask("a", items=6)
    fail(world)
    assert limit(world) == 1


def test_a_batch_that_was_halved_grows_by_one_after_sixteen_good_runs(world):
    busy(world, batch_max=4)
    for _ in range(4):
        world.ask("a")
    world.ended()
    fail(world)
    world.ended()
    world.ended()
    for good in range(3, 16):
        assert limit(world) == 2, good
        world.ask("a")
        world.ended()
    world.ask("a")
    world.ended(outcome=Outcome.FAILED, error="bad frame")
    assert limit(world) == 2
    world.ask("a")
    world.ended()
    assert limit(world) == 3
    for _ in range(16):
        world.ask("a")
        world.ended()
    assert limit(world) is None


def test_a_failure_for_memory_starts_the_count_again(world):
    world.model("a", 100, batch_max=8)
    world.bring("a")
    world.ask("a", items=4)
    fail(world)
    for _ in range(15):
        world.ask("a")
        world.ended()
    world.ask("a", items=2)
    fail(world)
    for good in range(16):
        assert limit(world) == 1, good
        world.ask("a")
        world.ended()
    assert limit(world) == 2


def test_who_left_the_batch_meanwhile_does_not_come_back(world):
    busy(world, batch_max=4)
    for _ in range(3):
        world.ask("a")
    world.ended()
    world.cancel(4)
    assert fail(world) == ["alarm a: batch_halved", "run a for 3"]
    world.quiesce()
    assert world.outcome(4) == "cancelled: caller_cancelled"
    assert world.outcome(5) == "completed"
    world.check_rest("a")


def test_a_batch_whose_engine_has_to_go_is_not_tried_again(world):
    busy(world, batch_max=4)
    for _ in range(2):
        world.ask("a")
    world.ended()
    world.switch("m", disable=("a",))
    assert fail(world)[:3] == [
        "alarm a: batch_halved",
        "finish 3 failed: out_of_memory",
        "finish 4 failed: out_of_memory",
    ]


def test_a_batch_that_was_called_off_is_not_tried_again(world):
    busy(world, batch_max=4, run_timeout_ns=1_000_000_000)
    for _ in range(2):
        world.ask("a")
    world.ended()
    world.at(1000)
    assert world.outcome(3) == "failed: run_timeout"
    assert fail(world)[0] == "alarm a: batch_halved"
    assert world.outcome(3) == "failed: run_timeout"


def test_who_is_tried_again_keeps_its_place_and_its_age(make_world):
    world = make_world(ageing_ns=700_000_000)
    busy(world, batch_max=2, max_wait_ns=500_000_000)
    for _ in range(2):
        world.ask("a")
    world.at(600)
    world.ended()
    assert fail(world)[-1] == "run a for 3"
    world.ask("a", deadline=100)
    assert world.ended()[-1] == "run a for 4", "it was overdue before, and still is"


def test_who_is_tried_again_ages_from_when_it_came(make_world):
    world = make_world(ageing_ns=700_000_000)
    busy(world, batch_max=2)
    for _ in range(2):
        world.ask("a")
    world.at(500)
    world.ended()
    fail(world)
    world.at(699)
    assert [w.priority for w in world.scheduler.snapshot().waiting] == [50]
    world.at(700)
    assert [w.priority for w in world.scheduler.snapshot().waiting] == [99]


def test_who_has_waited_longest_is_overdue_at_once_when_tried_again(make_world):
    world = make_world(ageing_ns=None)
    busy(world, batch_max=3, max_wait_ns=500_000_000)
    for _ in range(3):
        world.ask("a")
    world.ended()
    world.at(600)
    assert fail(world)[-1] == "run a for 3"
    world.ask("a", deadline=100)
    assert world.ended()[-1] == "run a for 4"


def test_who_is_tried_again_still_has_its_deadline(world):
    busy(world, batch_max=2)
    world.ask("a", deadline=500)
    world.ask("a", deadline=500)
    world.ended()
    world.at(400)
    assert fail(world)[-1] == "run a for 3"
    world.at(500)
    assert world.outcome(3) == world.outcome(4) == "deadline_missed: deadline_passed"


def test_the_budget_says_how_large_a_batch_can_be_so_nobody_waits_for_more(world):
    world.model("pin", 400, pinned=True)
    world.loaded("pin")
    world.model("a", 100, workspace=50, per_item=100, batch_max=16, batch_wait_ns=5_000_000)
    world.bring("a")
    for _ in range(4):
        assert world.ask("a") == []
    assert world.waits_for(2) == "waits_for_batch"
    assert world.ask("a") == ["run a for 2,3,4,5,6"]  # 400 + 100 + 50 + 4 * 100 of 1000
    world.quiesce()
    world.tell(BudgetChanged("unified", 650))
    world.ask("a")
    assert world.ask("a") == ["run a for 7,8"]


def test_a_model_whose_first_item_just_fits_runs_alone(world):
    world.model("a", 900, workspace=100, per_item=500, batch_max=16, batch_wait_ns=5_000_000)
    world.bring("a")
    assert world.ask("a") == ["run a for 2"]
