"""The topics that the nodes of a fleet share.

PREFIX/fleet/FLEET/models/MODEL/infer               requests, for any node; also infer/ID
PREFIX/fleet/FLEET/models/MODEL/result/ID           answers that named no response topic
PREFIX/fleet/FLEET/nodes/MEMBER                     retained: what a node can run, and its room
PREFIX/fleet/FLEET/nodes/MEMBER/models/MODEL/infer  requests that one node hands to another
PREFIX/fleet/FLEET/nodes/MEMBER/end                 behind this there is nothing more for a node
"""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.config.mqtt import FLEET
from scheduler.transport.topics import Address


def records(prefix: str, fleet: str) -> str:
    """The filter of the records of all members."""
    return f"{prefix}/{FLEET}/{fleet}/nodes/+"


class FleetTopics:
    """The topics of one fleet, as `member` of it sees them."""

    def __init__(self, prefix: str, fleet: str, member: str) -> None:
        self.member = member
        self._fleet = fleet
        self._root = f"{prefix}/{FLEET}/{fleet}"

    def record(self, member: str) -> str:
        """Where a member's record is retained."""
        return f"{self._root}/nodes/{member}"

    def end(self, member: str) -> str:
        """Where the last message to a member goes."""
        return f"{self._root}/nodes/{member}/end"

    def infer(self, model: str, request_id: str | None = None) -> str:
        """Where requests go that any of the nodes may take."""
        return f"{self._root}/models/{model}/infer" + (f"/{request_id}" if request_id else "")

    def handed_to(self, member: str, address: Address) -> str:
        """Where a request goes that `member` is to take."""
        tail = "" if address.id is None else f"/{address.id}"
        return f"{self._root}/nodes/{member}/models/{address.name}/infer{tail}"

    def result(self, address: Address, answer_id: str) -> str:
        """Where an answer goes whose request named no response topic."""
        return f"{self._root}/models/{address.name}/result/{answer_id}"

    def shared(self, models: Iterable[str]) -> tuple[str, ...]:
        """The filters by which the broker gives each request for `models` to one of the nodes."""
        start = f"$share/{self._fleet}/{self._root}/models"
        return tuple(
            f"{start}/{model}/{levels}"
            for model in sorted(models)
            for levels in ("infer", "infer/+")
        )

    def own(self, member: str) -> tuple[str, ...]:
        """The filters by which a member gets what is handed to it, and to the last message."""
        start = f"{self._root}/nodes/{member}"
        return (f"{start}/models/+/infer", f"{start}/models/+/infer/+", self.end(member))

    def read(self, topic: str) -> Address | None:
        """What `topic` asks for, or None where it is no request to this fleet."""
        if not topic.startswith(self._root + "/"):
            return None
        levels = topic[len(self._root) + 1 :].split("/")
        if levels[0] == "nodes":
            levels = levels[2:]
        if len(levels) in (3, 4) and levels[0] == "models" and levels[2] == "infer":
            return Address("infer", levels[1], *levels[3:])
        return None

    def member_of(self, topic: str) -> str | None:
        """Whose record is retained on `topic`, or None where it is no record."""
        start, _, member = topic.rpartition("/")
        return member if start == f"{self._root}/nodes" and member else None
