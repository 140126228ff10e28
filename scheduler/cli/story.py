"""What came of it all: one line per model about its results."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from scheduler.core.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.plugin.engine import EnginePlugin
    from scheduler.source.answer import Answer

REMEMBERED = 2048
"""Results kept per model: enough for a minute of a fast camera, and bounded."""


class Story:
    """Keeps the last results of each model, for its plugin to sum up."""

    def __init__(self, plugins: Mapping[str, type[EnginePlugin]]) -> None:
        self._plugins = dict(plugins)
        self._results: dict[str, deque[Any]] = {name: deque(maxlen=REMEMBERED) for name in plugins}

    def take(self, answer: Answer) -> None:
        """Remember a result. A listener for feeders."""
        if answer.outcome is Outcome.COMPLETED and answer.model in self._results:
            self._results[answer.model].append(answer.result)

    def render(self) -> Table:
        """One line per model that had results."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column()
        for name, results in self._results.items():
            if results:
                table.add_row(Text(name, "bold"), Text(self._line(name, list(results))))
        return table

    def _line(self, name: str, results: list[Any]) -> str:
        try:
            return self._plugins[name].summary(results)
        except Exception as error:  # noqa: BLE001 - a plugin's summary must not cost the run's
            return f"{len(results)} results (its summary failed: {error})"
