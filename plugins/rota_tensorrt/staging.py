"""Where the inputs and outputs of a run lie: one block in pinned memory and one on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rota_tensorrt.failure import guarded
from scheduler.plugin.capture import CAPTURE_GATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rota_tensorrt.device import Device

ALIGNMENT_BYTES: Final = 256
"""TensorRT wants its tensors aligned so; so does the fastest copy."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The place of each tensor in a block: its offset and its bytes."""

    places: Mapping[str, tuple[int, int]]
    total_bytes: int

    @classmethod
    def of(cls, sizes_bytes: Mapping[str, int]) -> Layout:
        """Lay tensors of these sizes one after the other, aligned. An empty one has a place too."""
        places = {}
        end = 0
        for name, size_bytes in sizes_bytes.items():
            places[name] = (end, size_bytes)
            end += max(1, -(-size_bytes // ALIGNMENT_BYTES)) * ALIGNMENT_BYTES
        return cls(places, end)


class Staging:
    """The two blocks, kept from run to run while they are large enough, and no larger than needed.

    They come from pycuda's pools, which belong to the engine. Use it with the context current.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._pinned: Any = None
        self._memory: Any = None
        self.size_bytes = 0

    def fit(self, layout: Layout) -> bool:
        """Have room for `layout`; True when the blocks are others than before.

        Raises:
            EngineOutOfMemory: there is none.
        """
        needed_bytes = layout.total_bytes
        if needed_bytes <= self.size_bytes <= _GENEROUS * needed_bytes:
            return False
        with CAPTURE_GATE.wait_for_device():
            self._take(needed_bytes)
        self.size_bytes = needed_bytes
        return True

    def _take(self, needed_bytes: int) -> None:
        self.free()
        device = self._device
        device.pinned.free_held()
        device.staging.free_held()
        try:
            self._memory = device.staging.allocate(needed_bytes)
            self._pinned = device.pinned.allocate((needed_bytes,), np.uint8)
        except Exception as error:
            self.free()
            raise guarded(device.subject, error, "taking memory for inputs and outputs") from error

    def host(self, layout: Layout, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return a tensor's bytes in pinned memory."""
        offset, size_bytes = layout.places[name]
        view: np.ndarray[Any, np.dtype[np.uint8]] = self._pinned[offset : offset + size_bytes]
        return view

    def address(self, layout: Layout, name: str) -> int:
        """Return a tensor's address on the device."""
        return int(self._memory) + layout.places[name][0]

    def free(self) -> None:
        """Give both blocks back to their pools. Called twice, it does nothing."""
        memory, self._memory, self._pinned = self._memory, None, None
        self.size_bytes = 0
        if memory is not None:
            memory.free()


_GENEROUS: Final = 4
"""Blocks this many times too large are given back: a rare large batch must not stay for good."""
