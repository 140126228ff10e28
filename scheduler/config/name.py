"""Names of models, pools, resources, groups, sources, sinks and nodes."""

from __future__ import annotations

import re
import socket
from typing import Annotated

from pydantic import PlainValidator

from scheduler.config.units import quoted

NAME_MAX = 64

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_POOL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*", re.ASCII)


def _read_name(value: object) -> str:
    return _matching(value, NAME, "letters, digits, _ . and -")


def read_pool_name(value: object) -> str:
    """Read the name of a pool, or of a family of pools. Raises ValueError."""
    return _matching(value, _POOL_NAME, "letters, digits, _ . : and -")


def _matching(value: object, pattern: re.Pattern[str], allowed: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{quoted(value)} is not a name; write it in quotes")  # noqa: TRY004 - pydantic gathers ValueErrors
    if len(value) > NAME_MAX or not pattern.fullmatch(value):
        raise ValueError(
            f"{quoted(value)} cannot be a name; use 1 to {NAME_MAX} of {allowed} (a to z without "
            "accents), beginning with a letter, a digit or _"
        )
    return value


def host_node() -> str:
    """Name this node after its host, with what no name may have replaced by `-`."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:NAME_MAX]
    return host if NAME.fullmatch(host) else "node"


Name = Annotated[str, PlainValidator(_read_name)]
"""ASCII letters, digits, `_`, `.` and `-`: a name is part of topics, URLs and file names."""
PoolName = Annotated[str, PlainValidator(read_pool_name)]
"""As `Name`, with `:` for devices (`cuda:0`): pools, and resources that each of these has."""
