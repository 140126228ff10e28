"""A source that lets the engine choose its own input."""

from __future__ import annotations

from scheduler.plugin.engine import EXAMPLE
from scheduler.source.source import Frame, Source


class SyntheticSource(Source):
    """Yields EXAMPLE for ever: the engine runs on what its `example()` makes."""

    async def next_frame(self) -> Frame:
        """A frame without a time of its own."""
        return Frame(EXAMPLE)
