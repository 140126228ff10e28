"""Which broker a command talks to, as who: the keys of a configuration's `mqtt:`, as options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from scheduler.config import load_config
from scheduler.config.mqtt import Mqtt
from scheduler.transport.security import Credentials, read_credentials

URL = "mqtt://localhost:1883"

Url = Annotated[Optional[str], typer.Option(help=f"The broker.  [default: {URL}]")]
Prefix = Annotated[Optional[str], typer.Option(help="What the topics begin with.  [default: rota]")]
ConfigFile = Annotated[
    Optional[Path],
    typer.Option("--config", help="Take the rest from the mqtt section of this configuration."),
]
Username = Annotated[Optional[str], typer.Option(help="The user at the broker.")]
PasswordFile = Annotated[
    Optional[Path], typer.Option(help="A file with the user's password in its first line.")
]
TlsCa = Annotated[
    Optional[Path], typer.Option(help="Whom to trust, a PEM file; else the system's authorities.")
]
TlsCert = Annotated[Optional[Path], typer.Option(help="Who we are, a PEM file.")]
TlsKey = Annotated[Optional[Path], typer.Option(help="The key that goes with --tls-cert.")]

SHARED = ("url", "prefix", "username", "password_file")
"""The client id is the node's own: two who use the same throw each other out."""


def broker_settings(
    file: Path | None, said: Mapping[str, Any], tls: Mapping[str, Path | None]
) -> tuple[Mqtt, Credentials]:
    """What `said` and `tls` say (None: nothing), and for the rest the configuration `file`.

    With the password and the certificates. Raises ValueError, ConfigError and OSError.
    """
    section = Mqtt() if file is None else load_config(file).mqtt
    if section is None:
        raise ValueError(f"{file} has no mqtt section; name the broker with --url")
    files = {} if section.tls is None else section.tls.model_dump()
    files |= {key: path for key, path in tls.items() if path is not None}
    keys = {key: getattr(section, key) for key in SHARED}
    keys |= {key: value for key, value in said.items() if value is not None}
    settings = Mqtt.model_validate({**keys, "tls": files or None})
    if any(tls.values()) and not settings.url.uses_tls:
        raise ValueError("certificates are for TLS; name the broker as mqtts://HOST:8883")
    return settings, read_credentials(settings)
