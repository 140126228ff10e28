"""An engine that takes memory and time as it is told, and computes nothing."""

from __future__ import annotations

import mmap
import threading
import time
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np

from scheduler.config.units import Duration, Nanoseconds, Size
from scheduler.errors import EngineOutOfMemory
from scheduler.plugin.engine import EngineContext, EngineOptions, EnginePlugin

MS_NS = 1_000_000


class SyntheticOptions(EngineOptions):
    """How long a load and a run of one item take, and each further item; the memory held."""

    load: Duration = Nanoseconds(300 * MS_NS)
    infer: Duration = Nanoseconds(20 * MS_NS)
    per_item: Duration = Nanoseconds(2 * MS_NS)
    memory: Size = 200 * 1024 * 1024


class SyntheticEngine(EnginePlugin):
    """Stands for a model in trials, tests and demonstrations.

    It really holds its memory (every page is written to) and really takes its time, asleep. It
    answers each payload with a copy of it, and takes any payload.
    """

    Options = SyntheticOptions

    def __init__(self, options: SyntheticOptions, context: EngineContext) -> None:
        super().__init__(options, context)
        self._memory: mmap.mmap | None = None
        self._called_off = threading.Event()

    def load(self) -> None:
        """Take the memory, and the rest of the time asleep."""
        ends_ns = time.monotonic_ns() + self.options.load
        if self.options.memory:
            self._memory = _touched(self.options.memory)
        time.sleep(max(0, ends_ns - time.monotonic_ns()) / 1e9)

    def infer(self, batch: Sequence[Any]) -> list[Any]:
        """Sleep, then answer each payload with a copy of it. `cancel` ends the sleep."""
        self._called_off.clear()
        self._called_off.wait((self.options.infer + self.options.per_item * (len(batch) - 1)) / 1e9)
        return [copy(payload) for payload in batch]

    def unload(self) -> None:
        """Give the memory back."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def example(self) -> Any:
        """A small array, float32 of shape (16,)."""
        return np.zeros(16, np.float32)

    def cancel(self) -> None:
        """Let the run that sleeps end now."""
        self._called_off.set()


def _touched(size_bytes: int) -> mmap.mmap:
    """An anonymous mapping with every page written to: unlike the heap's, all of it comes back.

    Written through numpy, which lets other Python threads run meanwhile.
    """
    try:
        memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise EngineOutOfMemory(f"the system does not give {size_bytes} bytes: {error}") from None
    np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 1
    return memory
