"""What TensorRT logs, kept until somebody asks for the reason of a failure."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import tensorrt as trt

    from rota_tensorrt.library import Library

_log = logging.getLogger(__name__)
_MOST_LINES: Final = 200
_ERROR: Final = 1
_WARNING: Final = 2
_INFO: Final = 3


class Lines:
    """The errors and warnings of the calls since `clear`, and what was said of memory."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.figures: list[str] = []

    def clear(self) -> None:
        """Forget them, before a call whose reason for failing will be asked for."""
        self.errors.clear()
        self.warnings.clear()
        self.figures.clear()

    def add(self, severity: int, text: str) -> None:
        """Take one line; `severity` as in `ILogger.Severity`, 0 the gravest."""
        if severity <= _ERROR:
            _keep(self.errors, text)
            _log.debug("%s", text)
        elif severity == _WARNING:
            _keep(self.warnings, text)
        elif severity == _INFO and text.startswith("Total "):
            _keep(self.figures, text)


def _keep(lines: list[str], text: str) -> None:
    if len(lines) < _MOST_LINES:
        lines.append(text)


def make_logger(module: Library) -> tuple[trt.ILogger, Lines]:
    """Make a logger for the library, and the lines that it fills.

    Its class is made here, since it derives from one of a module that is imported late.
    """
    lines = Lines()

    class Logger(module.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            lines.add(int(severity), msg)

    return Logger(), lines
