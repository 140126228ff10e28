"""The policies to compare with: `fifo`, and the `lock` that people write by hand."""

from __future__ import annotations

S = 1_000_000_000


def test_fifo_serves_by_arrival_whatever_is_important_or_due(make_world):
    world = make_world(policy="fifo", ageing_ns=S)
    world.model("a", max_wait_ns=S)
    world.ask("a")
    world.ask("a", priority=0)
    world.ask("a", priority=90)
    world.ask("a", priority=50, deadline=60_000)
    world.at(3000)
    world.loaded("a")
    for request_id in (1, 2, 3, 4):
        assert request_id in world.granted_ms
        world.ended()


def test_fifo_and_lock_let_deadlines_pass_where_rota_refuses(make_world):
    ended = {}
    for policy in ("rota", "fifo", "lock"):
        world = make_world(policy=policy)
        world.pace = (300, 20, 10)
        world.model("a", 600)
        world.model("b", 600)
        world.load("a")
        world.at(1000)
        world.load("b")
        world.at(2000)
        world.ask("a", deadline=100)
        world.at(2200)
        ended[policy] = (world.outcome(3), world.finished_ms[3])
        world.at(5000)
        world.check_rest("b")
    assert ended["rota"] == ("deadline_missed: deadline_unreachable", 2000)
    assert ended["fifo"] == ended["lock"] == ("deadline_missed: deadline_passed", 2100)


def test_fifo_lets_nobody_be_served_first_before_it_swaps(make_world):
    world = make_world(policy="fifo")
    world.model("a", 600)
    world.model("b", 600)
    world.ask("a")
    world.loaded("a")
    world.ask("b")
    world.ask("a")
    assert world.ended() == ["finish 1 completed", "unload a: make_room"]


def test_fifo_and_lock_load_nothing_ahead(make_world):
    for policy, again in (("rota", 2), ("fifo", 1), ("lock", 1)):
        world = make_world(policy=policy)
        world.pace = (300, 20, 10)
        world.model("a", 600, deadline_ns=S // 10)
        world.model("b", 600)
        world.load("a")
        for ms in (1000, 2000, 3000, 4000):
            world.at(ms)
            world.ask("a")
        world.at(4100)
        world.ask("b")
        world.at(4990)
        assert world.count("load a") == again, policy


def test_with_a_lock_one_engine_is_in_memory_at_a_time_though_all_would_fit(make_world):
    world = make_world(policy="lock")
    world.pace = (50, 5, 5)
    for name in "abc":
        world.model(name, 100)
    for i in range(30):
        world.later(7 * i, lambda i=i: world.ask("abc"[i % 3]))
    for ms in range(0, 3000, 5):
        world.at(ms)
        assert sum(state != "unloaded" for state in world.states().values()) <= 1
    world.at(20_000)
    assert all(world.outcome(i) == "completed" for i in range(1, 31))
    world.check_rest("a")


def test_with_a_lock_who_finds_another_there_sleeps_for_100_ms(make_world):
    world = make_world(policy="lock")
    world.model("a")
    world.model("b")
    world.ask("a")
    world.loaded("a")
    world.ask("b")
    world.at(11)
    assert world.ended() == ["finish 1 completed"]
    assert world.at(99) == []
    assert world.at(100) == ["unload a: make_room"]
    assert world.wakeups < 5


def test_with_a_lock_a_lease_on_two_engines_has_both_and_nothing_else(make_world):
    world = make_world(policy="lock")
    world.model("a")
    world.model("b")
    world.model("c")
    world.bring("a")
    assert world.hold("a", "b") == ["load b"]  # they are no rivals of each other
    assert world.loaded("b") == ["hold a+b for 2"]
    world.ask("c")
    world.at(1000)
    assert world.states()["c"] == "unloaded"
    world.ended()
    world.quiesce()
    world.check_rest("a")


def test_what_is_pinned_stays_beside_the_one_with_a_lock(make_world):
    world = make_world(policy="lock")
    world.model("pinned", pinned=True)
    world.loaded("pinned")
    world.model("a")
    assert world.ask("a") == ["load a"]


def test_with_a_lock_who_came_first_is_not_kept_out_by_the_engines_of_a_later_lease(make_world):
    world = make_world(policy="lock")
    for name in "abc":
        world.model(name)
    world.bring("b")
    world.ask("a")
    world.hold("b", "c")
    assert world.states() == {"a": "unloaded", "b": "unloading", "c": "unloaded"}
    assert world.unloaded("b") == ["load a"]
    world.quiesce()
    assert world.granted_ms.keys() >= {2, 3}
    world.check_rest("b")
