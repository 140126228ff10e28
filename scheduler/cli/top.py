"""`rota top`: nodes, watched over MQTT."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.live import Live

from scheduler.cli.call import PasswordFile, Username, password_in
from scheduler.cli.configuration import complain
from scheduler.cli.exit_status import NO, WRONG
from scheduler.cli.top_table import render_nodes

if TYPE_CHECKING:
    from scheduler.client.watch import Watch

SETTLE_S = 2.0
"""How long nodes may take to show themselves."""

BEAT_S = 1.0
PERIOD_S = 0.2
"""Nobody reads faster; a node tells no more often either."""


def top(  # noqa: PLR0917 - typer reads them by name
    url: Annotated[
        str, typer.Argument(metavar="[URL]", help="The broker.")
    ] = "mqtt://localhost:1883",
    node: Annotated[Optional[str], typer.Option(help="This node alone, as rover-1.")] = None,
    prefix: Annotated[str, typer.Option(help="What the topics begin with.")] = "rota",
    once: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--once", help="Print the state once; so too without a terminal.")
    ] = False,
    username: Username = None,
    password_file: PasswordFile = None,
) -> None:
    """Watch the nodes at the broker URL: their memory, models and last events, until Ctrl-C.

    With --once it ends with 0 when a node is there, 1 when none is or no broker, 2 for wrong usage.
    """
    if find_spec("aiomqtt") is None:
        complain("rota top needs the package aiomqtt; pip install 'rota[mqtt]'")
        raise typer.Exit(WRONG)
    from scheduler.client.watch import Watch  # noqa: PLC0415 - an extra

    console = Console(highlight=False)
    try:
        watch = Watch(
            url, node=node, prefix=prefix, username=username, password=password_in(password_file)
        )
    except (ValueError, OSError) as error:
        complain(str(error))
        raise typer.Exit(WRONG) from error
    shows = _once if once or not console.is_terminal else _live
    try:
        is_there = asyncio.run(shows(watch, console))
    except KeyboardInterrupt:
        return
    except ConnectionError as error:
        complain(str(error))
        raise typer.Exit(NO) from error
    if not is_there:
        complain(f"no node shows itself on {prefix}/{node or '+'}/status")
        raise typer.Exit(NO)


async def _once(watch: Watch, console: Console) -> bool:
    """Print what there is; returns whether a node is there."""
    async with watch:
        await watch.settle(SETTLE_S)
        console.print(render_nodes(watch.nodes, watch.clock.now_ns(), watch.fault))
    return any(node.is_there for node in watch.nodes.values())


async def _live(watch: Watch, console: Console) -> bool:
    """Show it until interrupted."""
    async with watch:
        await watch.settle(SETTLE_S)
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while True:
                seen = render_nodes(watch.nodes, watch.clock.now_ns(), watch.fault)
                live.update(seen, refresh=True)
                await asyncio.sleep(PERIOD_S)
                await watch.change(BEAT_S)
