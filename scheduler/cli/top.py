"""`rota top`: nodes, watched over MQTT."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.live import Live

from scheduler.cli.broker_options import (
    URL,
    ConfigFile,
    PasswordFile,
    Prefix,
    TlsCa,
    TlsCert,
    TlsKey,
    Username,
    broker_settings,
)
from scheduler.cli.configuration import complain
from scheduler.cli.exit_status import NO, WRONG
from scheduler.cli.top_table import render_nodes
from scheduler.errors import ConfigError

if TYPE_CHECKING:
    from scheduler.client.watch import Watch
    from scheduler.config.mqtt import Mqtt
    from scheduler.transport.security import Credentials

SETTLE_S = 2.0
"""How long nodes may take to show themselves."""

BEAT_S = 1.0
PERIOD_S = 0.2
"""Nobody reads faster; a node tells no more often either."""


def top(  # noqa: PLR0917 - typer reads them by name
    url: Annotated[
        Optional[str], typer.Argument(metavar="[URL]", help=f"The broker.  [default: {URL}]")
    ] = None,
    node: Annotated[Optional[str], typer.Option(help="This node alone, as rover-1.")] = None,
    once: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--once", help="Print the state once; so too without a terminal.")
    ] = False,
    prefix: Prefix = None,
    config: ConfigFile = None,
    username: Username = None,
    password_file: PasswordFile = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Watch the nodes at the broker URL: their memory, models and last events, until Ctrl-C.

    With --once it ends with 0 when a node is there, 1 when none is or no broker, 2 for wrong usage.
    """
    if find_spec("aiomqtt") is None:
        complain("rota top needs the package aiomqtt; pip install 'rota[mqtt]'")
        raise typer.Exit(WRONG)
    try:
        said = {"url": url, "prefix": prefix, "username": username, "password_file": password_file}
        files = {"ca": tls_ca, "cert": tls_cert, "key": tls_key}
        broker, login = broker_settings(config, said, files)
        watch = _watch(broker, login, node)
    except (ConfigError, ValueError, OSError) as error:
        complain(str(error))
        raise typer.Exit(WRONG) from error
    console = Console(highlight=False)
    shows = _once if once or not console.is_terminal else _live
    try:
        is_there = asyncio.run(shows(watch, console))
    except KeyboardInterrupt:
        return
    except ConnectionError as error:
        complain(str(error))
        raise typer.Exit(NO) from error
    if not is_there:
        complain(f"no node shows itself on {broker.prefix}/{node or '+'}/status")
        raise typer.Exit(NO)


def _watch(broker: Mqtt, login: Credentials, node: str | None) -> Watch:
    from scheduler.client.watch import Watch  # noqa: PLC0415 - an extra

    return Watch(
        str(broker.url),
        node=node,
        prefix=broker.prefix,
        username=broker.username,
        password=login.password,
        tls=login.tls,
    )


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
