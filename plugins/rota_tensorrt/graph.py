"""A run as one CUDA graph: launched at once instead of kernel by kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.plugin.capture import CAPTURE_GATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from rota_tensorrt.driver import Driver


class Graph:
    """The graph of the shapes that ran last, captured at their second run.

    The first run of new shapes goes kernel by kernel: TensorRT sets itself up for them then, which
    cannot be captured. Shapes that change with every request are never captured, and while another
    engine of the process waits for the device nothing is.
    """

    def __init__(self, driver: Driver, stream: int) -> None:
        self._driver = driver
        self._stream = stream
        self._handle: int | None = None
        self._has_run = False

    def run(self, enqueue: Callable[[], None]) -> None:
        """Put the run on the stream; `enqueue` does it kernel by kernel."""
        if not self._has_run:
            enqueue()
            self._has_run = True
            return
        if self._handle is None:
            with CAPTURE_GATE.try_capture() as may:
                self._handle = self._capture(enqueue) if may else None
        if self._handle is None:
            enqueue()
        else:
            self._driver.launch(self._handle, self._stream)

    def drop(self) -> None:
        """Forget the graph: shapes or addresses are others now. Called twice, it does nothing."""
        handle, self._handle, self._has_run = self._handle, None, False
        if handle is not None:
            self._driver.destroy_graph(handle)

    def _capture(self, enqueue: Callable[[], None]) -> int:
        self._driver.begin_capture(self._stream)
        try:
            enqueue()
        except BaseException:
            self._driver.abandon_capture(self._stream)
            raise
        return self._driver.end_capture(self._stream)
