"""Giving freed memory back to the system, and keeping the allocator from hoarding it."""

from __future__ import annotations

import ctypes
import gc
from functools import lru_cache

M_ARENA_MAX = -8
"""`mallopt` parameter: the most arenas glibc's malloc makes. From glibc's `malloc.h`."""


def release_free_memory() -> None:
    """Collect garbage and return the free pages of the C heap to the system.

    Deleting an onnxruntime session and collecting garbage gives back little or nothing: the pages
    stay on malloc's free lists. `malloc_trim(0)` (malloc_trim(3), glibc alone) returns them. Where
    there is no such call (musl, macOS) only garbage is collected. Takes some milliseconds and holds
    each arena's lock meanwhile, so call it where nobody waits for an answer.
    """
    gc.collect()
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def limit_malloc_arenas(arenas: int) -> bool:
    """Let malloc use at most `arenas` arenas; True where the C library took the order.

    By default glibc gives threads up to 8 arenas per core (mallopt(3), M_ARENA_MAX), and what one
    thread freed does not serve another's request: with a thread per engine, each hoards its own.
    Call it before threads start; arenas that exist stay.

    Raises:
        ValueError: `arenas` is less than 1 (to glibc, 0 means "no limit").
    """
    if arenas < 1:
        raise ValueError(f"arenas is {arenas}; give a number of at least 1")
    mallopt = getattr(_libc(), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_ARENA_MAX, arenas))


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
