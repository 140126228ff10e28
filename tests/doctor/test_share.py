"""What a trial says of memory, of trials that are written down: MiB at most, then MiB that stay."""

from pathlib import Path

import pytest

from scheduler.core.model import PoolFootprint
from scheduler.doctor.share import shares
from scheduler.doctor.trial import Trial
from scheduler.doctor.verdict import verdict
from scheduler.profile.step import Step

MIB = 2**20
LOAD, RUN = (125, 72), (141, 129)


def step(act, peak, held, items=1, error=""):
    return Step(act=act, items=items, peak_bytes=peak * MIB, held_bytes=held * MIB, error=error)


def trial(*, runs=((1, RUN),), left=(17, 17, 17, 17)):
    """One process that runs larger and larger batches, and one that is loaded again and again."""
    made = Trial(Path("robot.yaml"), "m", batch_max=8)
    made.steps = [step("load", *LOAD), *(step("run", *most, items=n) for n, most in runs)]
    for held in left:
        made.cycles.append(step("unload", 129, held))
        made.steps += [step("load", *LOAD), step("run", *RUN), made.cycles[-1]]
    made.largest_batch = max((n for n, _ in runs), default=0)
    return made


def footprint(resident, load_peak=0, workspace=0):
    sizes = {"resident": resident, "load_peak": load_peak, "workspace": workspace}
    return PoolFootprint(**{f"{key}_bytes": size * MIB for key, size in sizes.items()})


def test_what_the_process_pays_once_is_told_from_the_engines_own():
    own = "17.0 MiB of that the process pays once and keeps after an unload, 112.0 MiB are the"
    assert shares(trial(), footprint(112, workspace=12)) == [
        "loading takes 125.0 MiB at most, and 72.0 MiB stay",
        "running one item takes 141.0 MiB at most, and 129.0 MiB stay",
        f"{own} engine's own",
        "what is declared is enough: 112.0 MiB resident",
    ]


@pytest.mark.parametrize(
    ("declared", "short"),
    [
        (footprint(100, 130, 50), ["112.0 MiB while it is loaded (100.0 MiB declared)"]),
        (footprint(112, 0, 5), ["124.0 MiB while it runs (117.0 MiB declared)"]),
        (
            footprint(100),
            [
                "112.0 MiB while it is loaded (100.0 MiB declared)",
                "108.0 MiB while it loads (100.0 MiB declared)",
                "124.0 MiB while it runs (100.0 MiB declared)",
            ],
        ),
    ],
)
def test_what_is_declared_too_small_is_named_part_by_part(declared, short):
    assert shares(trial(), declared)[-1] == (
        f"it takes more than is declared: {', '.join(short)}; "
        "rota profile CONFIG MODEL --write writes down what it takes"
    )


def test_nothing_declared_is_told():
    assert shares(trial(), None)[-1] == "nothing is declared for it in this pool"


def test_what_further_items_take_is_a_share_of_the_largest_batch():
    runs = ((1, (141, 129)), (2, (150, 129)), (8, (176, 129)))
    assert "each further item of a batch takes 5.0 MiB more" in shares(trial(runs=runs), None)
    level = ((1, (141, 129)), (8, (141, 129)))
    assert not [text for text in shares(trial(runs=level), None) if "further item" in text]


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ((17,) * 4, "no leak: 4 loads and unloads leave no more than what is paid once"),
        ((17,) * 3, "whether it leaks is not known: try --cycles 4 or more"),
        ((17, 20, 23, 26), "every load leaves 3.0 MiB behind: a leak; mend the plugin's unload"),
    ],
)
def test_whether_it_leaks_is_always_said(left, said):
    found = verdict("m", trial(left=left), 300 * MIB, 24 * MIB, footprint(130))
    assert found.sentences[-1].startswith(said)
    assert found.good == ("a leak" not in said)


def test_what_is_paid_once_belongs_to_the_overhead_unless_that_is_enough():
    told = "what the process pays once, 17.0 MiB, is paid for all engines of its library"
    for overhead, wanted in ((0, True), (16, False), (17, False), (24, False)):
        sentences = verdict("m", trial(), 300 * MIB, overhead * MIB, None).sentences
        assert any(text.startswith(told) for text in sentences) == wanted


def test_where_the_budget_ends_is_said_either_way():
    sentences = verdict("m", trial(), 141 * MIB, 17 * MIB, None).sentences
    assert "nothing that was tried takes more than the budget of 141.0 MiB" in sentences
    sentences = verdict("m", trial(), 140 * MIB, 17 * MIB, None).sentences
    assert "a run of 1 takes 141.0 MiB, more than the budget of 140.0 MiB" in sentences
