"""Measuring an engine: loaded, run and unloaded in several processes, one after another."""

from __future__ import annotations

from pathlib import Path

from scheduler.errors import RotaError
from scheduler.profile.engine_process import EngineProcess
from scheduler.profile.measurement import Life, Measurement, measurement
from scheduler.profile.place import Place
from scheduler.profile.step import Act, Step

PROCESSES = 3
RUNS = 10
BATCH_RUNS = 3
LOADS = 2
"""So many further loads in each process, for their times."""


class ProfileError(RotaError):
    """Raised when an engine fails while it is measured."""


def measure(
    path: Path,
    place: Place,
    *,
    processes: int = PROCESSES,
    runs: int = RUNS,
) -> Measurement:
    """Measure one form of a model of the configuration at `path`.

    Runs one item `runs` times, and batches up to its own `batch.max`. Takes `processes` times
    as long as some loads and runs. Raises ProfileError with what failed.
    """
    sizes = batch_sizes(place.batch_max)
    lives = [_live(path, place, runs, sizes) for _ in range(processes)]
    return measurement(place.model, place.pool, lives, variant=place.variant)


def batch_sizes(most: int) -> tuple[int, ...]:
    """Return 2, 4, 8 and so on, and the largest there is."""
    sizes = [2**power for power in range(1, most.bit_length()) if 2**power < most]
    return (*sizes, most) if most > 1 else ()


def _live(path: Path, place: Place, runs: int, sizes: tuple[int, ...]) -> Life:
    with EngineProcess(path, place.model, place.variant) as process:
        first = [_do(process, act) for act in _acts("load", "run", "unload")]
        steps = [_do(process, "load")]
        steps += [_do(process, "run") for _ in range(runs)]
        steps += [_do(process, "run", size) for size in sizes for _ in range(BATCH_RUNS)]
        steps.append(_do(process, "unload"))
        for _ in range(LOADS):
            steps += [_do(process, act) for act in _acts("load", "unload")]
    return Life(tuple(first), tuple(steps))


def _acts(*acts: Act) -> tuple[Act, ...]:
    return acts


def _do(process: EngineProcess, act: Act, items: int = 1) -> Step:
    step = process.do(act, items)
    if step.error:
        batch = f" of {items}" if items > 1 else ""
        raise ProfileError(f"{act}{batch} failed: {step.error}")
    return step
