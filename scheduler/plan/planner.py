"""Makes the plan: looks, simulates, searches, tries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.config.check import check
from scheduler.core.amounts import sized
from scheduler.core.model import SECOND_NS
from scheduler.plan.analysis import ASSUMPTIONS, Analysis, Bound, deadline_of
from scheduler.plan.bound import SOURCE
from scheduler.plan.budget import ample_bytes, least_bytes, smallest_bytes, with_budget
from scheduler.plan.fix import Fix, fixes, pinned
from scheduler.plan.plan import FindingPlan, FixPlan, ModelPlan, Plan, PoolPlan, SourcePlan
from scheduler.plan.trial import Conditions, Figures, Trial, is_met, try_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scheduler.config import Config
    from scheduler.core.settings import Settings

MS_NS = 1_000_000


def make_plan(config: Config, total_bytes: Mapping[str, int], conditions: Conditions) -> Plan:
    """The plan of `config` on a machine with `total_bytes` in its pools.

    Raises ConfigError as `Config.settings` does, and SourceError for a recording that is not there.
    """
    settings = config.settings(total_bytes)
    findings = check(config, total_bytes)
    trial = try_out(config, settings, conditions)
    report = trial.simulated.report
    fits = not any(finding.fatal for finding in findings)
    bounds = _bounds(config, settings, conditions)
    bounded = any(bound.answer_ns is not None for bound in bounds.values())
    memory = _memory(config, settings, conditions, met=not trial.unmet)
    made = fixes(config, settings, conditions, trial) if trial.unmet else []
    if trial.unmet and not _is_fixed(made, memory):
        made = [*_pins_and_memory(config, settings, conditions, trial), *made]
    return Plan(
        good=fits and not trial.unmet,
        fits=fits,
        unmet=trial.unmet,
        duration_s=conditions.duration_ns / SECOND_NS,
        seed=conditions.seed,
        swaps_per_minute=report.swaps_per_minute,
        models={
            name: _model(trial.models[name], _deadline_ns(config, name), bounds[name])
            for name in config.models
        },
        sources={
            name: SourcePlan(sent=one.sent, dropped=one.dropped)
            for name, one in (report.sources or {}).items()
        },
        memory=memory,
        fixes=[FixPlan(change=fix.change, unmet=fix.unmet) for fix in made],
        findings=[FindingPlan(text=one.text, fatal=one.fatal) for one in findings],
        notes=[
            *trial.simulated.notes,
            *([f"bound: assuming that {ASSUMPTIONS}"] if bounded else []),
        ],
        bound_source=SOURCE if bounded else None,
    )


def _bounds(config: Config, settings: Settings, conditions: Conditions) -> dict[str, Bound]:
    if conditions.arrivals is not None:
        return {name: Bound(None, "a trace says when requests came") for name in config.models}
    analysis = Analysis(config, settings)
    return {name: analysis.bound(name) for name in config.models}


def _deadline_ns(config: Config, name: str) -> int | None:
    asking = [source for source in config.sources.values() if source.model == name]
    own = [deadline_of(source, config.models[name]) for source in asking]
    return min((ns for ns in own if ns is not None), default=None)


def _model(figures: Figures, deadline_ns: int | None, bound: Bound) -> ModelPlan:
    due = figures.answered + figures.unmet
    return ModelPlan(
        requests=figures.asked,
        at_start=figures.at_start,
        answered=figures.answered,
        replaced=figures.replaced,
        unmet=figures.unmet,
        met_share=round(figures.answered / due, 6) if due else None,
        deadline_ms=None if deadline_ns is None else deadline_ns / MS_NS,
        worst_wait_ms=figures.worst_wait_ns / MS_NS,
        worst_answer_ms=figures.worst_answer_ns / MS_NS,
        bound_ms=None if bound.answer_ns is None else bound.answer_ns / MS_NS,
        no_bound=bound.why_not or None,
    )


def _memory(
    config: Config, settings: Settings, conditions: Conditions, *, met: bool
) -> dict[str, PoolPlan]:
    return {
        pool: PoolPlan(
            budget_bytes=budget.budget_bytes,
            smallest_bytes=_smallest(config, settings, conditions, pool, met=met),
        )
        for pool, budget in settings.pools.items()
    }


def _is_fixed(made: list[Fix], memory: Mapping[str, PoolPlan]) -> bool:
    """Whether one change alone does."""
    found = [pool.smallest_bytes for pool in memory.values()]
    return any(not fix.unmet for fix in made) or any(size is not None for size in found)


def _pins_and_memory(
    config: Config, settings: Settings, conditions: Conditions, trial: Trial
) -> Iterator[Fix]:
    """All who miss pinned at once, in as much memory as that takes."""
    missing = [name for name, figures in trial.models.items() if figures.unmet]
    changed = pinned(config, missing)
    for pool, budget in settings.pools.items():
        size = _smallest(changed, settings, conditions, pool, met=False)
        if size is not None:
            more = max(size - budget.budget_bytes, 0)
            words = f"pin {' and '.join(missing)}, with {sized(more)} more of {pool}"
            yield Fix(words, 0)


def _smallest(
    config: Config, settings: Settings, conditions: Conditions, pool: str, *, met: bool
) -> int | None:
    """With the other pools as they are."""
    first_pool = next(iter(settings.pools))
    specs = [model.to_spec(first_pool) for model in config.models.values()]

    def suffices(budget_bytes: int) -> bool:
        return is_met(config, with_budget(settings, pool, budget_bytes), conditions)

    enough = ample_bytes(specs, settings, pool)
    if met:
        enough = min(enough, settings.pools[pool].budget_bytes)
    if not suffices(enough):
        return None
    return smallest_bytes(suffices, least_bytes(specs, settings, pool), enough)
