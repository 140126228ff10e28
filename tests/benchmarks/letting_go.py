"""Whom a plan lets go, and when they really have to be gone."""

from __future__ import annotations

from collections.abc import Sequence

from optimum import Instance


class LettingGo:
    """Follows a plan request by request. An engine that is let go stays while there is room.

    Each engine is named with the place of its last request, after which it can go.
    """

    def __init__(self, instance: Instance, kept: Sequence[bool]) -> None:
        self._instance = instance
        self._is_kept = kept
        self._present = {name: -1 for name, facts in instance.engines.items() if facts.pinned}
        self._lingering: dict[str, int] = {}
        self._left: dict[str, int] = {}

    def serve(self, place: int, *, is_loaded: bool) -> dict[str, int]:
        """Go on to the request at `place`. Returns who must be gone before it can load."""
        name = self._instance.requests[place]
        for engines in (self._present, self._lingering, self._left):
            engines.pop(name, None)
        facts = self._instance.engines[name]
        takes = facts.reloading_bytes if is_loaded else facts.serving_bytes
        free = self._instance.budget_bytes - self._resident_bytes(self._present) - takes
        for other in list(self._lingering):
            is_rival = self._instance.engines[other].exclusive & facts.exclusive
            if is_rival or self._resident_bytes(self._lingering) > free:
                self._left[other] = self._lingering.pop(other)
        engines = self._present if self._is_kept[place] else self._lingering
        engines[name] = place
        return dict(self._left)

    def _resident_bytes(self, names: dict[str, int]) -> int:
        return sum(self._instance.engines[name].resident_bytes for name in names)
