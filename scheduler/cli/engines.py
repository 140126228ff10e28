"""`rota engines`: which engines are installed."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scheduler.plugin.registry import available


def engines() -> None:
    """List the installed engines, those included that cannot be used, and why not."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("engine", "from", "version", "state"):
        table.add_column(heading)
    for entry in available():
        state = Text("ready", "green") if entry.error is None else Text(entry.error, "red")
        table.add_row(Text(entry.name, "bold"), entry.distribution, entry.version, state)
    Console().print(table)
