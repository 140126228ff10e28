"""What is refused for good, with a reason a person can act on."""

from __future__ import annotations

import pytest

from scheduler.core.admission import never
from scheduler.core.events import (
    BudgetChanged,
    DrainRequested,
    LeaseEnded,
    Measurement,
    MemorySampled,
    ModelRegistered,
    PinChanged,
)
from scheduler.core.model import ModelSpec, PoolFootprint
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.settings import PoolBudget, Settings


def spec(name, resident, **rules):
    part = PoolFootprint(resident_bytes=resident, **rules.pop("part", {}))
    return ModelSpec(name=name, footprint={"unified": part}, **rules)


def declared(*specs, items=1):
    settings = Settings(
        pools={"unified": PoolBudget(budget_bytes=1000, overhead_bytes=100)}, resources={"gpu": 1}
    )
    return never(specs[0], {s.name: s for s in specs}, settings, items)


def test_what_fits_beside_the_pinned_is_admitted_to_the_last_byte():
    pinned = spec("slam", 400, pinned=True)
    assert declared(spec("a", 500), pinned) is None
    assert declared(spec("a", 501), pinned).code is ReasonCode.NEVER_FITS
    assert declared(pinned, spec("a", 900)) is None


def test_the_sentence_names_the_need_the_budget_and_who_has_the_rest():
    reason = declared(spec("segmenter", 600), spec("slam", 400, pinned=True))
    assert str(reason) == (
        "segmenter never fits: needs 600 B, budget of unified is 900 B less 400 B pinned by slam; "
        "short by 100 B"
    )
    assert "pinned" not in str(declared(spec("a", 901)))


@pytest.mark.parametrize(
    ("part", "items", "fits"),
    [
        ({"load_peak_bytes": 900}, 1, True),
        ({"load_peak_bytes": 901}, 1, False),
        ({"workspace_bytes": 400}, 1, True),
        ({"workspace_bytes": 401}, 1, False),
        ({"workspace_bytes": 200, "per_item_bytes": 100}, 3, True),
        ({"workspace_bytes": 200, "per_item_bytes": 100}, 4, False),
    ],
)
def test_peak_workspace_and_items_count(part, items, fits):
    assert (declared(spec("a", 500, part=part), items=items) is None) == fits


def test_a_pinned_member_of_its_group_keeps_a_model_out_for_good():
    other = spec("b", 1, pinned=True, exclusive=frozenset({"h", "g"}))
    reason = declared(spec("a", 1, exclusive=frozenset({"g"})), other)
    assert reason.code is ReasonCode.EXCLUDED_BY_PIN
    assert "exclusive group g" in str(reason)
    assert declared(spec("a", 1, exclusive=frozenset({"x"})), other) is None


def test_more_units_than_there_are_is_never():
    assert declared(spec("a", 1, uses={"gpu": 1})) is None
    reason = declared(spec("a", 1, uses={"gpu": 2}))
    assert reason.code is ReasonCode.NEVER_ENOUGH_UNITS
    unknown = declared(spec("a", 1, uses={"npu": 1}))
    assert unknown.code is ReasonCode.NEVER_ENOUGH_UNITS
    assert "npu: 0" in str(unknown)


def test_a_reason_without_a_sentence_shows_its_code():
    assert str(Reason(ReasonCode.LEAK)) == "leak"


def test_the_core_refuses_at_the_door_what_the_declaration_forbids(make_world):
    world = make_world(resources={"gpu": 1})
    world.model("a", 600, uses={"gpu": 2})
    world.model("b", 600, per_item=100)
    world.model("c", 600)
    assert world.ask("a") == ["finish 1 rejected: never_enough_units"]
    assert world.ask("b", items=6) == ["finish 2 rejected: never_fits"]
    assert world.hold("b", "c") == ["finish 3 rejected: never_fits"]
    assert world.ask("b", items=5) == ["load b"]


def test_two_of_one_exclusive_group_are_never_leased_together(world):
    world.model("a", exclusive="g")
    world.model("b", exclusive="g")
    assert world.hold("a", "b") == ["finish 1 rejected: never_fits"]
    assert "exclusive group g" in str(world.outcomes[1].reason)


def test_a_pin_made_while_somebody_waits_ends_what_can_never_come_now(world):
    world.model("a", 500)
    world.model("b", 600)
    world.model("c", 1)
    world.bring("a")
    world.hold("a")
    world.ask("b")
    assert world.tell(PinChanged("a", True)) == ["finish 3 rejected: never_fits"]
    world.tell(PinChanged("a", False))
    world.ended(1)
    world.check_rest("b")


def test_a_pinned_rival_keeps_out_a_model_that_would_fit_beside_it(world):
    world.model("a", exclusive="g", pinned=True)
    world.model("b", exclusive="g")
    assert world.ask("b") == ["finish 1 rejected: excluded_by_pin"]


def test_a_budget_that_grows_admits_what_was_refused(world):
    world.model("a", 1200)
    assert world.ask("a") == ["finish 1 rejected: never_fits"]
    world.tell(BudgetChanged("unified", 1200))
    assert world.ask("a") == ["load a"]


def test_a_measurement_can_show_that_something_never_fits_beside_a_pin(world):
    world.model("a", 300, pinned=True)
    world.model("b", 600)
    world.loaded("a", {"unified": Measurement(500)})
    assert world.ask("b") == ["finish 1 rejected: never_fits"]


def test_unknown_memory_of_the_machine_refuses_nothing_for_good(world):
    world.model("a", 900)
    world.tell(MemorySampled("unified", 100))
    assert world.ask("a") == []
    assert world.waits_for(1) == "external_pressure"
    assert world.tell(MemorySampled("unified", None)) == ["load a"]


def test_a_model_is_registered_once_and_in_pools_that_exist(world):
    world.model("a")
    with pytest.raises(ValueError, match="registered already"):
        world.model("a")
    elsewhere = ModelSpec(name="b", footprint={"cuda:0": PoolFootprint(resident_bytes=1)})
    with pytest.raises(ValueError, match="no memory pool 'cuda:0'"):
        world.scheduler.handle(ModelRegistered(elsewhere), world.now)
    assert world.states() == {"a": "unloaded"}


def test_what_is_no_event_is_refused_and_time_never_runs_backwards(world):
    with pytest.raises(TypeError, match="not an event"):
        world.scheduler.handle("hello", 0)
    world.at(10)
    with pytest.raises(AssertionError, match="backwards"):
        world.scheduler.handle(LeaseEnded(1), 0)


def test_whoever_comes_after_the_end_is_told_so(world):
    world.model("a")
    world.tell(DrainRequested())
    assert world.ask("a") == ["finish 1 rejected: shutting_down"]
