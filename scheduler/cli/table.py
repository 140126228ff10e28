"""The live table of `rota run`: what every model does now, who waits for what, and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.core.amounts import sized
from scheduler.core.engine import EngineState
from scheduler.core.model import SECOND_NS, form_name
from scheduler.report.bar import memory_bar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.core.snapshot import EngineSnapshot, PoolSnapshot, Snapshot, WaitSnapshot
    from scheduler.report.report import ModelReport, Report

BAR_CELLS = 20
QUEUE_ROWS = 5
"""So many waiting requests are shown; the table must not grow with the queue."""

_STATES = {
    EngineState.UNLOADED: ("out", "dim"),
    EngineState.LOADING: ("loading", "yellow"),
    EngineState.READY: ("in memory", "green"),
    EngineState.UNLOADING: ("unloading", "yellow"),
}


def render_live(
    snapshot: Snapshot, report: Report, last_latency_ms: Mapping[str, float]
) -> RenderableType:
    """The state at `snapshot` and the counts of `report` until then.

    `last_latency_ms` has the latency of the last completed request of each model, where there is
    one (`ReportBuilder.last_latency_ms`).
    """
    return Group(
        _headline(snapshot, report),
        _model_table(snapshot, report, last_latency_ms),
        _memory_table(snapshot),
        _queue_table(snapshot),
    )


def _headline(snapshot: Snapshot, report: Report) -> Text:
    line = Text(f"{report.duration_s:.1f} s", "bold")
    line.append(f", {report.swaps_per_minute:.1f} swaps per minute")
    if snapshot.mode is not None:
        line.append(f", mode {snapshot.mode}", "bold cyan")
        line.append(" (not reached yet)" if snapshot.switching else "", "yellow")
    for name, used in snapshot.resources_in_use.items():
        line.append(f", {name}: {used} in use", "" if used else "dim")
    if snapshot.draining:
        line.append(", stopping", "bold yellow")
    return line


def _model_table(snapshot: Snapshot, report: Report, last_latency_ms: Mapping[str, float]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("state", no_wrap=True, min_width=9)
    ahead = any(engine.loads_ahead for engine in snapshot.engines)
    more = ("ahead",) if ahead else ()
    for heading in (
        "memory",
        "waiting",
        "served",
        "missed",
        "rejected",
        "failed",
        "last ms",
        *more,
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for engine in snapshot.engines:
        counts = _counts(report.models.get(engine.model))
        last = last_latency_ms.get(engine.model)
        table.add_row(
            _name(engine),
            _state(engine, snapshot.now_ns),
            _reserved(engine),
            _count(engine.waiting, ""),
            *counts,
            Text("-", "dim") if last is None else Text(f"{last:,.1f}"),
            *([_ahead(engine)] if ahead else []),
        )
    return table


def _ahead(engine: EngineSnapshot) -> Text:
    """How many of the loads that nobody had asked for yet were of use."""
    loads = engine.loads_ahead
    return Text(f"{engine.loads_ahead_used:,} of {loads:,}") if loads else Text("-", "dim")


def _name(engine: EngineSnapshot) -> Text:
    name = Text(engine.model, "bold")
    if engine.disabled:
        return name.append(" disabled", "dim not bold")
    form = form_name(engine.variant, engine.device)
    if form:
        name.append(f" {form}", "cyan not bold")
    return name.append(" pinned", "dim not bold") if engine.pinned else name


def _state(engine: EngineSnapshot, now: int) -> Text:
    if engine.condemned is not None:
        return Text("hung", "bold red")
    if engine.state is EngineState.UNLOADED and (engine.ready_again_ns or 0) > now:
        wait_s = ((engine.ready_again_ns or 0) - now) / SECOND_NS
        return Text(f"failed, again in {wait_s:.1f} s", "red")
    if engine.running:
        batch = f" {len(engine.running)}" if len(engine.running) > 1 else ""
        return Text(f"running{batch}", "bold green")
    if engine.held_by is not None:
        return Text(f"held by {engine.held_by}", "cyan")
    return Text(*_STATES[engine.state])


def _reserved(engine: EngineSnapshot) -> Text:
    total = sum(engine.reserved_bytes.values())
    return Text(sized(total)) if total else Text("-", "dim")


def _counts(model: ModelReport | None) -> list[Text]:
    if model is None:
        return [Text("-", "dim")] * 4
    return [
        _count(model.completed, "green"),
        _count(model.deadline_missed, "red"),
        _count(model.rejected, "yellow"),
        _count(model.failed, "red"),
    ]


def _count(number: int, style: str) -> Text:
    return Text(f"{number:,}", style) if number else Text("-", "dim")


def _memory_table(snapshot: Snapshot) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("memory", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("reserved", "measured", "high water", "available"):
        table.add_column(heading, justify="right", no_wrap=True)
    for pool in snapshot.pools:
        bar = memory_bar(pool.reserved_bytes, pool.budget_bytes, pool.used_bytes, BAR_CELLS)
        table.add_row(
            Text(pool.name, "bold"),
            bar,
            _of_budget(pool),
            _known(pool.used_bytes, pool.budget_bytes),
            Text(sized(pool.high_water_bytes)),
            _known(pool.available_bytes, None),
        )
    return table


def _of_budget(pool: PoolSnapshot) -> Text:
    text = f"{sized(pool.reserved_bytes)} of {sized(pool.budget_bytes)}"
    return Text(text, "red" if pool.reserved_bytes > pool.budget_bytes else "")


def _known(amount: int | None, budget_bytes: int | None) -> Text:
    """A figure of the machine's; not knowing is not 0."""
    if amount is None:
        return Text("unknown", "dim")
    over = budget_bytes is not None and amount > budget_bytes
    return Text(sized(amount), "red" if over else "")


def _queue_table(snapshot: Snapshot) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("waiting", no_wrap=True)
    table.add_column("since", justify="right", no_wrap=True)
    table.add_column("for", no_wrap=True, overflow="ellipsis")
    for wait in snapshot.waiting[:QUEUE_ROWS]:
        since_ms = (snapshot.now_ns - wait.arrived_ns) / 1e6
        table.add_row(_who(wait), f"{since_ms:,.0f} ms", Text(str(wait.waits_for or "its turn")))
    more = len(snapshot.waiting) - QUEUE_ROWS
    if more > 0:
        table.add_row(Text(f"and {more:,} more", "dim"), "", "")
    return table


def _who(wait: WaitSnapshot) -> Text:
    return Text(f"{' + '.join(wait.models)} #{wait.request_id}").append(
        f" priority {wait.priority}", "dim"
    )
