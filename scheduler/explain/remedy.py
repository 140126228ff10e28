"""What would have had to be different for a request to be served sooner, or at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.amounts import sized
from scheduler.core.engine import EngineState
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.request import RequestKind
from scheduler.explain.span import spoken
from scheduler.explain.wait import FOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scheduler.explain.residence import Stay
    from scheduler.explain.story import Story

SHARE = 4
"""What a request waited for is worth a word from a quarter of its wait on."""

ADVICE: Mapping[ReasonCode, str] = {
    # Why it ended.
    ReasonCode.NEVER_FITS: "a budget larger by what it is short of, a smaller model, or fewer pins",
    ReasonCode.NEVER_ENOUGH_UNITS: "fewer units in its `uses`, or more of them in `resources`",
    ReasonCode.EXCLUDED_BY_PIN: "no pin on the other model of its exclusive group",
    ReasonCode.UNKNOWN_MODEL: "the right name, or the model registered before it came",
    ReasonCode.UNKNOWN_MODE: "the right name of a mode",
    ReasonCode.MODEL_DISABLED: "a mode in which its model is enabled",
    ReasonCode.UNKNOWN_LEASE: "a lease that is held, and is on that model",
    ReasonCode.MODEL_PINNED: "the pin taken away first",
    ReasonCode.QUEUE_FULL: "fewer requests, a larger `queue.limit`, or `queue.keep: latest`",
    ReasonCode.QUEUE_BYTES: "smaller payloads, or a larger `scheduling.queue_bytes`",
    ReasonCode.SUPERSEDED: "nothing is wrong: `queue.keep: latest` prefers the newer frame",
    ReasonCode.BACKING_OFF: "an engine that had not failed just before; see why it did",
    ReasonCode.ENGINE_HUNG: "an engine whose thread comes back; see its `run_timeout`",
    ReasonCode.SHUTTING_DOWN: "asked before the stop, or after the restart",
    ReasonCode.MODEL_REMOVED: "the model not removed",
    ReasonCode.LOAD_FAILED: "what the error of the load says, mended",
    ReasonCode.LOAD_TIMEOUT: "a faster load, or a longer `load_timeout`",
    ReasonCode.RUN_FAILED: "what the error of the run says, mended",
    ReasonCode.OUT_OF_MEMORY: "a footprint that declares what it really takes",
    ReasonCode.RUN_TIMEOUT: "a run that ends, or a longer `run_timeout`",
    ReasonCode.ENGINE_LOST: "an engine that does not crash",
    ReasonCode.HIGHER_PRIORITY: "a priority as high as that of who took it",
    ReasonCode.LEASE_EXPIRED: "renewed in time, or a longer `ttl`",
    ReasonCode.LEASE_REVOKED: "nobody asking for the lease back",
    ReasonCode.LEASE_RELEASED: "its holder waiting for it before letting go",
    ReasonCode.CALLER_CANCELLED: "a caller with more patience",
    # What it waited for.
    ReasonCode.WAITS_FOR_ENGINE: "shorter runs, batches (`batch.max`), or a `ttl` on the lease",
    ReasonCode.WAITS_FOR_UNLOAD: "a longer `keep_alive`, or a pin: it was leaving as it was wanted",
    ReasonCode.WAITS_FOR_UNITS: "a higher priority, or more units in `resources`",
    ReasonCode.WAITS_FOR_EXCLUSIVE: "its exclusive group split, or its rival used less",
    ReasonCode.WAITS_FOR_BATCH: "a shorter `batch.wait`",
    ReasonCode.WAITS_FOR_TURN: "a higher priority, or fewer requests before it",
    ReasonCode.EXTERNAL_PRESSURE: "other programs with less memory, or a smaller `reserve`",
}
"""For each code that ends a request or holds it up, what would have helped. Deadlines, memory and
loads have figures instead."""


def remedies(story: Story) -> list[str]:
    """What would have helped, the most telling first; empty when it was served at once."""
    life = story.life
    found = [*_deadline(story), *_outcome(life.reason), *_memory(story), *_loads(story)]
    waited_ns = sum(story.spent_ns.values())
    for code, spent_ns in sorted(story.spent_ns.items(), key=lambda item: -item[1]):
        if code in FOR and code in ADVICE and spent_ns * SHARE >= waited_ns > 0:
            found.append(f"it waited {spoken(spent_ns)} for {FOR[code]}: {ADVICE[code]}")
    return found


def _outcome(reason: Reason | None) -> Iterator[str]:
    if reason is not None and reason.code in ADVICE:
        yield ADVICE[reason.code]


def _deadline(story: Story) -> Iterator[str]:
    deadline_ns = story.deadline_ns
    if story.life.outcome is not Outcome.DEADLINE_MISSED or deadline_ns is None:
        return
    run_ns = story.stays[0].run_ns if story.stays else 0
    absent = [stay for stay in story.stays if stay.state is not EngineState.READY and stay.load_ns]
    load_ns = max((stay.load_ns for stay in absent), default=0)
    if load_ns + run_ns > deadline_ns and absent:
        names = " and ".join(stay.spec.name for stay in absent)
        yield (
            f"{names} needs {spoken(load_ns)} to load and {spoken(run_ns)} to run (as the last "
            f"time), the deadline was {spoken(deadline_ns)}: pin it, or a deadline of at least "
            f"{spoken(load_ns + run_ns)}"
        )
    elif run_ns > deadline_ns:
        yield (
            f"its last run took {spoken(run_ns)}, the deadline was {spoken(deadline_ns)}: a "
            "faster model, or a longer deadline"
        )


def _memory(story: Story) -> Iterator[str]:
    if story.weighing is None:
        return
    nobody = "nobody else" if story.weighing.rivals else "nobody"
    for pool, short in story.weighing.deficits.items():
        enough = story.budgets[pool] + short
        yield (
            f"it was short by {sized(short)} of {pool}: with a budget of {sized(enough)} instead "
            f"of {sized(story.budgets[pool])} {nobody} would have had to make room at that moment"
        )


def _loads(story: Story) -> Iterator[str]:
    if story.life.request.kind is not RequestKind.INFER:
        return
    for stay in story.stays:
        spent_ns = story.life.load_ns.get(stay.spec.name)
        if spent_ns:
            yield f"its load took {spoken(spent_ns)}: {_kept(stay)}"


def _kept(stay: Stay) -> str:
    """How the engine could have been in memory already."""
    if isinstance(stay.why, Reason) and stay.why.code is ReasonCode.KEEP_ALIVE_OVER:
        return f"a longer `keep_alive` of {stay.spec.name}, or a pin, would have spared it"
    return f"{stay.spec.name} pinned, or never asked to make room, would have spared it"
