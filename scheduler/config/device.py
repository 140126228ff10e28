"""Where a model may be placed: one pool, or a choice of several."""

from collections.abc import Sequence
from typing import Annotated, Union

from pydantic import PlainValidator

from scheduler.config.name import read_pool_name
from scheduler.config.units import quoted

DEFAULT_POOL = "unified"


def _read_device(value: object) -> str | tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        return read_pool_name(value)
    names = tuple(read_pool_name(name) for name in value)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{quoted(list(value))} names no pool, or one twice; name each once")
    return names if len(names) > 1 else names[0]


Device = Annotated[Union[str, tuple[str, ...]], PlainValidator(_read_device)]
"""A pool, a family of pools (`cuda` for `cuda:0`, `cuda:1` and so on), or a list of either."""


def family(pool: str) -> str:
    """`cuda` of `cuda:1`; empty where a pool is of none."""
    return pool.rpartition(":")[0]


def places(device: str | tuple[str, ...] | None, pools: Sequence[str]) -> tuple[str, ...]:
    """The pools that `device` stands for; the first where nothing is said.

    What is neither a pool nor a family of some is returned as it is.
    """
    if device is None:
        return (pools[0],)
    found: dict[str, None] = {}
    for name in (device,) if isinstance(device, str) else device:
        members = [] if name in pools else [pool for pool in pools if family(pool) == name]
        found.update(dict.fromkeys(members or [name]))
    return tuple(found)


def placed(device: str | tuple[str, ...] | None, pools: Sequence[str]) -> str | tuple[str, ...]:
    """`device` as it is on a machine with these pools: one of them, or a choice."""
    there = places(device, pools)
    return there if len(there) > 1 else there[0]
