"""What this process itself holds."""

from __future__ import annotations

import psutil


def resident_bytes() -> int:
    """The resident set of this process, shared pages included. Takes some 10 microseconds."""
    return int(psutil.Process().memory_info().rss)


class Baseline:
    """What the process held at one moment, to tell what was added since.

    Make it after the imports and before the first engine: the interpreter and its libraries are
    then not charged to the engines.
    """

    def __init__(self, baseline_bytes: int | None = None) -> None:
        self.bytes = resident_bytes() if baseline_bytes is None else baseline_bytes

    def above_bytes(self) -> int:
        """What the process holds above the baseline now; 0 when it holds less."""
        return max(0, resident_bytes() - self.bytes)
