"""What proves to the broker who we are, and to us who it is."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scheduler.errors import ConfigError

if TYPE_CHECKING:
    from scheduler.config.mqtt import Mqtt


@dataclass(frozen=True, slots=True)
class Credentials:
    """The TLS settings, None without TLS, and the password, if any."""

    tls: ssl.SSLContext | None = None
    password: str | None = field(default=None, repr=False)


def read_credentials(config: Mqtt) -> Credentials:
    """Read the files that a configuration names. Raises ConfigError."""
    return Credentials(_tls(config), _password(config))


def _tls(config: Mqtt) -> ssl.SSLContext | None:
    if not config.url.uses_tls:
        return None
    tls = config.tls
    try:
        context = ssl.create_default_context(
            cafile=None if tls is None or tls.ca is None else str(tls.ca)
        )
        if tls is not None and tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"mqtt.tls: {error}; name PEM files that go together"]) from error
    return context


def _password(config: Mqtt) -> str | None:
    if config.password_file is None:
        return None
    try:
        text = config.password_file.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError([f"mqtt.password_file: {error}; name a text file"]) from error
    return text.splitlines()[0] if text else ""
