"""`rota doctor mqtt`: what a broker can do, how long it takes, and what would mend it."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from scheduler.cli.broker_options import (
    URL,
    ConfigFile,
    PasswordFile,
    TlsCa,
    TlsCert,
    TlsKey,
    Username,
    broker_settings,
)
from scheduler.cli.configuration import complain
from scheduler.cli.exit_status import NO, WRONG
from scheduler.errors import ConfigError

if TYPE_CHECKING:
    from scheduler.client.broker_checkup import BrokerCheckup


def doctor_mqtt(  # noqa: PLR0917 - typer reads them by name
    url: Annotated[
        Optional[str], typer.Argument(metavar="[URL]", help=f"The broker.  [default: {URL}]")
    ] = None,
    config: ConfigFile = None,
    username: Username = None,
    password_file: PasswordFile = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Measure the round trip over the broker at URL, try what nodes need, say what would mend it.

    Ends with 0 when all is well, 1 when there is something to mend or no broker, 2 for wrong usage.
    """
    if find_spec("aiomqtt") is None:
        complain("rota doctor mqtt needs the package aiomqtt; pip install 'rota[mqtt]'")
        raise typer.Exit(WRONG)
    from aiomqtt import MqttError  # noqa: PLC0415 - an extra

    from scheduler.client.broker_checkup import examine  # noqa: PLC0415 - an extra

    try:
        said = {"url": url, "username": username, "password_file": password_file}
        files = {"ca": tls_ca, "cert": tls_cert, "key": tls_key}
        broker, login = broker_settings(config, said, files)
    except (ConfigError, ValueError, OSError) as error:
        complain(str(error))
        raise typer.Exit(WRONG) from error
    try:
        found = asyncio.run(
            examine(broker.url.host, broker.url.port, username=broker.username, login=login)
        )
    except (MqttError, OSError, asyncio.TimeoutError) as error:
        told = error or "it does not answer"
        complain(f"no connection to a broker at {broker.url}: {told}")
        raise typer.Exit(NO) from error
    if not show(found):
        raise typer.Exit(NO)


def show(found: BrokerCheckup) -> bool:
    """Print a checkup; returns whether all is well."""
    console = Console(highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, told in _rows(found):
        table.add_row(name, told)
    console.print(table)
    findings = found.findings()
    for finding in findings:
        console.print(f"to mend: {finding}", markup=False, soft_wrap=True)
    if not findings:
        console.print("all is well")
    return not findings


def _rows(found: BrokerCheckup) -> list[tuple[str, str]]:
    limit = found.packet_max_bytes
    rows = [
        ("broker", f"{found.host}:{found.port}, {found.version or 'does not tell its version'}"),
        ("TCP connect", f"{found.connect_ms:.2f} ms"),
        ("MQTT 5", _yes(found.is_mqtt5)),
    ]
    if not found.is_mqtt5:
        return rows
    rows.append(("packet limit", "none told" if limit is None else f"{limit:,} bytes"))
    for (qos, way), ms in found.trip_ms.items():
        told = "does not come back" if ms is None else f"{ms:.2f} ms"
        rows.append((f"QoS {qos} round trip, {way}", told))
    return [
        *rows,
        ("retained messages", _yes(found.retains)),
        ("shared subscriptions", _yes(found.shares)),
    ]


def _yes(is_so: bool) -> str:  # noqa: FBT001 - what it says is all there is to it
    return "yes" if is_so else "no"
