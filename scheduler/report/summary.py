"""The report for a person: two small tables in a terminal when the run has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.core.amounts import sized
from scheduler.report.bar import memory_bar

if TYPE_CHECKING:
    from scheduler.report.report import ModelReport, PoolReport, Report

BAR_CELLS = 24
BAD = {
    "deadline_missed": ("missed", "red"),
    "rejected": ("rejected", "yellow"),
    "failed": ("failed", "red"),
    "preempted": ("preempted", "yellow"),
    "cancelled": ("cancelled", ""),
}
"""The outcomes but completed: their columns' headings and colours."""


def render_summary(report: Report) -> RenderableType:
    """Who was served and who missed, the loads it took, and memory against its budget."""
    parts: list[RenderableType] = [_headline(report), _model_table(report), _memory_table(report)]
    if report.sources:
        parts.append(_source_table(report))
    return Group(*parts)


def _headline(report: Report) -> Text:
    models = report.models.values()
    asked = sum(model.requests for model in models)
    served = sum(model.completed for model in models)
    missed = sum(model.deadline_missed for model in models)
    line = Text(f"{report.duration_s:.1f} s: {served:,} of {asked:,} requests served", "bold")
    line.append(f", {missed:,} missed their deadline", "bold red" if missed else "bold")
    line.append(f", {report.swaps_per_minute:.1f} swaps per minute", "bold")
    return line


def _model_table(report: Report) -> Table:
    """A column for each way of not being served that there was, and for loads ahead."""
    bad = [name for name in BAD if any(getattr(model, name) for model in report.models.values())]
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in ("requests", "served", *(BAD[name][0] for name in bad)):
        table.add_column(heading, justify="right", no_wrap=True)
    ahead = any(model.loads_ahead for model in report.models.values())
    for heading in ("p50 ms", "p99 ms", "max ms", "loads", *(["ahead"] if ahead else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, model in report.models.items():
        counts = [_count(getattr(model, outcome), BAD[outcome][1]) for outcome in bad]
        served = (f"{model.requests:,}", Text(f"{model.completed:,}", "green"))
        loads = [Text(f"{model.loads:,}"), *([_ahead(model)] if ahead else [])]
        table.add_row(Text(name, "bold"), *served, *counts, *_times(model), *loads)
    return table


def _count(number: int, style: str) -> Text:
    return Text(f"{number:,}", style) if number else Text("-", "dim")


def _ahead(model: ModelReport) -> Text:
    """How many of the loads that nobody had asked for yet were of use."""
    found = model.loads_ahead
    return Text("-", "dim") if found is None else Text(f"{found.used:,} of {found.loads:,}")


def _times(model: ModelReport) -> list[Text]:
    latency = model.latency_ms
    return [
        Text("-", "dim") if value is None else Text(f"{value:,.1f}")
        for value in (latency.p50, latency.p99, latency.max)
    ]


def _memory_table(report: Report) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("memory", no_wrap=True)
    table.add_column("")
    table.add_column("high water", no_wrap=True)
    table.add_column("measured", no_wrap=True)
    for name, pool in report.memory.items():
        measured = pool.measured_high_water_bytes
        bar = memory_bar(pool.high_water_bytes, pool.budget_bytes, measured, BAR_CELLS)
        table.add_row(Text(name, "bold"), bar, _high_water(pool), _measured(pool))
    return table


def _high_water(pool: PoolReport) -> Text:
    text = f"{sized(pool.high_water_bytes)} of {sized(pool.budget_bytes)}"
    return Text(text, "red" if pool.high_water_bytes > pool.budget_bytes else "")


def _measured(pool: PoolReport) -> Text:
    measured = pool.measured_high_water_bytes
    if measured is None:
        return Text("-", "dim")
    return Text(sized(measured), "red" if measured > pool.budget_bytes else "")


def _source_table(report: Report) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("source", no_wrap=True)
    table.add_column("sent", justify="right")
    table.add_column("dropped", justify="right")
    for name, source in (report.sources or {}).items():
        dropped = Text(f"{source.dropped:,}", "yellow" if source.dropped else "dim")
        table.add_row(Text(name, "bold"), f"{source.sent:,}", dropped)
    return table
