"""Models in several forms: variants, and devices to choose from."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from scheduler.config import Model
from scheduler.config.check import check
from scheduler.config.device import places
from scheduler.core.model import Form, PoolFootprint

GIB = 1024**3
MIB = 1024**2
POOLS = (
    'memory: {pools: {host: {budget: 1GiB}, "cuda:0": {budget: 1GiB}, "cuda:1": {budget: 2GiB}}}'
)
ECHO = "engine: 'echo_engine:Echo'"


def one(load, text: str, memory: str = "memory: {budget: 1GiB}"):
    return load(f"{memory}\nscheduling: {{queue_bytes: none}}\nmodels:\n  a: {{{ECHO}, {text}}}\n")


def forms(config) -> list[str]:
    return [
        f"{form}: "
        + ", ".join(f"{p} {part.resident_bytes // MIB}" for p, part in form.footprint.items())
        for form in config.models["a"].to_spec("host").forms
    ]


def told(config, machine=None) -> tuple[list[str], list[str]]:
    found = check(config, machine or {"unified": 8 * GIB})
    return [f.text for f in found if f.fatal], [f.text for f in found if not f.fatal]


# -- variants ---------------------------------------------------------------------------------


def test_a_model_without_variants_has_one_form_without_a_name():
    (form,) = Model(name="a", footprint=5).to_spec().forms
    assert form == Form(footprint={"unified": PoolFootprint(resident_bytes=5)})


def test_variants_come_after_the_model_as_it_is_described():
    model = Model(name="a", footprint=5, variants=[{"name": "int8", "footprint": 3}])
    assert [(f.variant, f.footprint["unified"].resident_bytes) for f in model.forms()] == [
        ("default", 5),
        ("int8", 3),
    ]
    assert [str(form) for form in model.model_copy(update={"variant": "fp16"}).forms()] == [
        "fp16",
        "int8",
    ]


def test_two_variants_of_one_name_are_refused_in_a_program_too():
    with pytest.raises(ValidationError, match='"x" names two forms'):
        Model(name="a", footprint=5, variant="x", variants=[{"name": "x", "footprint": 3}])


def test_a_variant_takes_what_it_does_not_say_from_its_model(load):
    config = one(
        load,
        "footprint: 40MiB, options: {threads: 2, label: big}, variants: ["
        "{name: b, footprint: 20MiB, options: {label: small}},"
        "{name: c, footprint: 10MiB, engine: synthetic, options: {infer: 3ms}}]",
    )
    first, second, third = config.models["a"].every_variant()
    assert (first.options.threads, first.options.label) == (2, "big")
    assert (second.options.threads, second.options.label) == (2, "small")
    assert (third.engine, third.options.infer) == ("synthetic", 3_000_000)


def test_options_in_a_program_are_merged_too():
    model = Model(
        name="a",
        engine="e",
        footprint=5,
        options={"x": 1, "y": 2},
        variants=[
            {"name": "b", "footprint": 3, "options": {"y": 3}},
            {"name": "c", "footprint": 3, "engine": "f", "options": {"y": 3}},
        ],
    )
    assert [dict(variant.options) for variant in model.every_variant()] == [
        {"x": 1, "y": 2},
        {"x": 1, "y": 3},
        {"y": 3},
    ]


def test_a_model_as_one_of_its_variants_has_no_better_ones():
    model = Model(
        name="a",
        engine="e",
        footprint=5,
        variants=[{"name": "b", "footprint": 3}, {"name": "c", "footprint": 2}],
    )
    as_b = model.as_variant("b")
    assert [(f.variant, f.footprint["unified"].resident_bytes) for f in as_b.forms()] == [
        ("b", 3),
        ("c", 2),
    ]
    assert as_b.as_variant("c").forms() == Model(name="a", footprint=2).forms()


def test_on_one_memory_the_parts_of_a_variant_are_added_too(load):
    text = "footprint: 900MiB, variants: [{name: b, footprint: {host: 10MiB, 'cuda:0': 20MiB}}]"
    assert forms(one(load, text)) == ["default: unified 900", "b: unified 30"]


# -- devices ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        (None, ("host",)),
        ("cuda:1", ("cuda:1",)),
        ("cuda", ("cuda:0", "cuda:1")),
        (("cuda:1", "host"), ("cuda:1", "host")),
        (("cuda", "cuda:0"), ("cuda:0", "cuda:1")),
        ("dla", ("dla",)),
    ],
)
def test_a_device_is_a_pool_a_family_or_a_list(device, wanted):
    assert places(device, ("host", "cuda:0", "cuda:1")) == wanted


def test_a_pool_that_is_called_like_a_family_is_itself():
    assert places("cuda", ("cuda", "cuda:0")) == ("cuda",)


def test_a_model_with_a_choice_of_devices_has_a_form_on_each(load):
    config = one(load, "footprint: 40MiB, device: cuda", POOLS)
    assert config.models["a"].device == ("cuda:0", "cuda:1")
    assert forms(config) == ["cuda:0: cuda:0 40", "cuda:1: cuda:1 40"]


def test_variants_and_devices_are_crossed_the_best_variant_first(load):
    text = "footprint: 40MiB, device: ['cuda:1', 'cuda:0'], variants: [{name: b, footprint: 20MiB}]"
    assert forms(one(load, text, POOLS)) == [
        "default on cuda:1: cuda:1 40",
        "default on cuda:0: cuda:0 40",
        "b on cuda:1: cuda:1 20",
        "b on cuda:0: cuda:0 20",
    ]


def test_a_variant_may_have_a_place_of_its_own(load):
    text = (
        "footprint: 40MiB, device: 'cuda:0', variants: [{name: b, footprint: 20MiB, device: host}]"
    )
    assert forms(one(load, text, POOLS)) == ["default on cuda:0: cuda:0 40", "b on host: host 20"]


def test_in_a_footprint_by_pool_the_family_stands_for_the_device(load):
    config = one(load, "footprint: {host: 10MiB, cuda: 40MiB}, device: cuda", POOLS)
    assert forms(config) == ["cuda:0: host 10, cuda:0 40", "cuda:1: host 10, cuda:1 40"]


def test_a_family_of_one_is_no_choice(load):
    memory = 'memory: {pools: {host: {budget: 1GiB}, "cuda:0": {budget: 1GiB}}}'
    config = one(load, "footprint: 40MiB, device: cuda", memory)
    assert config.models["a"].device == "cuda:0"
    assert forms(config) == [": cuda:0 40"]


def test_the_devices_of_all_models_can_be_a_default(load):
    text = f"{POOLS}\ndefaults: {{device: cuda}}\nmodels: {{a: {{{ECHO}, footprint: 40MiB}}}}\n"
    assert forms(load(text)) == ["cuda:0: cuda:0 40", "cuda:1: cuda:1 40"]


def test_a_model_of_a_program_is_put_on_the_pools_there_are():
    model = Model(
        name="a",
        footprint=5,
        device="cuda",
        variants=[{"name": "b", "footprint": 3}, {"name": "c", "footprint": 3, "device": "cuda"}],
    )
    there = model.on(("host", "cuda:0", "cuda:1"))
    assert there.device == ("cuda:0", "cuda:1")
    assert [variant.device for variant in there.variants] == [None, ("cuda:0", "cuda:1")]
    assert len(there.forms("host")) == 6


# -- units and batches ------------------------------------------------------------------------


def test_a_variant_has_the_units_and_batches_of_its_model_but_for_what_it_says(load):
    config = load(
        f"memory: {{budget: 1GiB}}\nresources: {{gpu: 1, dla: 2}}\n"
        f"defaults: {{batch: {{wait: 3ms}}, uses: {{gpu: 1}}}}\nmodels:\n"
        f"  a: {{{ECHO}, footprint: 40MiB, batch: {{max: 4}}, variants: ["
        "{name: same, footprint: 20MiB}, {name: b, footprint: 20MiB, uses: {dla: 2},"
        " batch: {max: 8}}, {name: c, footprint: 9MiB, uses: {}, batch: {max: 1, wait: 0s}}]}\n"
    )
    spec = config.models["a"].to_spec()
    assert [(f.variant, dict(f.uses), f.batch_max, f.batch_wait_ns) for f in spec.forms] == [
        ("default", {"gpu": 1}, 4, 3_000_000),
        ("same", {"gpu": 1}, 4, 3_000_000),
        ("b", {"dla": 2}, 8, 3_000_000),
        ("c", {}, 1, 0),
    ]


def test_a_unit_of_a_family_is_that_of_the_device(load):
    resources = 'resources: {"cuda:0": 1, "cuda:1": 1, gpu: 1}'
    text = "footprint: 40MiB, device: cuda, uses: {cuda: 1, gpu: 1}"
    found = one(load, text, f"{POOLS}\n{resources}").models["a"].to_spec("host").forms
    assert [dict(form.uses) for form in found] == [
        {"cuda:0": 1, "gpu": 1},
        {"cuda:1": 1, "gpu": 1},
    ]


def test_a_model_as_one_of_its_variants_keeps_what_each_of_them_has():
    model = Model(
        name="a",
        footprint=5,
        uses={"gpu": 1},
        variants=[
            {"name": "b", "footprint": 3, "uses": {}, "batch": {"max": 2}},
            {"name": "c", "footprint": 2},
        ],
    )
    as_b = model.as_variant("b").to_spec().forms
    assert [(f.variant, dict(f.uses), f.batch_max) for f in as_b] == [
        ("b", {}, 2),
        ("c", {"gpu": 1}, 1),
    ]


SHORT = "needs 2.00 GiB, budget of unified is 1.00 GiB; short by 1.00 GiB"
TOGETHER = (
    "all models together need 2.00 GiB of unified, the budget is 1.00 GiB: all can be loaded at "
    "once in their smallest forms, with 500.0 MiB"
)


# -- check ------------------------------------------------------------------------------------


def test_each_form_is_checked(load):
    config = one(
        load,
        "footprint: 2GiB, variants: [{name: fp16, footprint: {resident: 900MiB, workspace: 50MiB}},"
        "{name: int8, footprint: 500MiB}]",
    )
    fatal, others = told(config)
    assert fatal == []
    assert others == [
        f"a never fits as default: {SHORT}; it is served in other forms",
        "a as fp16 fits: needs at most 950.0 MiB of unified",
        "a as int8 fits: needs at most 500.0 MiB of unified",
        TOGETHER,
    ]


def test_what_fits_in_no_form_is_fatal(load):
    fatal, _ = told(one(load, "footprint: 3GiB, variants: [{name: b, footprint: 2GiB}]"))
    assert fatal == [f"a never fits, not even as b: {SHORT}"]


def test_the_form_of_what_is_pinned_leaves_room_for_the_others(load):
    small = "variants: [{name: s, footprint: 300MiB}]"
    models = (
        f"  b: {{{ECHO}, footprint: 600MiB}}\n"
        f"  a: {{{ECHO}, footprint: 700MiB, pinned: true, {small}}}\n"
    )
    config = load(f"memory: {{budget: 1GiB}}\nscheduling: {{queue_bytes: none}}\nmodels:\n{models}")
    fatal, others = told(config)
    assert fatal == []
    assert others[0] == "pinned in unified: a as s hold 300.0 MiB of 1.00 GiB (29 %) for good"


def test_where_a_model_may_be_placed_is_told(load):
    machine = {"host": GIB, "cuda:0": 2 * GIB, "cuda:1": 2 * GIB}
    fatal, others = told(one(load, "footprint: 1500MiB, device: cuda", POOLS), machine)
    assert fatal == []
    assert "a fits on cuda:1: needs at most 1.46 GiB of cuda:1" in others
    assert others[1].startswith("a never fits on cuda:0: needs 1.46 GiB, budget of cuda:0 is 1.00")
    fatal, others = told(
        one(load, "footprint: {host: 5MiB, cuda: 9MiB}, device: cuda", POOLS), machine
    )
    assert others[0] == "a fits on cuda:0 or cuda:1: needs at most 5.0 MiB of host, 9.0 MiB of it"
    assert others[-1] == (
        "all models together need at least 9.0 MiB of cuda:0 and cuda:1, which have 3.00 GiB: "
        "they may all be loaded at once"
    )


def test_a_form_that_takes_more_units_than_there_are_is_told(load):
    small = "variants: [{name: b, footprint: 20MiB, uses: {gpu: 1}}]"
    memory = "memory: {budget: 1GiB}\nresources: {gpu: 1}"
    fatal, others = told(one(load, f"footprint: 40MiB, uses: {{gpu: 2}}, {small}", memory))
    assert fatal == []
    never = "a never runs as default: it uses gpu: 2, and resources has gpu: 1"
    assert others[:2] == [
        "a as b fits: needs at most 20.0 MiB of unified",
        f"{never}; it is served in other forms",
    ]
    small = small.replace("gpu: 1", "gpu: 3")
    fatal, _ = told(one(load, f"footprint: 40MiB, uses: {{gpu: 2}}, {small}", memory))
    assert fatal == ["a never runs, not even as b: it uses gpu: 3, and resources has gpu: 1"]


def test_the_batch_of_each_form_is_checked(load):
    text = (
        "footprint: {resident: 900MiB, per_item: 50MiB}, batch: {max: 2}, variants: ["
        "{name: b, footprint: {resident: 600MiB, per_item: 50MiB}, batch: {max: 16}}]"
    )
    _, others = told(one(load, text))
    assert [text for text in others if "batch" in text] == [
        "a as b: a batch of 16 (batch.max) never fits; it runs in smaller ones"
    ]
