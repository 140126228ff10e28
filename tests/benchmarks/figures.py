"""What one way of deciding comes to on one workload."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all frames that were due, how many were not answered in time, and what loading cost.

    `late` ones missed their deadline; `refused` ones ended otherwise or were dropped at the source.
    `important` is how many of both asked for a model of the highest priority.
    """

    load_ns: int
    loads: int
    late: int
    refused: int
    important: int

    @property
    def unserved(self) -> int:
        """All that got no answer, or none in time."""
        return self.late + self.refused
