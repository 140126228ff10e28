"""The nodes of a fleet, as they tell each other what they can run and how much room they have."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.config.name import NAME, NAME_MAX
from scheduler.core.model import SECOND_NS
from scheduler.transport.answer import to_bytes

HERE = "here"
GONE = "gone"

CLIENT_ID_END = "-fleet"
"""Of the connection that a member has for what is shared."""

SILENT_NS = 6 * SECOND_NS
"""A member that was not heard of for so long is taken for gone; it speaks every two seconds."""

RECORD_MAX_BYTES = 64 * 1024

MEMBERS_MAX = 256

MODELS_MAX = 256


@dataclass(frozen=True, slots=True)
class Record:
    """What a member says of itself.

    `client_id` is its name at the broker, `room` how many more requests it takes now, `taken` how
    many it has had so far, `models` what it can run, and of each whether it is in memory.
    """

    member: str
    client_id: str
    state: str = HERE
    room: int = 0
    taken: int = 0
    models: Mapping[str, bool] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """As JSON."""
        told = {"state": self.state, "client_id": self.client_id, "room": self.room}
        told["taken"] = self.taken
        return to_bytes({**told, "models": dict(self.models)})


def read_record(member: str, payload: bytes) -> Record | None:
    """Read what stands on a member's topic, which others may write as well; None: no record."""
    if len(payload) > RECORD_MAX_BYTES:
        return None
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("state") not in (HERE, GONE):
        return None
    client_id, room, models = told.get("client_id"), told.get("room"), told.get("models")
    if not isinstance(client_id, str) or not client_id.endswith(CLIENT_ID_END):
        return None  # nobody is to be thrown out by whoever may write here
    return Record(
        member,
        client_id,
        told["state"],
        room if isinstance(room, int) and room > 0 else 0,
        models=_read_models(models),
    )


def _read_models(models: Any) -> dict[str, bool]:
    if not isinstance(models, dict) or len(models) > MODELS_MAX:
        return {}
    return {name: loaded is True for name, loaded in models.items() if _is_name(name)}


def _is_name(text: str) -> bool:
    """Whether it can be a model's: with anything else in it, a filter would be no filter."""
    return len(text) <= NAME_MAX and NAME.fullmatch(text) is not None


class Members:
    """The other members of a fleet. `me` is not among them."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._records: dict[str, Record] = {}
        self._heard_ns: dict[str, int] = {}
        self._given: dict[str, int] = {}
        self._shut: set[str] = set()

    def take(self, member: str, record: Record | None, now_ns: int) -> None:
        """Take in what a member says of itself; None: its record has been taken away."""
        if member == self._me:
            self._heard_ns[member] = now_ns
        elif record is None:
            self._records.pop(member, None)
        elif member in self._records or len(self._records) < MEMBERS_MAX:
            known = self._records.get(member)
            if record.state == GONE and known is not None:
                # A will is older than what was said last.
                models = {**record.models, **known.models}
                record = Record(member, record.client_id, GONE, models=models)
            self._records[member] = record
            self._heard_ns[member] = now_ns
            self._given.pop(member, None)
            self._shut.discard(member)

    def here(self, now_ns: int) -> list[Record]:
        """Those that are there."""
        return [r for r in self._records.values() if not self._is_gone(r, now_ns)]

    def choose(
        self, model: str, past: Collection[str], now_ns: int, *, needs_room: bool
    ) -> str | None:
        """Who is to take a request for `model` that has been with `past`; None: nobody.

        Those with room come first, then those that have the model in memory, then those with the
        most room. With `needs_room` no others are asked.
        """
        able = [
            (not room > 0, not record.models[model], -room, record.member)
            for record in self.here(now_ns)
            if model in record.models and record.member not in {*past, *self._shut}
            for room in [record.room - self._given.get(record.member, 0)]
            if room > 0 or not needs_room
        ]
        return min(able)[-1] if able else None

    def gave(self, member: str) -> None:
        """A request was handed to a member, whose next record will count it."""
        self._given[member] = self._given.get(member, 0) + 1

    def shut(self, member: str) -> None:
        """A member does not get what is handed to it: nothing more, until it is heard of again."""
        self._shut.add(member)

    def to_inherit(self, now_ns: int) -> Iterable[Record]:
        """The members that are gone and whose heir this node is: the first of those there.

        Silence counts only for a node that hears itself.
        """
        if any(record.member < self._me for record in self.here(now_ns)):
            return []
        hears = not self._is_silent(self._me, now_ns)
        return [
            record
            for record in self._records.values()
            if record.state == GONE or (hears and self._is_silent(record.member, now_ns))
        ]

    def _is_gone(self, record: Record, now_ns: int) -> bool:
        return record.state == GONE or self._is_silent(record.member, now_ns)

    def _is_silent(self, member: str, now_ns: int) -> bool:
        heard_ns = self._heard_ns.get(member)
        return heard_ns is None or now_ns - heard_ns > SILENT_NS
