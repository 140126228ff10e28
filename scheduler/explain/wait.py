"""What a request waited for, how long for each, and at which place in line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.outcome import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.core.snapshot import Snapshot

FOR: Mapping[ReasonCode, str] = {
    ReasonCode.WAITS_FOR_ENGINE: "its engine, which was in use",
    ReasonCode.WAITS_FOR_LOAD: "its load",
    ReasonCode.WAITS_FOR_UNLOAD: "an unload",
    ReasonCode.WAITS_FOR_MEMORY: "memory",
    ReasonCode.WAITS_FOR_UNITS: "units",
    ReasonCode.WAITS_FOR_EXCLUSIVE: "an engine of its exclusive group",
    ReasonCode.WAITS_FOR_BATCH: "others to share its batch",
    ReasonCode.WAITS_FOR_TURN: "its turn",
    ReasonCode.EXTERNAL_PRESSURE: "memory that other programs have",
}
"""What each code waits for, in words."""

Place = tuple[ReasonCode, str, int, int]
"""What it waits for, the sentence, its place in line from 1, and how many wait."""


class Wait:
    """The waiting of one request, looked at after each step. `spent_ns` is per code."""

    def __init__(self, request_id: int) -> None:
        self.spent_ns: dict[ReasonCode, int] = {}
        self._request_id = request_id
        self._place: Place | None = None
        self._since_ns = 0

    def look(self, snapshot: Snapshot) -> str:
        """Take in one more snapshot. Returns a sentence where something has changed, or ""."""
        place = self._found(snapshot)
        self._count(snapshot.now_ns)
        changed = place is not None and place[:3] != (self._place or ())[:3]
        self._place = place
        return _sentence(place) if place is not None and changed else ""

    def _count(self, now: int) -> None:
        if self._place is not None:
            code = self._place[0]
            self.spent_ns[code] = self.spent_ns.get(code, 0) + now - self._since_ns
        self._since_ns = now

    def _found(self, snapshot: Snapshot) -> Place | None:
        for index, one in enumerate(snapshot.waiting):
            if one.request_id == self._request_id:
                code = ReasonCode.WAITS_FOR_TURN if one.waits_for is None else one.waits_for.code
                detail = "" if one.waits_for is None else str(one.waits_for)
                return code, detail, index + 1, len(snapshot.waiting)
        return None


def _sentence(place: Place) -> str:
    code, detail, position, of = place
    why = f": {detail}" if detail else ""
    return f"place {position} of {of} in line, waits for {FOR.get(code, code.value)}{why}"
