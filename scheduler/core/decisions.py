"""What is to be done. The runtime acts on these, the simulator pretends to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union

from msgspec import field

from scheduler.core.outcome import Outcome, Reason
from scheduler.core.value import Tagged, Value


class EngineRef(Value, frozen=True):
    """One load of one model: late news of an old instance can never touch a newer one."""

    model: str
    instance: int


class LoadEngine(Tagged, frozen=True):
    """Load it. Ends in EngineLoaded, EngineLoadFailed or EngineLost of the same instance.

    `variant` and `device` name the form that it is to take; empty where there is no choice.
    `ahead` says that nobody has asked for it yet.
    """

    model: str
    instance: int
    variant: str = ""
    device: str = ""
    ahead: bool = False


class UnloadEngine(Tagged, frozen=True):
    """Unload it; nobody holds it. Ends in EngineUnloaded (or EngineLost) of the same instance."""

    model: str
    instance: int
    reason: Reason


class GrantLease(Tagged, frozen=True):
    """These requests may use these engines. Ends in LeaseEnded.

    A lease of runs (`holds` false) is executed at once: one `infer` call with the requests as its
    batch, or with `in_turn` one call for each, one after another. A lease that holds is handed to
    its one caller, who runs requests under it. A run that is to come `after` another one on the
    same engine begins as soon as that lease has ended, without being asked again.
    """

    lease_id: int
    engines: tuple[EngineRef, ...]
    request_ids: tuple[int, ...]
    holds: bool = False
    expires_ns: int | None = None
    in_turn: bool = False
    after: int | None = None


class RevokeLease(Tagged, frozen=True):
    """Stop as soon as you can. Has no answer of its own: it hastens the lease's LeaseEnded."""

    lease_id: int
    reason: Reason


class FinishRequest(Tagged, frozen=True):
    """The request has ended. Exactly one per request; every outcome but completed has a reason."""

    request_id: int
    outcome: Outcome
    reason: Reason | None = None


class RaiseAlarm(Tagged, frozen=True):
    """Tell a person: something is not as declared. Asks for nothing, answered by nothing.

    `more_bytes` are how many more of each pool would end it, where that is known.
    """

    model: str | None
    reason: Reason
    more_bytes: Mapping[str, int] = field(default_factory=dict)


class SwitchMode(Tagged, frozen=True):
    """The mode is this one from now on, None for none. Ends in AnnounceMode, or in another switch.

    `unloads` are the models that go for it and `loads` those that come, in that order. All of it
    takes at most `within_ns`, and what is in `unknown`, in words, of which no time is known. The
    bound rests on at least `samples` of each part that was seen before, 0 where none was.
    """

    mode: str | None
    unloads: tuple[str, ...] = ()
    loads: tuple[str, ...] = ()
    within_ns: int = 0
    unknown: tuple[str, ...] = ()
    samples: int = 0


class RefuseMode(Tagged, frozen=True):
    """That mode cannot be, and nothing has changed."""

    mode: str | None
    reason: Reason


class AnnounceMode(Tagged, frozen=True):
    """All that a switch asked for is done, but for the models `missing`, which have failed."""

    mode: str | None
    took_ns: int
    missing: tuple[str, ...] = ()


Decision = Union[
    LoadEngine,
    UnloadEngine,
    GrantLease,
    RevokeLease,
    FinishRequest,
    RaiseAlarm,
    SwitchMode,
    RefuseMode,
    AnnounceMode,
]
