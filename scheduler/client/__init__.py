"""Asking a node over MQTT: `RotaClient`. Needs `rota[mqtt]`; runs under asyncio."""

from scheduler.client.client import RotaClient
from scheduler.client.lease import RemoteLease

__all__ = ["RemoteLease", "RotaClient"]
