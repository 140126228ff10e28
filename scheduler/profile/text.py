"""Declared beside measured, as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from scheduler.core.amounts import sized
from scheduler.runtime.measuring import RESOLUTION_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler.core.model import PoolFootprint
    from scheduler.profile.measurement import Measurement
    from scheduler.profile.quantity import Quantity

PARTS = ("resident", "load_peak", "workspace", "per_item")


def render_measurement(one: Measurement, declared: PoolFootprint | None) -> Table:
    """Return a table of the footprint; red is what was declared too small."""
    table = Table(box=None, header_style="dim", pad_edge=False, title_justify="left")
    table.title = f"{one.label} in {one.pool}"
    for heading in ("", "declared", "median", "high", "of"):
        table.add_column(heading, justify="left" if not heading else "right")
    for part in PARTS:
        seen: Quantity | None = getattr(one, part)
        if seen is not None:
            promised = None if declared is None else _declared_bytes(declared, part)
            table.add_row(part, _promise(promised, seen), *_bytes(seen))
    table.add_row("once per process", "", *_bytes(one.overhead))
    if one.claimed is not None:
        table.add_row("its own measure()", "", *_bytes(one.claimed))
    table.add_row("load", "", *_times(one.loads))
    for items, seen_run in one.runs.items():
        table.add_row(f"run of {items}", "", *_times(seen_run))
    table.add_row("unload", "", *_times(one.unloads))
    return table


def falls_short(one: Measurement, declared: PoolFootprint | None) -> list[str]:
    """Return what was declared smaller than it is, part by part."""
    if declared is None:
        return [f"{one.label}: nothing is declared in {one.pool}"]
    return [
        f"{one.label}: {part} is declared as {sized(promised)}, and was {sized(seen.high)}"
        for part in PARTS
        if (seen := getattr(one, part)) is not None
        and _counted_bytes(seen) > (promised := _declared_bytes(declared, part))
    ]


def _counted_bytes(seen: Quantity) -> int:
    """As the runtime counts: what is less than its resolution is threads and buffers."""
    return seen.high - seen.high % RESOLUTION_BYTES


def _declared_bytes(declared: PoolFootprint, part: str) -> int:
    if part == "load_peak":
        return declared.loading_bytes
    return int(getattr(declared, f"{part}_bytes"))


def _promise(promised: int | None, seen: Quantity) -> Text:
    if promised is None:
        return Text("-")
    return Text(sized(promised), "red" if promised < _counted_bytes(seen) else "")


def _bytes(seen: Quantity) -> tuple[str, str, str]:
    return sized(seen.median), sized(seen.high), str(seen.samples)


def _times(seen: Quantity) -> tuple[str, str, str]:
    return f"{seen.median / 1e6:.1f} ms", f"{seen.high / 1e6:.1f} ms", str(seen.samples)


def unknown_models(wanted: str, there: Iterable[str]) -> str:
    """Return what to say when a model is not in the configuration."""
    return f'there is no model "{wanted}"; there is {", ".join(there) or "none"}'
