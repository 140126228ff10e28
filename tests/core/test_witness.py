"""Who listens while room is made hears what was weighed, and changes nothing."""

from __future__ import annotations

import pytest

from scheduler.core.witness import Rule

S = 1_000_000_000


class Listener:
    """Keeps what it was told: who was spared by which rule, and what was chosen from."""

    def __init__(self):
        self.spares = []
        self.choices = []
        self.waits = []

    def spared(self, who, engine, rule):
        self.spares.append((who.engines[0].name, engine.name, rule))

    def weighed(self, who, candidates, deficits, rivals, chosen):
        assert deficits or rivals
        self.choices.append((who.engines[0].name, [c.model for c in candidates], chosen))

    def deferred(self, who, better):
        self.waits.append((who.engines[0].name, better))


@pytest.fixture
def heard(world):
    """The twin without fast paths has no witness: it deciding the same shows that none matters."""
    listener = Listener()
    world.scheduler._state.witness = listener
    return listener


def test_it_hears_of_whom_was_chosen_and_who_was_spared(world, heard):
    world.model("pinned", 300, pinned=True)
    world.loaded("pinned")
    world.model("young", 200, min_residency_ns=60 * S)
    world.model("old", 400)
    world.bring("young", "old")
    world.model("new", 400)
    assert world.ask("new") == ["unload old: make_room"]
    assert heard.choices == [("new", ["old"], ("old",))]
    assert heard.spares == [
        ("new", "pinned", Rule.PINNED),
        ("new", "young", Rule.JUST_LOADED),
    ]


def test_each_look_that_does_not_suffice_is_told(world, heard):
    world.model("held", 600)
    world.hold("held", priority=60)
    world.loaded("held")
    world.model("new", 500)
    assert world.ask("new") == []
    assert heard.choices[:3] == [("new", [], None)] * 3  # idle, running, held: nobody
    assert world.ask("new", priority=70)[0] == "revoke 1: higher_priority"
    assert heard.choices[-1] == ("new", ["held"], ("held",))


def test_it_hears_of_nothing_where_nobody_has_to_go(world, heard):
    world.model("a", 300)
    world.ask("a")
    world.loaded("a")
    world.ended()
    assert heard.choices == heard.spares == []


def test_it_hears_for_whom_a_patient_claimant_waits_instead(world, heard):
    world.model("dear", 500, priority=90)
    world.model("cheap", 500, priority=0)
    world.model("new", 500)
    world.bring("dear")
    world.ask("cheap")
    assert world.ask("new") == []
    assert heard.waits[-1] == ("new", ("cheap",))
    assert heard.choices[0] == ("new", ["dear"], ("dear",))


def test_it_hears_of_engines_that_others_queue_for(world, heard):
    world.model("busy", 600)
    world.ask("busy")
    world.loaded("busy")
    world.ask("busy")
    world.model("new", 600)
    assert world.ask("new", deadline=10_000) == []
    assert heard.spares[-1] == ("new", "busy", Rule.HAS_CUSTOMERS)
