"""Giving freed memory back to the system, and keeping the allocator from hoarding it."""

from __future__ import annotations

import ctypes
import gc
from functools import lru_cache

M_ARENA_MAX = -8
M_MMAP_THRESHOLD = -3
"""`mallopt` parameters, from glibc's `malloc.h`."""

ARENAS = 2
MMAP_THRESHOLD_BYTES = 1024**2
"""Above the 600 kB of a small video frame, whose copies would be dear as mappings of their own."""


def collect_garbage() -> None:
    """Collect what only cycles of references still keep."""
    gc.collect()


def release_free_memory() -> None:
    """Collect garbage and return the free pages of the C heap to the system.

    Deleting an onnxruntime session and collecting garbage gives back little or nothing: the pages
    stay on malloc's free lists. `malloc_trim(0)` (malloc_trim(3), glibc alone) returns them. Where
    there is no such call (musl, macOS) only garbage is collected. Takes some milliseconds and holds
    each arena's lock meanwhile, so call it where nobody waits for an answer.
    """
    collect_garbage()
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def tame_malloc() -> bool:
    """Keep malloc from hoarding what engines free; True where the C library took the order.

    Call it before threads start; arenas that exist stay. Two habits of glibc's malloc (mallopt(3))
    are turned off:

    - It gives threads up to 8 arenas per core, and what one thread freed does not serve another's
      request: with a thread per engine, each would hoard its own.
    - It serves large requests by mmap, which are returned when freed, but raises the limit for
      that up to 32 MiB as such blocks are freed; from then on they stay on its lists. A face
      detector was seen to hold 116 MiB after a hundred frames instead of 27, a text reader 257
      instead of 73.
    """
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is None:
        return False
    arenas = mallopt(M_ARENA_MAX, ARENAS)
    return bool(mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES) and arenas)


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
