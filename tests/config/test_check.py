from __future__ import annotations

from scheduler.config.check import check

GIB = 1024**3
MACHINE = {"unified": 8 * GIB}
NO_QUEUE = "scheduling: {queue_bytes: none}\n"


def model(name: str, footprint: str, more: str = "") -> str:
    return f'  {name}: {{engine: "echo_engine:Echo", footprint: {footprint}{more}}}\n'


def findings(load, memory: str, *models: str, more: str = "") -> tuple[list[str], list[str]]:
    """Return the fatal findings and the others."""
    text = f"memory: {memory}\n{NO_QUEUE}{more}models:\n{''.join(models)}"
    found = check(load(text), MACHINE)
    return [f.text for f in found if f.fatal], [f.text for f in found if not f.fatal]


def test_models_that_do_not_fit_together_take_turns(load):
    fatal, others = findings(load, "{budget: 420MiB}", model("a", "400MiB"), model("b", "230MiB"))
    assert fatal == []
    assert others == [
        "a fits: needs at most 400.0 MiB of unified",
        "b fits: needs at most 230.0 MiB of unified",
        "all models together need 630.0 MiB of unified, the budget is 420.0 MiB: they take turns",
    ]


def test_models_that_fit_together(load):
    _, others = findings(load, "{budget: 630MiB}", model("a", "400MiB"), model("b", "230MiB"))
    assert others[-1].endswith("the budget is 630.0 MiB: all can be loaded at once")


def test_a_model_that_never_fits_beside_what_is_pinned(load):
    fatal, others = findings(
        load,
        "{budget: 1000MiB}",
        model("slam", "400MiB", ", pinned: true"),
        model("segmenter", "{resident: 500MiB, workspace: 200MiB}"),
    )
    (told,) = fatal
    assert told == (
        "segmenter never fits: needs 700.0 MiB, budget of unified is 1000.0 MiB "
        "less 400.0 MiB pinned by slam; short by 100.0 MiB"
    )
    assert "pinned in unified: slam hold 400.0 MiB of 1000.0 MiB (40 %) for good" in others


def test_a_load_peak_counts(load):
    fatal, _ = findings(
        load, "{budget: 100MiB}", model("a", "{resident: 50MiB, load_peak: 101MiB}")
    )
    assert fatal[0].startswith("a never fits: needs 101.0 MiB")


def test_what_is_pinned_must_fit_together(load):
    pinned = ", pinned: true"
    fatal, _ = findings(
        load, "{budget: 500MiB}", model("a", "300MiB", pinned), model("b", "300MiB", pinned)
    )
    assert fatal[0] == (
        "pinned in unified: a, b need 600.0 MiB together, and 500.0 MiB can be used; "
        "unpin one or raise the budget"
    )


def test_an_exclusive_group_with_a_pinned_model(load):
    fatal, _ = findings(
        load,
        "{budget: 1GiB}",
        model("a", "1MiB", ", pinned: true, exclusive: [heavy]"),
        model("b", "1MiB", ", exclusive: [heavy]"),
    )
    assert len(fatal) == 1
    assert fatal[0].startswith("b never loads: a is pinned")


def test_more_units_than_there_are(load):
    fatal, _ = findings(
        load, "{budget: 1GiB}", model("a", "1MiB", ", uses: {gpu: 2}"), more="resources: {gpu: 1}\n"
    )
    assert len(fatal) == 1
    assert fatal[0].startswith("a never runs: it uses gpu: 2")


def test_more_than_the_machine_has(load):
    fatal, _ = findings(load, "{budget: 9GiB}", model("a", "1MiB"))
    assert fatal == ["memory.budget is 9.00 GiB, and the machine has 8.00 GiB; lower it"]


def test_more_than_the_machine_has_in_one_pool(load):
    fatal, _ = findings(load, "{pools: {host: {budget: 9GiB}}}", model("a", "1MiB"))
    assert fatal == ["memory.pools.host.budget is 9.00 GiB, and the machine has 8.00 GiB; lower it"]


def test_an_overhead_that_leaves_nothing(load):
    fatal, _ = findings(load, "{budget: 50MiB, overhead: 50MiB}", model("a", "1MiB"))
    assert fatal[0] == (
        "memory.budget is 50.0 MiB less 50.0 MiB overhead: nothing is left for models; raise it"
    )


def test_queued_payloads_are_part_of_the_budget(load):
    queue = "scheduling: {queue_bytes: 64MiB}"
    config = load(f"memory: {{budget: 100MiB}}\n{queue}\nmodels:\n{model('a', '40MiB')}")
    texts = [finding.text for finding in check(config, MACHINE)]
    assert texts[0].startswith("a never fits: needs 40.0 MiB, budget of unified is 36.0 MiB")
    assert "the budget is 100.0 MiB less 64.0 MiB for queued payloads" in texts[-1]


def test_a_batch_that_never_fits_is_no_fault_of_the_model(load):
    footprint = "{resident: 10MiB, per_item: 10MiB}"
    fatal, others = findings(load, "{budget: 50MiB}", model("a", footprint, ", batch: {max: 16}"))
    assert fatal == []
    assert "a: a batch of 16 (batch.max) never fits; it runs in smaller ones" in others
    _, others = findings(load, "{budget: 50MiB}", model("a", footprint, ", batch: {max: 5}"))
    assert not any("batch" in text for text in others)


MODES = (
    "modes:\n"
    "  docking: {pin: [slam], priority: {faces: 20}}\n"
    "  all: {pin: [slam, faces]}\n"
    "  quiet: {disable: [slam]}\n"
)


def test_every_mode_is_checked(load):
    fatal, others = findings(
        load, "{budget: 500MiB}", model("slam", "300MiB"), model("faces", "200MiB"), more=MODES
    )
    assert fatal == []
    assert others[-3:] == [
        "mode docking: pinned in unified: slam hold 300.0 MiB of 500.0 MiB (60 %) for good",
        "mode all: pinned in unified: slam, faces hold 500.0 MiB of 500.0 MiB (100 %) for good",
        "mode quiet: nothing is pinned",
    ]
    fatal, _ = findings(
        load, "{budget: 400MiB}", model("slam", "300MiB"), model("faces", "200MiB"), more=MODES
    )
    assert [text.partition(":")[0] for text in fatal] == ["mode docking", *["mode all"] * 3]
    assert fatal[0] == (
        "mode docking: faces never fits: needs 200.0 MiB, budget of unified is 400.0 MiB less "
        "300.0 MiB pinned by slam; short by 100.0 MiB; disable it in this mode, or pin less"
    )


def test_a_configuration_in_a_mode_is_what_the_mode_makes_of_it(load):
    more = (
        "modes: {quiet: {pin: [slam], priority: {slam: 7}, disable: [faces, ears]}}\n"
        "sources:\n"
        "  camera: {model: faces, from: synthetic, rate: 1Hz}\n"
        "  sound: {model: ears, from: microphone}\n"
        '  words: {model: slam, from: "utterances:sound"}\n'
        "  laser: {model: slam, from: synthetic, rate: 1Hz}\n"
    )
    models = "".join(model(name, "1MiB") for name in ("slam", "faces", "ears"))
    config = load(f"memory: {{budget: 400MiB}}\n{more}models:\n{models}")
    quiet = config.in_mode("quiet")
    assert {name: (m.pinned, m.priority) for name, m in quiet.models.items()} == {"slam": (True, 7)}
    assert list(quiet.sources) == ["laser"]
    assert quiet.settings({}).mode is None
    assert list(config.in_mode(None).models) == ["slam", "faces", "ears"]


TWO_GPUS = "{pools: {cuda:0: {budget: 4GiB}, cuda:1: {budget: 4GiB}}}"


def test_one_unit_for_two_gpus_makes_each_wait_for_the_other(load):
    uses = ", device: cuda, uses: {gpu: 1}"
    models = [model(name, "1GiB", uses) for name in "ab"]
    _, others = findings(load, TWO_GPUS, *models, more="resources: {gpu: 1}\n")
    assert others[-1] == (
        "gpu: 1 for cuda:0 and cuda:1 together, so a run on one waits for those on the other; to "
        'have them run side by side write resources: {"cuda:0": 1, "cuda:1": 1} and uses: {cuda: 1}'
    )
    told = others[-1].partition("write ")[2]
    resources, _, uses = told.partition(" and ")
    models = [model(name, "1GiB", f", device: cuda, {uses}") for name in "ab"]
    _, others = findings(load, TWO_GPUS, *models, more=f"{resources}\n")
    assert not any("together, so" in text for text in others)


def test_enough_units_or_one_gpu_are_not_spoken_of(load):
    uses = ", device: cuda, uses: {gpu: 1}"
    for device, units in ((uses, 2), (', device: "cuda:0", uses: {gpu: 1}', 1)):
        models = [model(name, "1GiB", device) for name in "ab"]
        _, others = findings(load, TWO_GPUS, *models, more=f"resources: {{gpu: {units}}}\n")
        assert not any("together, so" in text for text in others)
