"""The requests whose numbers are nearest to one that was asked for."""

from __future__ import annotations

from heapq import heappush, heappushpop

KEPT = 5


class Nearest:
    """Keeps `KEPT` of the numbers it is told, those nearest to `wanted`, whatever their number."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._heap: list[tuple[int, int]] = []

    def add(self, request_id: int) -> None:
        """Take one more."""
        entry = (-abs(request_id - self._wanted), request_id)
        if len(self._heap) < KEPT:
            heappush(self._heap, entry)
        else:
            heappushpop(self._heap, entry)

    def ids(self) -> list[int]:
        """What is kept, in order."""
        return sorted(request_id for _, request_id in self._heap)
