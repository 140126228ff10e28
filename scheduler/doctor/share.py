"""Where an engine's memory goes, beside what is declared for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.amounts import sized

if TYPE_CHECKING:
    from scheduler.core.model import PoolFootprint
    from scheduler.doctor.trial import Trial
    from scheduler.profile.step import Step

MIB = 1024 * 1024
NOISE_BYTES = MIB
"""Less is not told from what any process gathers."""


def shares(trial: Trial, declared: PoolFootprint | None) -> list[str]:
    """Return what loading, running and each further item take, and whether that is declared."""
    loads = [step for step in trial.steps if step.act == "load" and not step.error]
    runs = [step for step in trial.steps if step.act == "run" and not step.error]
    ones = [step for step in runs if step.items == 1]
    texts = []
    if loads:
        peak, kept = loads[0].peak_bytes, loads[0].held_bytes
        texts.append(f"loading takes {sized(peak)} at most, and {sized(kept)} stay")
    if ones:
        peak, kept = _most(ones)
        texts.append(f"running one item takes {sized(peak)} at most, and {sized(kept)} stay")
    texts += _further_items(runs)
    if trial.cycles and ones:
        once_bytes = trial.cycles[0].held_bytes
        own_bytes = max(0, _most(ones)[1] - once_bytes)
        texts.append(
            f"{sized(once_bytes)} of that the process pays once and keeps after an unload, "
            f"{sized(own_bytes)} are the engine's own"
        )
        texts += _declared(loads, ones, once_bytes, declared)
    return texts


def _most(steps: list[Step]) -> tuple[int, int]:
    return max(step.peak_bytes for step in steps), max(step.held_bytes for step in steps)


def _further_items(runs: list[Step]) -> list[str]:
    """By the largest batch that ran, in the process in which it did."""
    if not runs:
        return []
    first, largest = runs[0], max(runs, key=lambda step: step.items)
    more_bytes = largest.peak_bytes - first.peak_bytes
    if largest.items == 1 or more_bytes < NOISE_BYTES:
        return []
    each_bytes = more_bytes // (largest.items - 1)
    return [f"each further item of a batch takes {sized(each_bytes)} more"]


def _declared(
    loads: list[Step], ones: list[Step], once_bytes: int, declared: PoolFootprint | None
) -> list[str]:
    """Say what of it the configuration does not promise. What the process pays is no part of it."""
    if declared is None:
        return ["nothing is declared for it in this pool"]
    peak, kept = _most(ones)
    promised = (
        ("while it is loaded", kept, declared.resident_bytes),
        ("while it loads", loads[0].peak_bytes, declared.loading_bytes),
        ("while it runs", peak, declared.resident_bytes + declared.workspace_bytes),
    )
    short = [
        f"{sized(taken - once_bytes)} {when} ({sized(said)} declared)"
        for when, taken, said in promised
        if taken - once_bytes - said >= NOISE_BYTES
    ]
    if not short:
        return [f"what is declared is enough: {sized(declared.resident_bytes)} resident"]
    remedy = "rota profile CONFIG MODEL --write writes down what it takes"
    return [f"it takes more than is declared: {', '.join(short)}; {remedy}"]
