"""What is made of the steps of some processes: plain figures, no process."""

from scheduler.core.model import PoolFootprint
from scheduler.profile.measure import batch_sizes
from scheduler.profile.measurement import Life, measurement
from scheduler.profile.quantity import Quantity, quantity
from scheduler.profile.step import Step
from scheduler.profile.text import falls_short

MIB = 1024**2


def footprint(*mib):
    resident, load_peak, workspace, per_item = (amount * MIB for amount in mib)
    return PoolFootprint(
        resident_bytes=resident,
        load_peak_bytes=load_peak,
        workspace_bytes=workspace,
        per_item_bytes=per_item,
    )


def step(act, held, peak=None, *, items=1, took=1, claimed=None):
    return Step(
        act=act,
        items=items,
        took_ns=took,
        held_bytes=held * MIB,
        peak_bytes=(held if peak is None else peak) * MIB,
        claimed_bytes=claimed,
    )


def life(*steps, overhead=10):
    first = (step("load", 50), step("run", 60), step("unload", overhead))
    return Life(first, steps)


GROWING = life(
    step("load", 60, 110, took=7),
    step("run", 70, 100, took=5),
    step("run", 80, 120, took=6),
    step("run", 80, 200, items=2, took=9),
    step("run", 90, 260, items=4, took=12),
    step("unload", 10),
)


def test_what_a_process_pays_once_is_nobodys_footprint():
    one = measurement("m", "unified", [GROWING])
    assert one.overhead.median == 10 * MIB
    assert one.load_peak.high == 100 * MIB
    assert one.resident.high == 80 * MIB, "it keeps what its runs made it take"
    assert one.workspace.high == 30 * MIB, "120 at most with one item, 90 of which it keeps"
    assert one.per_item.high == 80 * MIB, "200 with two, 120 of which one takes"
    assert one.runs == {
        1: Quantity(median=5, high=6, samples=2),
        2: Quantity(median=9, high=9, samples=1),
        4: Quantity(median=12, high=12, samples=1),
    }
    assert one.loads.samples == 2


def test_the_footprint_is_the_high_figures_in_whole_mib():
    other = life(step("load", 60, 100), step("run", 61, 70))
    assert measurement("m", "unified", [GROWING, other]).footprint() == footprint(80, 100, 30, 80)
    small = Step(act="load", held_bytes=10 * MIB + 1, peak_bytes=12 * MIB + 1)
    tiny = Life((step("unload", 10),), (step("load", 10), small))
    assert tiny.resident_bytes == 1
    assert measurement("m", "u", [life(step("load", 10))]).footprint().resident_bytes == MIB


def test_without_batches_nothing_is_known_of_them():
    one = measurement("m", "unified", [life(step("load", 60), step("run", 60))])
    assert one.per_item is None
    assert one.footprint().per_item_bytes == 0


def test_what_the_engine_says_itself_is_kept_beside():
    one = measurement("m", "unified", [life(step("load", 60, claimed=3), step("unload", 9))])
    assert one.claimed == Quantity(median=3, high=3, samples=1)
    assert measurement("m", "unified", [GROWING]).claimed is None


def test_what_is_declared_too_small_is_named():
    one = measurement("m", "unified", [GROWING])
    enough = footprint(80, 100, 30, 80)
    assert falls_short(one, enough) == []
    (text,) = falls_short(one, footprint(80, 100, 29, 80))
    assert text == "m: workspace is declared as 29.0 MiB, and was 30.0 MiB"
    assert len(falls_short(one, footprint(79, 0, 0, 0))) == 4
    assert falls_short(one, None) == ["m: nothing is declared in unified"]


def test_less_than_the_runtime_counts_is_not_too_much():
    crumbs = Step(act="load", held_bytes=60 * MIB + 200_000, peak_bytes=60 * MIB + 200_000)
    one = measurement("m", "unified", [life(crumbs)])
    assert falls_short(one, footprint(50, 0, 0, 0)) == []


def test_the_high_figure_is_one_that_was_seen():
    assert quantity([5]) == Quantity(median=5, high=5, samples=1)
    assert quantity([3, 1, 2, 4]) == Quantity(median=2, high=4, samples=4)
    assert quantity(range(1, 21)) == Quantity(median=10, high=18, samples=20)


def test_batches_are_tried_up_to_the_largest():
    assert [batch_sizes(most) for most in (1, 2, 3, 8, 10)] == [
        (),
        (2,),
        (2, 3),
        (2, 4, 8),
        (2, 4, 8, 10),
    ]
