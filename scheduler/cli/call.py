"""`rota call`: ask a node's model once, by hand."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import numpy as np
import typer
from rich.console import Console

from scheduler.cli.broker_options import (
    ConfigFile,
    PasswordFile,
    Prefix,
    TlsCa,
    TlsCert,
    TlsKey,
    Url,
    Username,
    broker_settings,
)
from scheduler.cli.configuration import complain
from scheduler.cli.exit_status import NO, WRONG
from scheduler.config.priority import read_priority
from scheduler.config.units import read_duration
from scheduler.errors import ConfigError, RequestError
from scheduler.plugin.engine import EXAMPLE
from scheduler.sink.plain import Plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scheduler.client import RotaClient
    from scheduler.config.mqtt import Mqtt
    from scheduler.transport.security import Credentials

File = Annotated[
    Optional[Path],
    typer.Argument(
        metavar="[FILE]",
        help=".npy, .jpg, .png, .wav or .json (a whole request); or the engine's own example.",
    ),
]


Deadline = Annotated[str, typer.Option(help="How long the answer is of use, as 200ms or 5s.")]
Priority = Annotated[
    Optional[str], typer.Option(help="0 to 100, higher goes first, or a word as high.")
]
Accept = Annotated[str, typer.Option(help="The content type wanted of an array.")]
Output = Annotated[
    Optional[Path], typer.Option(help="Write the result: an array as .npy, the rest as JSON.")
]
Frames = Annotated[bool, typer.Option("--frames", help="Pass what is large through shared memory.")]


def call(  # noqa: PLR0917 - typer reads them by name
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node's name, as rover-1.")],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="One of its models.")],
    file: File = None,
    deadline: Deadline = "10s",
    priority: Priority = None,
    accept: Accept = "application/x-npy",
    output: Output = None,
    url: Url = None,
    prefix: Prefix = None,
    config: ConfigFile = None,
    username: Username = None,
    password_file: PasswordFile = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    frames: Frames = False,  # noqa: FBT002 - as above
) -> None:
    """Ask MODEL of NODE with FILE, over MQTT, and print its result as JSON.

    Ends with 0 when it was answered, 1 when it was refused, failed or nobody was there, 2 for wrong
    usage. Arrays of more than 1024 elements are told by their shape; --output writes all of them.
    """
    if find_spec("aiomqtt") is None:
        complain("rota call needs the package aiomqtt; pip install 'rota[mqtt]'")
        raise typer.Exit(WRONG)
    with _reported(f"{model} of {node}"):
        said = {"url": url, "prefix": prefix, "username": username, "password_file": password_file}
        files = {"ca": tls_ca, "cert": tls_cert, "key": tls_key}
        client = _client(node, *broker_settings(config, said, files), frames=frames)
        terms = {
            "deadline": read_duration(deadline, from_file=True) / 1e9,
            "priority": None if priority is None else _priority(priority),
            "accept": accept,
        }
        answer = _ask(client, model, file or EXAMPLE, terms, frames=frames)
        _show(asyncio.run(answer), output)


def _client(node: str, broker: Mqtt, login: Credentials, *, frames: bool) -> RotaClient:
    from scheduler.client import RotaClient  # noqa: PLC0415 - an extra

    return RotaClient(
        str(broker.url),
        node=node,
        prefix=broker.prefix,
        username=broker.username,
        password=login.password,
        tls=login.tls,
        connect=0,
        frames=frames,
    )


@contextmanager
def _reported(who: str) -> Iterator[None]:
    """Turn what went wrong into a line and an exit status."""
    try:
        yield
    except (RequestError, ConnectionError) as error:
        complain(f"{who}: {error}")
        raise typer.Exit(NO) from error
    except (ConfigError, ValueError, TypeError, OSError) as error:
        complain(str(error))
        raise typer.Exit(WRONG) from error


async def _ask(
    client: RotaClient, model: str, payload: Any, terms: Mapping[str, Any], *, frames: bool
) -> Any:
    async with client:
        began = time.perf_counter()
        result = await client.infer(model, payload, notify=_tell, **terms)
        took_ms = (time.perf_counter() - began) * 1e3
        if frames and client.frames_fault is not None:
            complain(f"all goes by message: {client.frames_fault}")
    complain(f"{model} answered in {took_ms:.1f} ms")
    return result


def _tell(notice: Mapping[str, Any]) -> None:
    complain(str(notice.get("message")))


def _show(result: Any, output: Path | None) -> None:
    if output is None:
        text = json.dumps(Plain().value(result), indent=2, ensure_ascii=False)
        Console().print(text, markup=False, highlight=False, soft_wrap=True)
    elif isinstance(result, np.ndarray):
        with output.open("wb") as file:
            np.save(file, result, allow_pickle=False)
    else:
        told = result
        if isinstance(result, dict):
            told = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in result.items()}
        output.write_text(json.dumps(told, ensure_ascii=False) + "\n", encoding="utf-8")


def _priority(text: str) -> int:
    return read_priority(int(text) if text.isdecimal() else text)
