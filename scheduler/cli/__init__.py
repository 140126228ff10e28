"""The command `rota`."""

from scheduler.cli.app import main

__all__ = ["main"]
