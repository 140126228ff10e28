"""Where results go."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection

from scheduler.source.answer import Answer

_log = logging.getLogger(__name__)


class Sink(ABC):
    """Writes the answers of some models somewhere. Called in the event loop: be quick."""

    @abstractmethod
    def write(self, answer: Answer) -> None:
        """Write one answer, or raise."""

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Write what is left and let go. Called twice, it does nothing."""


class Outlet:
    """A sink with the models it is for. Never raises: a sink that fails is closed for good.

    Then `failed_by` says why, one message has been logged, and `lost` counts what it did not get.
    Frames that were dropped before they were sent are not written.
    """

    def __init__(self, name: str, sink: Sink, models: Collection[str] | None = None) -> None:
        self.name = name
        self.written = 0
        self.lost = 0
        self.failed_by: str | None = None
        self._sink = sink
        self._models = None if models is None else frozenset(models)

    def take(self, answer: Answer) -> None:
        """Write the answer if it is for this sink. A listener for feeders."""
        if answer.outcome is None or not (self._models is None or answer.model in self._models):
            return
        if self.failed_by is not None:
            self.lost += 1
            return
        try:
            self._sink.write(answer)
        except Exception as error:  # noqa: BLE001 - a full disk must not stop the robot
            self.lost += 1
            self._fail(error)
        else:
            self.written += 1

    def close(self) -> None:
        """Close the sink; a failure to write what was left is logged."""
        try:
            self._sink.close()
        except Exception as error:  # noqa: BLE001 - as above
            if self.failed_by is None:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.failed_by = f"{type(error).__name__}: {error}"
        _log.error("sink %s is off from now on: %s", self.name, self.failed_by)
        self.close()
