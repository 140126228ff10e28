"""What `rota top` shows of each node. Whatever it was told may be missing, or of a wrong kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.core.amounts import sized
from scheduler.core.model import SECOND_NS
from scheduler.report.bar import memory_bar

if TYPE_CHECKING:
    from scheduler.client.watch import WatchedNode

BAR_CELLS = 16
COUNT_LIMIT = 2**63
"""What is larger is no count of anything."""

_STATES = {"online": "bold green", "degraded": "bold yellow"}
_MODEL_STATES = {"ready": "green", "loading": "yellow", "unloading": "yellow", "unloaded": "dim"}


def render_nodes(
    nodes: Mapping[str, WatchedNode], now_ns: int, fault: str | None = None
) -> RenderableType:
    """All nodes, one below the other; `fault` is why nothing new can be told."""
    parts: list[RenderableType] = [] if fault is None else [Text(fault, "red")]
    for name, node in sorted(nodes.items()):
        parts += [_headline(name, node), _memory_table(node), _model_table(node)]
        parts += [_event(at_ns, event, now_ns) for at_ns, event in node.events]
        parts.append(Text())
    return Group(*parts)


def _headline(name: str, node: WatchedNode) -> Text:
    status = node.status
    state = _word(status, "state") or "never said that it is there"
    line = Text(name, "bold").append(f" {state}", _STATES.get(state, "bold red"))
    if (mode := _word(status, "mode")) is not None:
        line.append(f", mode {mode}", "bold cyan")
    if (fleet := _word(status, "fleet")) is not None:
        line.append(f", of the fleet {fleet}")
    why = status.get("why")
    for reason in why if isinstance(why, list) else ():
        line.append(f", {reason}", "yellow")
    counts = status.get("counts")
    for what, count in counts.items() if isinstance(counts, dict) else ():
        if _is_number(count) and count:
            line.append(f", {what.replace('_', ' ')} {count:,}", "yellow")
    return line


def _memory_table(node: WatchedNode) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("memory", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("reserved", "measured", "high water"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, pool in sorted(node.pools.items()):
        told = pool if isinstance(pool, dict) else {}
        reserved, budget = _number(told, "reserved_bytes"), _number(told, "budget_bytes")
        measured = _number(told, "measured_bytes")
        table.add_row(
            Text(name, "bold"),
            memory_bar(reserved or 0, budget or 0, measured, BAR_CELLS),
            _sized(reserved).append(" of ").append(_sized(budget)),
            _sized(measured),
            _sized(_number(told, "high_water_bytes")),
        )
    return table


def _sized(amount: int | None) -> Text:
    return Text("unknown", "dim") if amount is None else Text(sized(amount))


def _model_table(node: WatchedNode) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("state", no_wrap=True, min_width=9)
    for heading in ("priority", "memory", "waiting", "running", "missed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, told in sorted(node.models.items()):
        held = _total(told.get("reserved_bytes"))
        table.add_row(
            _name(name, told),
            _state(told),
            Text(str(_number(told, "priority"))),
            Text(sized(held)) if held else Text("-", "dim"),
            _count(_number(told, "waiting"), ""),
            _count(_number(told, "running"), "green"),
            _count(node.missed[name], "red"),
        )
    return table


def _name(name: str, told: Mapping[str, Any]) -> Text:
    line = Text(name, "bold")
    for form in (_word(told, "variant"), _word(told, "device")):
        line.append(f" {form}" if form else "", "cyan not bold")
    return line.append(" pinned" if told.get("pinned") is True else "", "dim not bold")


def _state(told: Mapping[str, Any]) -> Text:
    if (why := _word(told, "why")) is not None:
        return Text(f"hung: {why}", "bold red")
    if told.get("is_held") is True:
        return Text("held", "cyan")
    if _number(told, "running"):
        return Text("running", "bold green")
    state = _word(told, "state") or "unknown"
    return Text(state, _MODEL_STATES.get(state, ""))


def _event(at_ns: int, event: Mapping[str, Any], now_ns: int) -> Text:
    line = Text(f"{(now_ns - at_ns) / SECOND_NS:,.0f} s ago".rjust(10), "dim")
    line.append(f" {_word(event, 'event') or 'event'}", "not dim")
    count = _number(event, "count")
    parts = ("" if count is None else f"{count:,}", _word(event, "model"), _word(event, "message"))
    return line.append("".join(f" {part}" for part in parts if part), "not dim")


def _word(told: Mapping[str, Any], key: str) -> str | None:
    value = told.get(key)
    return value if isinstance(value, str) else None


def _number(told: Mapping[str, Any], key: str) -> int | None:
    value = told.get(key)
    return value if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < COUNT_LIMIT


def _total(amounts: Any) -> int:
    values = amounts.values() if isinstance(amounts, dict) else ()
    return sum(value for value in values if _is_number(value))


def _count(number: int | None, style: str) -> Text:
    return Text(f"{number:,}", style) if number else Text("-", "dim")
