"""Switching modes: asking for one, and waiting until it has been reached."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from scheduler.config.mistake import nearest
from scheduler.core.events import ModeChanged
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.errors import ModeRefused, ShuttingDown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.core.decisions import AnnounceMode, RefuseMode, SwitchMode
    from scheduler.core.mode import Mode
    from scheduler.runtime.pump import Tell

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Switched:
    """What a switch of modes came to. Times are nanoseconds.

    `unloads` are the models that had to go and `loads` those that came, in the order planned;
    `within_ns` is how long that takes at most, as far as `samples` of each part tell (0: none was
    seen before), and but for what `unknown` says. `took_ns` is how long it took, None if another
    switch or the end came first; `missing` are models that failed to load.
    """

    mode: str | None
    unloads: tuple[str, ...]
    loads: tuple[str, ...]
    within_ns: int
    unknown: tuple[str, ...]
    samples: int
    took_ns: int | None = None
    missing: tuple[str, ...] = ()


class Switch:
    """One switch that was not refused, until it is over."""

    def __init__(self, plan: SwitchMode) -> None:
        self._plan = plan
        self._reached: AnnounceMode | None = None
        self._over = anyio.Event()

    def end(self, reached: AnnounceMode | None) -> None:
        """All is done, or (None) it never will be."""
        self._reached = reached
        self._over.set()

    async def wait(self) -> Switched:
        """What it came to, once it is over."""
        await self._over.wait()
        plan, reached = self._plan, self._reached
        return Switched(
            plan.mode,
            plan.unloads,
            plan.loads,
            plan.within_ns,
            plan.unknown,
            plan.samples,
            None if reached is None else reached.took_ns,
            () if reached is None else reached.missing,
        )


class Switching:
    """The switches of one runtime, of which only the latest is under way."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._latest: Switch | None = None
        self._refusal: Reason | None = None

    def to(self, mode: Mode | None) -> Switch:
        """Ask for a mode. Raises ModeRefused, or ShuttingDown when nothing is decided any more."""
        before = self._latest
        self._refusal = None
        self._tell(ModeChanged(mode))
        if self._refusal is not None:
            raise ModeRefused(self._refusal)
        if self._latest is None or self._latest is before:
            raise ShuttingDown(Reason(ReasonCode.SHUTTING_DOWN, "the scheduler has stopped"))
        return self._latest

    def keep_up(self, mode: Mode | None, modes: Mapping[str, Mode]) -> None:
        """Have `mode`, which is in force, be as `modes` have it; one that is gone is left."""
        if mode is not None and modes.get(mode.name) != mode:
            self.to(modes.get(mode.name))

    def began(self, decision: SwitchMode) -> None:
        """The mode is in force; what it asks for has begun."""
        self.close()
        self._latest = Switch(decision)
        _log.info("%s", _told(decision))

    def refused(self, decision: RefuseMode) -> None:
        """The mode cannot be."""
        self._refusal = decision.reason
        _log.warning("not switched: %s", decision.reason)

    def reached(self, decision: AnnounceMode) -> None:
        """All that it asked for is done, or has failed."""
        if self._latest is not None:
            self._latest.end(decision)
        without = f", without {', '.join(decision.missing)}" if decision.missing else ""
        _log.info("mode %s: reached after %.1f s%s", decision.mode, decision.took_ns / 1e9, without)

    def close(self) -> None:
        """Whoever waits for the latest switch waits in vain."""
        if self._latest is not None:
            self._latest.end(None)


def named(name: str | None, modes: Mapping[str, Mode]) -> Mode | None:
    """The mode of that name, None for none. Raises ModeRefused for one that is not known."""
    if name is not None and name not in modes:
        detail = f"there is no mode {name!r}; {nearest(name, list(modes))}"
        raise ModeRefused(Reason(ReasonCode.UNKNOWN_MODE, detail))
    return None if name is None else modes[name]


def _told(plan: SwitchMode) -> str:
    """The plan in a line."""
    steps = [f"unload {', '.join(plan.unloads)}"] if plan.unloads else []
    steps += [f"load {', '.join(plan.loads)}"] if plan.loads else []
    seen = f", by {plan.samples} seen" if plan.samples else ""
    bound = f"within {plan.within_ns / 1e9:.1f} s{seen}" if plan.within_ns else ""
    unknown = f"not known: {'; '.join(plan.unknown)}" if plan.unknown else ""
    parts = [*steps, *(part for part in (bound, unknown) if part)]
    return f"mode {plan.mode}: {'; '.join(parts) or 'nothing to load or unload'}"
