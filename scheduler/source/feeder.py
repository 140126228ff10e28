"""Drives one source: sends each frame when it is due, and never waits for the answers."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup

from scheduler.config.source import DEFAULT_OUTSTANDING
from scheduler.core.model import SECOND_NS
from scheduler.core.outcome import Outcome
from scheduler.core.request import NO_DEADLINE_NS
from scheduler.errors import DeadlineMissed, LeaseRevoked, Rejected, ShuttingDown, UnknownModel
from scheduler.runtime.clock import Clock
from scheduler.source.answer import Answer
from scheduler.source.arrivals import Schedule
from scheduler.source.pace import Pace
from scheduler.source.source import Frame, Source, SourceError

_log = logging.getLogger(__name__)


class Infer(Protocol):
    """`Runtime.infer`: ask a model. Raises a RequestError per outcome but completed."""

    async def __call__(
        self,
        model: str,
        payload: Any,
        /,
        *,
        deadline: float | None,
        priority: int | None,
        stream: str | None,
    ) -> Any:
        """Answer within `deadline` seconds: None is the model's own, inf is none at all."""


Listener = Callable[[Answer], None]
"""Is told of each frame's end, in the event loop. Must be quick and must not raise."""


@dataclass(frozen=True, slots=True)
class FeederStats:
    """What became of a source's frames: `sent` less the next three are still outstanding.

    `missed` ones missed their deadline and `failed` is every other end but completed. `dropped`
    were never sent: too many were outstanding, nobody fetched them, or their turn had passed.
    """

    sent: int = 0
    completed: int = 0
    failed: int = 0
    dropped: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class _Due:
    frame: Frame
    sequence: int
    due_ns: int


class Feeder:
    """Feeds `source` to `model`.

    Frames are due as `schedule` says, without one at their own stamps; a live source's frame is due
    when it is there. At most `outstanding` frames wait for answers; beyond that the newest frame
    waits here and replaces the one before it. With `paced` false a recording goes as fast as the
    answers come, and nothing is dropped. The deadline counts from when the frame was due.

    The frame after a gap is sent as `source.marked` gives it.

    One frame's error never stops the feed. An unknown model, a runtime that shuts down and a source
    that cannot be read do: `stopped_by` then says why. `listeners` hear of every frame's end, and
    `at_end` is called when there are no more.
    """

    def __init__(
        self,
        name: str,
        model: str,
        source: Source,
        *,
        infer: Infer,
        clock: Clock,
        schedule: Schedule | None = None,
        paced: bool = True,
        deadline_ns: int | None = None,
        priority: int | None = None,
        outstanding: int = DEFAULT_OUTSTANDING,
    ) -> None:
        self.name = name
        self.model = model
        self.source = source
        self.stopped_by: str | None = None
        self.listeners: list[Listener] = []
        self.at_end: list[Callable[[], None]] = []
        self._infer = infer
        self._clock = clock
        self._pace = Pace(clock, schedule)
        self._paced = paced
        self._deadline_ns = deadline_ns
        self._priority = priority
        self._limit = outstanding
        self._counts = Counter[str]()
        self._held: _Due | None = None
        self._gap = False
        self._asked: anyio.Event | None = None
        self._room = anyio.Event()
        self._feeding = anyio.CancelScope()

    @property
    def stats(self) -> FeederStats:
        """The counts until now."""
        counts = self._counts
        dropped = counts["dropped"] + self._pace.lost + self.source.lost
        return FeederStats(
            counts["sent"], counts["completed"], counts["failed"], dropped, counts["missed"]
        )

    async def run(self) -> None:
        """Feed until the source ends or `stop` is called, and until all that was sent has ended."""
        try:
            async with anyio.create_task_group() as asking:
                with self._feeding:
                    await self._feed(asking)
        finally:
            await self.source.aclose()
            for end in self.at_end:
                end()

    def stop(self) -> None:
        """Send no more. `run` returns when what was sent has been answered."""
        held, self._held = self._held, None
        if held is not None:
            self._drop(held)
        self._feeding.cancel()

    async def _feed(self, asking: TaskGroup) -> None:
        sequence = 0
        try:
            while (frame := await self.source.next_frame()) is not None:
                due_ns = await self._until_due(frame)
                self._offer(_Due(frame, sequence, due_ns), asking)
                sequence += 1
        except SourceError as error:
            self._stop_because(str(error))

    async def _until_due(self, frame: Frame) -> int:
        if self._paced and not self.source.live:
            return await self._pace.until_due(frame)
        while not self._paced and self._outstanding >= self._limit:
            self._room = anyio.Event()
            await self._room.wait()
        return self._clock.now_ns()

    def _offer(self, due: _Due, asking: TaskGroup) -> None:
        if self._outstanding < self._limit:
            self._send(due, asking)
            return
        replaced, self._held = self._held, due
        if replaced is not None:
            self._drop(replaced)

    @property
    def _outstanding(self) -> int:
        counts = self._counts
        return counts["sent"] - counts["completed"] - counts["failed"] - counts["missed"]

    def _send(self, due: _Due, asking: TaskGroup) -> None:
        left_ns = self._left_ns(due)
        if left_ns is not None and left_ns <= 0:
            self._drop(due)
            return
        payload = due.frame.payload
        if due.frame.gap or self._gap:
            payload = self.source.marked(payload)
        self._gap = False
        self._counts["sent"] += 1
        before, self._asked = self._asked, anyio.Event()
        asking.start_soon(self._ask, due, payload, left_ns, (before, self._asked), asking)

    def _left_ns(self, due: _Due) -> int | None:
        if self._deadline_ns is None:
            return None
        if self._deadline_ns >= NO_DEADLINE_NS:
            return NO_DEADLINE_NS
        return due.due_ns + self._deadline_ns - self._clock.now_ns()

    async def _ask(
        self,
        due: _Due,
        payload: Any,
        left_ns: int | None,
        turns: tuple[anyio.Event | None, anyio.Event],
        asking: TaskGroup,
    ) -> None:
        await _in_order(*turns)
        try:
            result = await self._infer(
                self.model,
                payload,
                deadline=_seconds(left_ns),
                priority=self._priority,
                stream=self.name,
            )
        except Exception as error:  # noqa: BLE001 - one frame's error never stops the feed
            self._end(due, _outcome(error), detail=f"{error}" or type(error).__name__)
            if isinstance(error, (UnknownModel, ShuttingDown)):
                level = logging.ERROR if isinstance(error, UnknownModel) else logging.DEBUG
                self._stop_because(str(error), level)
        else:
            self._end(due, Outcome.COMPLETED, result=result)
        self._room.set()
        held, self._held = self._held, None
        if held is not None:
            self._offer(held, asking)

    def _end(self, due: _Due, outcome: Outcome, *, result: Any = None, detail: str = "") -> None:
        self._counts[_COUNTED_AS.get(outcome, "failed")] += 1
        self._tell(due, outcome, result, detail)

    def _drop(self, due: _Due) -> None:
        self._counts["dropped"] += 1
        self._gap = True
        self._tell(due, None, None, "dropped: a newer frame took its place or its time had passed")

    def _tell(self, due: _Due, outcome: Outcome | None, result: Any, detail: str) -> None:
        answer = Answer(
            source=self.name,
            model=self.model,
            sequence=due.sequence,
            frame=due.frame,
            outcome=outcome,
            result=result,
            detail=detail,
            latency_ns=self._clock.now_ns() - due.due_ns,
        )
        for listener in self.listeners:
            listener(answer)

    def _stop_because(self, why: str, level: int = logging.ERROR) -> None:
        if self.stopped_by is None:
            self.stopped_by = why
            _log.log(level, "source %s stops: %s", self.name, why)
        self.stop()


async def _in_order(before: anyio.Event | None, own: anyio.Event) -> None:
    """Return once the frame before has asked its model: new tasks may start in any order.

    What follows runs without a pause until the model has been asked, so the next comes after it.
    """
    if before is not None and not before.is_set():
        await before.wait()
    own.set()


def _seconds(left_ns: int | None) -> float | None:
    if left_ns is None:
        return None
    return math.inf if left_ns >= NO_DEADLINE_NS else left_ns / SECOND_NS


_COUNTED_AS = {Outcome.COMPLETED: "completed", Outcome.DEADLINE_MISSED: "missed"}

_OUTCOMES: tuple[tuple[type[Exception], Outcome], ...] = (
    (DeadlineMissed, Outcome.DEADLINE_MISSED),
    (Rejected, Outcome.REJECTED),
    (LeaseRevoked, Outcome.PREEMPTED),
)


def _outcome(error: Exception) -> Outcome:
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return outcome
    return Outcome.FAILED
