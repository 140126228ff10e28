"""The devices that are lost to this process: every later call on them fails, until it ends.

Whoever hosts a process for engines restarts it on this; within it nothing helps.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

_log = logging.getLogger(__name__)
_lost: dict[str, str] = {}


def lose(device: str, why: str) -> None:
    """Note that a device (the name of its pool) is lost, and why. The first time people hear it."""
    if device not in _lost:
        _lost[device] = why
        _log.error("%s is lost to this process, which must be started again: %s", device, why)


def lost_devices() -> Mapping[str, str]:
    """The devices that are lost, each with the error by which it was."""
    return dict(_lost)
