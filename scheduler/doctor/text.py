"""A checkup as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from scheduler.core.amounts import sized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from scheduler.doctor.advice import Advice
    from scheduler.doctor.checkup import Checkup, PoolFacts
    from scheduler.doctor.context import ContextCost


def render_checkup(found: Checkup) -> Group:
    """Return it for the console: facts first, then what is to be mended, with the lines."""
    parts: list[RenderableType] = [_machine(found), Text(), _pools(found.pools)]
    if found.context is not None:
        parts.append(Text(_context(found.context)))
    parts += [Text(), *_advice(found.advice), Text(), _engines(found)]
    return Group(*parts)


def _machine(found: Checkup) -> Text:
    machine = found.machine
    memories = "one memory" if machine.kind == "integrated" else "devices with memory of their own"
    text = f"{machine.processor}, {machine.cores} cores, {memories}, {machine.system}"
    if machine.board or machine.chip:
        board = machine.board or "a Jetson"
        release = f", JetPack {machine.jetpack}" if machine.jetpack else ""
        text = f"{board} ({machine.chip or 'unknown chip'}{release}); {text}"
    return Text(text)


def _pools(pools: tuple[PoolFacts, ...]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("pool", "source", "total", "available", "largest block", "age"):
        table.add_column(heading)
    for pool in pools:
        table.add_row(
            Text(pool.pool, "bold"),
            pool.source + (f" ({pool.trouble})" if pool.trouble else ""),
            _known(pool.total_bytes),
            _known(pool.available_bytes),
            _known(pool.largest_block_bytes),
            f"{pool.age_ms:.0f} ms",
        )
    return table


def _known(amount_bytes: int | None) -> str:
    return "unknown" if amount_bytes is None else sized(amount_bytes)


def _context(cost: ContextCost) -> str:
    if cost.error:
        return f"a CUDA context cannot be made: {cost.error}"
    return (
        f"a CUDA context costs a process {(cost.took_ns or 0) / 1e6:.0f} ms, "
        f"{_known(cost.device_bytes)} of {cost.pool} and {_known(cost.process_bytes)} of its own, "
        "once: declare it as memory's overhead"
    )


def _advice(found: tuple[Advice, ...]) -> Iterator[Text]:
    for advice in found:
        mark = Text("ok  ", "green") if advice.good else Text("mend ", "yellow")
        yield Text.assemble(mark, f"{advice.about}: {advice.text}")
        for line in advice.mend:
            yield Text(f"       {line}")


def _engines(found: Checkup) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("engine", "from", "state"):
        table.add_column(heading)
    for engine in found.engines:
        state = Text(engine.error, "red") if engine.error else Text("can run", "green")
        table.add_row(Text(engine.name, "bold"), f"{engine.distribution} {engine.version}", state)
    return table
