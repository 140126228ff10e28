"""What a trial comes to: where memory goes, where it fails, and what leaks."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from scheduler.core.amounts import sized
from scheduler.core.model import PoolFootprint
from scheduler.doctor.share import shares
from scheduler.doctor.trial import Trial
from scheduler.profile.step import Step

MIB = 1024 * 1024
LEAK_BYTES = MIB
"""Less per load is not told from what any process gathers."""
LEAST_CYCLES = 4
"""Two halves of two."""


class Verdict(BaseModel):
    """`good` when nothing failed, nothing leaks and one item fits the budget."""

    model_config = ConfigDict(frozen=True)

    model: str
    good: bool
    largest_batch: int
    leak_bytes: int
    sentences: tuple[str, ...]
    steps: tuple[Step, ...]


def verdict(
    model: str,
    trial: Trial,
    budget_bytes: int,
    overhead_bytes: int,
    declared: PoolFootprint | None,
) -> Verdict:
    """Sum up a trial; the budget and what is `declared` are of the model's pool.

    `overhead_bytes` are declared in it for the process.
    """
    leak_bytes = leak_per_load_bytes([step.held_bytes for step in trial.cycles])
    failures = [step for step in trial.steps if step.error]
    fatal = [step for step in failures if step.act != "run" or step.items == 1]
    over = _first_over(trial, budget_bytes)
    sentences = [
        *shares(trial, declared),
        *(_failure(step) for step in failures),
        *_critical(trial, over, budget_bytes),
        *_left(trial, leak_bytes, overhead_bytes),
    ]
    return Verdict(
        model=model,
        good=not fatal and not leak_bytes and (over is None or over.items > 1),
        largest_batch=trial.largest_batch,
        leak_bytes=leak_bytes,
        sentences=tuple(sentences),
        steps=tuple(trial.steps),
    )


def leak_per_load_bytes(held: list[int]) -> int:
    """Return what each load leaves behind; 0 where it is a residue that does not grow.

    The first unload leaves what a process pays once, so growth is counted from the second on; it
    is a leak when the last half grew as well.
    """
    if len(held) < LEAST_CYCLES:
        return 0
    middle = len(held) // 2
    whole = (held[-1] - held[1]) // (len(held) - 2)
    late = (held[-1] - held[middle]) // (len(held) - 1 - middle)
    return whole if min(whole, late) >= LEAK_BYTES else 0


def _failure(step: Step) -> str:
    batch = f" of {step.items}" if step.act == "run" else ""
    cause = " for lack of memory" if step.out_of_memory else ""
    return f"{step.act}{batch} fails{cause}: {step.error}"


def _first_over(trial: Trial, budget_bytes: int) -> Step | None:
    return min(
        (step for step in trial.steps if step.peak_bytes > budget_bytes),
        key=lambda step: (step.items, step.act != "load"),
        default=None,
    )


def _critical(trial: Trial, over: Step | None, budget_bytes: int) -> list[str]:
    texts = []
    largest = trial.largest_batch
    if largest and trial.failed_batch is None:
        texts.append(f"a batch of {largest} runs, the largest that was tried")
    elif largest:
        texts.append(
            f"a batch of {largest} runs, one of {largest + 1} fails: "
            f"set batch.max to {largest} at most"
        )
    if over is None and largest:
        texts.append(f"nothing that was tried takes more than the budget of {sized(budget_bytes)}")
    elif over is not None:
        what = over.act if over.act != "run" else f"a run of {over.items}"
        texts.append(
            f"{what} takes {sized(over.peak_bytes)}, more than the budget of {sized(budget_bytes)}"
        )
    return texts


def _left(trial: Trial, leak_bytes: int, overhead_bytes: int) -> list[str]:
    if not trial.cycles:
        return []
    left_bytes, count = trial.cycles[0].held_bytes, len(trial.cycles)
    texts = []
    if not leak_bytes and left_bytes - overhead_bytes > MIB:
        texts.append(
            f"what the process pays once, {sized(left_bytes)}, is paid for all engines of its "
            f"library: declare it as memory's overhead ({sized(overhead_bytes)} now)"
        )
    if leak_bytes:
        texts.append(
            f"every load leaves {sized(leak_bytes)} behind: a leak; mend the plugin's unload, "
            "or keep the engine in memory (pinned, keep_alive: forever)"
        )
    elif count < LEAST_CYCLES:
        texts.append(f"whether it leaks is not known: try --cycles {LEAST_CYCLES} or more")
    else:
        texts.append(f"no leak: {count} loads and unloads leave no more than what is paid once")
    return texts
