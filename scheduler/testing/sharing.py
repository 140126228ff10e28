"""Whether two results share memory that could change under one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

MUTABLE = (list, dict, set, bytearray, np.ndarray)


def shared_part(one: Any, other: Any) -> str | None:
    """Name what `one` and `other` share and could both change; None where they share nothing.

    Two results alive at the same time cannot share memory by accident, so this finds a reused
    buffer even where both calls wrote the same values into it. Arrays that nobody can write to
    (a table of labels, say) may be shared. Containers are searched, other objects are not.
    """
    others = list(_mutable_parts(other))
    for part in _mutable_parts(one):
        for candidate in others:
            if _overlap(part, candidate):
                return _describe(part)
    return None


def same(one: Any, other: Any) -> bool:
    """Whether two results are equal, arrays and NaN included."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return _same_array(np.asarray(one), np.asarray(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)  # noqa: PLR0124 - NaN


def _same_array(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    comparable = one.dtype.kind in "fc" and other.dtype.kind in "fc"
    return np.array_equal(one, other, equal_nan=comparable)


def _mutable_parts(value: Any) -> Iterator[Any]:
    if isinstance(value, MUTABLE) and not _is_frozen(value):
        yield value
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _mutable_parts(part)


def _is_frozen(value: Any) -> bool:
    """Whether neither the array nor anything it is a view of can be written to."""
    while isinstance(value, np.ndarray):
        if value.flags.writeable:
            return False
        value = value.base
    return value is None


def _overlap(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.shares_memory(one, other)
    return one is other


def _describe(part: Any) -> str:
    if isinstance(part, np.ndarray):
        return f"an array of shape {part.shape}"
    return f"a {type(part).__name__}"
