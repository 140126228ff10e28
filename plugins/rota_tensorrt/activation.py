"""The memory that a plan's layers work in while it runs: held, taken for each run, or shared.

A plan says how much it is, for the largest shapes of its profiles. It holds nothing between runs,
so engines that never run at the same time can use one block in turn: the largest, not the sum.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Activation(str, Enum):
    """Where an engine's working memory comes from."""

    HELD = "held"
    """Its own, from load to unload: fastest, and part of what is resident."""
    RUN = "run"
    """Its own, taken for each run at the size its shapes need, and given back after it."""
    SHARED = "shared"
    """One block for all engines of the process and the GPU that say so, who run in turn."""


class Memory(Protocol):
    """Who gives device memory."""

    def allocate(self, size_bytes: int) -> int:
        """Return the address of so much memory."""

    def free(self, address: int) -> None:
        """Take it back."""


class SharedBlock:
    """One block that engines use in turn, as large as the largest of them needs.

    It is taken when the first needs it, and freed when the last has left, or when the one that made
    it so large has. Whoever finds it in use waits: engines that share it should hold the same unit
    of a resource (`uses: {gpu: 1}`), so that nobody does.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._needs: dict[int, int] = {}
        self._address: int | None = None
        self.size_bytes = 0

    @property
    def largest_bytes(self) -> int:
        """What the largest of its engines needs."""
        return max(self._needs.values(), default=0)

    def join(self, engine: int, needed_bytes: int) -> None:
        """Add an engine, by a number of its own, with the most it will ever need."""
        with self._turn:
            self._needs[engine] = needed_bytes

    def leave(self, engine: int, memory: Memory) -> None:
        """Take an engine off; `memory` is freed through the driver of who leaves."""
        with self._turn:
            self._needs.pop(engine, None)
            if self._address is not None and self.largest_bytes < self.size_bytes:
                self._free(memory)

    @contextmanager
    def lend(self, memory: Memory) -> Iterator[int]:
        """Yield the block's address, to one engine at a time."""
        with self._turn:
            if self.largest_bytes > self.size_bytes:
                self._free(memory)
                self._address = memory.allocate(self.largest_bytes)
                self.size_bytes = self.largest_bytes
            yield self._address or 0

    def _free(self, memory: Memory) -> None:
        address, self._address, self.size_bytes = self._address, None, 0
        if address is not None:
            memory.free(address)


_blocks: dict[int, SharedBlock] = {}
_blocks_lock = threading.Lock()


def shared_block(device_number: int) -> SharedBlock:
    """Return the block that engines of one GPU share in this process."""
    with _blocks_lock:
        return _blocks.setdefault(device_number, SharedBlock())


class WorkingMemory:
    """One engine's working memory, of whichever kind. With the context current throughout."""

    def __init__(
        self, kind: Activation, memory: Memory, most_bytes: int, block: SharedBlock
    ) -> None:
        """Take it now when it is `held`; join the block when it is shared.

        Raises:
            EngineOutOfMemory: it is not there.
        """
        self._kind = kind
        self._memory = memory
        self._block = block
        self._most_bytes = most_bytes
        self._address: int | None = None
        if kind is Activation.HELD and most_bytes:
            self._address = memory.allocate(most_bytes)
        if kind is Activation.SHARED:
            block.join(id(self), most_bytes)

    @property
    def held_bytes(self) -> int:
        """What this engine alone holds between runs; a shared block is nobody's own."""
        return self._most_bytes if self._address is not None else 0

    @contextmanager
    def lend(self, needed_bytes: int) -> Iterator[tuple[int, int]]:
        """Yield the address and the bytes of memory for a run that needs `needed_bytes`."""
        if self._kind is Activation.SHARED:
            with self._block.lend(self._memory) as address:
                yield address, self._block.size_bytes
        elif self._kind is Activation.RUN and needed_bytes:
            address = self._memory.allocate(needed_bytes)
            try:
                yield address, needed_bytes
            finally:
                self._memory.free(address)
        else:
            yield self._address or 0, self._most_bytes

    def close(self) -> None:
        """Give it back. Called twice, it does nothing."""
        address, self._address = self._address, None
        if self._kind is Activation.SHARED:
            self._block.leave(id(self), self._memory)
        elif address is not None:
            self._memory.free(address)
