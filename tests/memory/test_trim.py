import ctypes
import gc
import weakref

import pytest

from scheduler.memory import trim
from scheduler.memory.process import resident_bytes

MIB = 1024**2


class Node:
    pass


def test_it_collects_cycles():
    node = Node()
    node.itself = node
    alive = weakref.ref(node)
    gc.disable()
    try:
        del node
        trim.release_free_memory()
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc alone trims")
def test_freed_heap_goes_back_to_the_system():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = resident_bytes()
    blocks = [libc.malloc(64 * 1024) for _ in range(1600)]
    for block in blocks:
        ctypes.memset(block, 1, 64 * 1024)
    for block in blocks[:-1]:  # the last keeps the top of the heap in use: free alone cannot shrink
        libc.free(block)
    held = resident_bytes() - before
    trim.release_free_memory()
    kept = resident_bytes() - before
    libc.free(blocks[-1])
    assert held > 80 * MIB
    assert kept < 20 * MIB


def test_without_malloc_trim_it_only_collects(monkeypatch):
    monkeypatch.setattr(trim, "_libc", lambda: None)
    trim.release_free_memory()
    assert trim.limit_malloc_arenas(2) is False


def test_arenas_are_limited_and_zero_is_refused(monkeypatch):
    orders = []

    class Libc:
        @staticmethod
        def mallopt(parameter, value):
            orders.append((parameter, value))
            return 1

    monkeypatch.setattr(trim, "_libc", Libc)
    assert trim.limit_malloc_arenas(2) is True
    assert orders == [(-8, 2)]
    with pytest.raises(ValueError, match="at least 1"):
        trim.limit_malloc_arenas(0)
