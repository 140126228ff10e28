"""Keeps engines of one process from breaking each other's CUDA graphs.

While a graph is captured, whatever waits for the whole device fails, in any thread, and breaks the
capture as well (CUDA errors 900 and 901; the CUDA programming guide, "Prohibited and Unhandled
Operations" of stream capture). Loading a model through onnxruntime waits for the device. So who
captures asks first and runs without a graph where it may not; who waits for the device holds
captures off.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final


class CaptureGate:
    """Either one engine captures, or any number wait for the device."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting = 0
        self._is_capturing = False

    @contextmanager
    def wait_for_device(self) -> Iterator[None]:
        """Hold this around what waits for the device. A capture that is under way ends first."""
        with self._changed:
            self._waiting += 1
            while self._is_capturing:
                self._changed.wait()
        try:
            yield
        finally:
            with self._changed:
                self._waiting -= 1

    @contextmanager
    def try_capture(self) -> Iterator[bool]:
        """Yield whether a graph may be captured inside; where not, run without one."""
        with self._changed:
            may = not (self._waiting or self._is_capturing)
            if may:
                self._is_capturing = True
        try:
            yield may
        finally:
            if may:
                with self._changed:
                    self._is_capturing = False
                    self._changed.notify_all()


CAPTURE_GATE: Final = CaptureGate()
"""The one of this process: a capture concerns all of its engines."""
