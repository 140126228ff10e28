"""The end: everybody is answered and nothing stays in memory."""

from __future__ import annotations

from scheduler.core.events import DrainRequested, EngineLoaded, PinChanged

MS = 1_000_000


def test_who_waits_is_refused_what_runs_is_let_run_and_all_is_unloaded(world):
    world.model("a", 300)
    world.model("b", 300)
    world.model("p", 300, pinned=True)
    world.loaded("p")
    world.ask("a")
    world.loaded("a")
    world.ask("a")
    world.bring("b")
    assert world.tell(DrainRequested()) == [
        "finish 2 rejected: shutting_down",
        "unload b: shutting_down",
        "unload p: shutting_down",
    ]
    assert world.ask("a") == ["finish 4 rejected: shutting_down"]
    assert world.ended() == ["finish 1 completed", "unload a: shutting_down"]
    world.quiesce()
    assert set(world.states().values()) == {"unloaded"}
    assert world.reserved == 0


def test_a_load_under_way_is_let_finish_and_then_undone(world):
    world.model("a")
    world.ask("a")
    assert world.tell(DrainRequested()) == ["finish 1 rejected: shutting_down"]
    assert world.loaded("a") == ["unload a: shutting_down"]
    world.unloaded("a")
    assert world.reserved == 0


def test_held_leases_are_asked_for_and_their_engines_go_when_they_are_let_go(world):
    world.model("a")
    world.hold("a")
    world.loaded("a")
    world.ask("a", under_lease=1)
    world.ask("a", under_lease=1)
    assert world.tell(DrainRequested()) == [
        "finish 3 rejected: shutting_down",
        "revoke 1: shutting_down",
        "finish 1 preempted: shutting_down",
    ]
    assert world.ended(1) == []
    assert world.ended(2) == ["finish 2 completed", "unload a: shutting_down"]


def test_at_its_deadline_those_who_still_run_are_answered_as_well(world):
    world.model("a")
    world.ask("a")
    world.loaded("a")
    world.tell(DrainRequested(5000 * MS))
    assert world.at(4999) == []
    assert world.at(5000) == ["finish 1 failed: shutting_down", "revoke 1: shutting_down"]
    assert world.ended(1) == ["unload a: shutting_down"]
    world.unloaded("a")
    assert world.reserved == 0


def test_a_second_word_to_stop_changes_nothing_but_the_deadline(world):
    world.model("a")
    world.ask("a")
    world.loaded("a")
    world.tell(DrainRequested())
    assert world.tell(DrainRequested()) == []
    said = world.tell(DrainRequested(world.now))
    assert said == ["finish 1 failed: shutting_down", "revoke 1: shutting_down"]


def test_nothing_is_loaded_any_more_not_even_what_is_pinned(world):
    world.model("a", pinned=True)
    world.loaded("a")
    world.tell(DrainRequested())
    world.unloaded("a")
    assert world.tell(PinChanged("a", True)) == []
    assert world.model("b", pinned=True) == []
    assert world.tell(EngineLoaded("a", 1)) == []
    assert set(world.states().values()) == {"unloaded"}
