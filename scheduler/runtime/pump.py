"""The one writer: every change goes through `tell`, which is never entered twice.

What happens while decisions are acted on (a lease handed back at once, a thread that could not be
started) waits its turn. Nothing here awaits, so nothing can come between a decision and the act.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Optional, Protocol

from scheduler.trace.record import Record

if TYPE_CHECKING:
    from scheduler.core.decisions import Decision
    from scheduler.core.events import Event
    from scheduler.core.scheduler import Scheduler

_log = logging.getLogger(__name__)

Cause = Optional[BaseException]
"""The plugin's exception that an event is about: the core sees only its text."""


class Tell(Protocol):
    """`Pump.tell`."""

    def __call__(self, event: Event, cause: Cause = None) -> None:
        """Something has happened."""


class Observer(Protocol):
    """Sees every step, on the event loop's thread: it must be quick."""

    def observe(self, record: Record) -> None:
        """Take in one step. An observer that raises is left out from then on."""


class Actor(Protocol):
    """Does what was decided."""

    def act(self, decision: Decision, cause: Cause) -> None:
        """Act on one decision, without awaiting."""

    def settled(self) -> None:
        """All that followed from an event has been decided and done."""

    def broke(self, error: Exception) -> None:
        """Deciding or acting raised, which is a mistake of ours: nothing is decided any more."""


class Pump:
    """Takes events in, asks the core, shows the step to observers, has the decisions done."""

    def __init__(
        self,
        core: Scheduler,
        actor: Actor,
        *,
        now_ns: Callable[[], int],
        observers: Iterable[Observer] = (),
    ) -> None:
        self.broken: Exception | None = None
        self.is_closed = False
        self._core = core
        self._actor = actor
        self._now_ns = now_ns
        self._observers = tuple(observers)
        self._events: deque[tuple[Event, Cause]] = deque()
        self._is_busy = False
        self._sequence = 0

    def tell(self, event: Event, cause: Cause = None) -> None:
        """Something has happened. On return it has been decided and done, but for nested calls."""
        if self.broken or self.is_closed:
            return
        if self._is_busy:
            self._events.append((event, cause))
            return
        self._is_busy = True
        try:
            self._step(event, cause)
            while self._events:
                self._step(*self._events.popleft())
            self._actor.settled()
        except Exception as error:  # noqa: BLE001 - whatever it is, callers must not hang
            _log.exception("the scheduler stops, it could not handle %r", event)
            self.broken = error
            self._actor.broke(error)
        finally:
            self._is_busy = False

    def _step(self, event: Event, cause: Cause) -> None:
        now_ns = self._now_ns()
        decisions = self._core.handle(event, now_ns)
        self._sequence += 1
        if self._observers:
            reserved_bytes = self._core.reserved_bytes()
            self._show(Record(self._sequence, now_ns, event, tuple(decisions), reserved_bytes))
        for decision in decisions:
            self._actor.act(decision, cause)

    def _show(self, record: Record) -> None:
        for observer in self._observers:
            try:
                observer.observe(record)
            except Exception:  # noqa: BLE001, PERF203 - a stranger's mistake disturbs nobody else
                _log.exception("observer %r is left out from now on", observer)
                self._observers = tuple(o for o in self._observers if o is not observer)
