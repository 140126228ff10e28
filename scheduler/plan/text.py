"""A plan for a person: one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.core.amounts import sized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.plan.plan import ModelPlan, Plan

FIXES_SHOWN = 5


def render_plan(plan: Plan) -> RenderableType:
    """The verdict, the models, memory, and what would help."""
    parts: list[RenderableType] = [_verdict(plan)]
    parts += [Text(f"no: {one.text}", "red") for one in plan.findings if one.fatal]
    parts += [_models(plan), *_start(plan), *_memory(plan), *_bounds(plan), *_fixes(plan)]
    return Group(*parts)


def _verdict(plan: Plan) -> Text:
    text = Text("good: " if plan.good else "no: ", "bold green" if plan.good else "bold red")
    fits = "the set fits" if plan.fits else "the set does not fit"
    asked = sum(model.requests for model in plan.models.values())
    met = "all in time" if not plan.unmet else f"{plan.unmet:,} not in time"
    text.append(
        f"{fits}; in {plan.duration_s:g} simulated seconds {asked:,} requests, {met}, "
        f"{plan.swaps_per_minute:.1f} swaps per minute (seed {plan.seed})",
        "bold",
    )
    return text


def _models(plan: Plan) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("model", no_wrap=True)
    headings = ("requests", "in time", "not", "replaced", "deadline", "wait", "answer", "bound")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, model in plan.models.items():
        table.add_row(Text(name, "bold"), *_row(model))
    return table


def _row(model: ModelPlan) -> Iterator[Text]:
    yield Text(f"{model.requests:,}")
    yield Text("-" if model.met_share is None else _percent(model.met_share))
    yield Text(f"{model.unmet:,}", "red") if model.unmet else Text("-", "dim")
    yield Text(f"{model.replaced:,}") if model.replaced else Text("-", "dim")
    for figure in (model.deadline_ms, model.worst_wait_ms, model.worst_answer_ms, model.bound_ms):
        yield Text("-", "dim") if figure is None else Text(f"{figure:,.1f}")


def _percent(share: float) -> str:
    """Never rounded up to all of them."""
    return "100 %" if share == 1 else f"{min(share * 100, 99.99):.2f} %"


def _start(plan: Plan) -> Iterator[Text]:
    early = [f"{name} {model.at_start}" for name, model in plan.models.items() if model.at_start]
    if early:
        what = "not counted, as they come before their pinned engine is loaded"
        yield Text(f"{what}: {', '.join(early)}")
    dropped = [
        f"{name} {source.dropped:,} of {source.sent + source.dropped:,}"
        for name, source in plan.sources.items()
        if source.dropped
    ]
    if dropped:
        what = "dropped by their source, as too many of its frames were unanswered"
        yield Text(f"{what}: {', '.join(dropped)}", "yellow")


def _memory(plan: Plan) -> Iterator[Text]:
    yield Text("wait, answer: the worst in the simulation, ms; bound: the worst by analysis", "dim")
    for name, pool in plan.memory.items():
        if pool.smallest_bytes is None:
            found = f"no budget of {name} makes all of it in time, not even for all models at once"
        else:
            found = f"nothing is missed from {sized(pool.smallest_bytes)} of {name} on"
        yield Text(f"memory: {found}; it has {sized(pool.budget_bytes)} (found by simulation)")


def _bounds(plan: Plan) -> Iterator[Text]:
    why: dict[str, list[str]] = {}
    for name, model in plan.models.items():
        if model.no_bound:
            why.setdefault(model.no_bound, []).append(name)
    if plan.bound_source:
        yield Text(f"bound: non-preemptive response-time analysis ({plan.bound_source})")
    for reason, names in why.items():
        yield Text(f"no bound for {', '.join(names)}: {reason}", "dim")


def _fixes(plan: Plan) -> Iterator[Text]:
    if not plan.unmet:
        return
    for fix in plan.fixes[:FIXES_SHOWN]:
        if fix.unmet:
            yield Text(f"helps, not enough: {fix.change} ({fix.unmet:,} not in time)")
        else:
            yield Text(f"would fix it: {fix.change}", "green")
    for name, pool in plan.memory.items():
        more = (pool.smallest_bytes or 0) - pool.budget_bytes
        if more > 0:
            yield Text(f"would fix it: {sized(more)} more of {name}", "green")
    if not plan.fixes and all(pool.smallest_bytes is None for pool in plan.memory.values()):
        yield Text("neither a pin, a lower rate of one source nor more memory helps alone")
