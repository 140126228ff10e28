import ctypes
import gc
import subprocess
import sys
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
    assert trim.tame_malloc() is False


HOARD = """
import ctypes, sys
from scheduler.memory.process import resident_bytes
from scheduler.memory.trim import tame_malloc

if sys.argv[1] == "tame":
    assert tame_malloc()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]


def block(size):
    address = libc.malloc(size)
    ctypes.memset(address, 1, size)
    return address


MIB = 1024**2
libc.free(block(30 * MIB))  # From now on, by itself, malloc keeps blocks of up to 30 MiB.
before = resident_bytes()
blocks = [block(20 * MIB), block(20 * MIB), block(1000)]
libc.free(blocks[0])
libc.free(blocks[1])
print((resident_bytes() - before) // MIB)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc alone has mallopt")
@pytest.mark.parametrize(("habit", "kept_mib"), [("tame", 1), ("wild", 39)])
def test_a_tame_malloc_returns_large_blocks_when_they_are_freed(habit, kept_mib):
    command = [sys.executable, "-c", HOARD, habit]
    kept = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert kept <= kept_mib if habit == "tame" else kept >= kept_mib
