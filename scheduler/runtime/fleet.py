"""The engines in memory: starts and ends their threads, and tells the core how that went."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from scheduler.core.events import (
    EngineLoaded,
    EngineLoadFailed,
    EngineLost,
    EngineUnloaded,
)
from scheduler.memory.trim import collect_garbage, release_free_memory
from scheduler.runtime.crew import Crew
from scheduler.runtime.engine_thread import EngineThread, Measured
from scheduler.runtime.failure import Failure, describe
from scheduler.runtime.measuring import PROCESS_POOLS, Activity, Meter

if TYPE_CHECKING:
    from scheduler.core.decisions import LoadEngine, UnloadEngine
    from scheduler.core.model import ModelSpec
    from scheduler.runtime.loop import Loop
    from scheduler.runtime.pump import Tell
    from scheduler.runtime.registration import Registration


class FleetListener(Protocol):
    """Who is told of what is no matter of the fleet's own."""

    def run_returned(
        self, lease_id: int, answer: list[Any] | Failure, measured: Measured, worked_ns: int
    ) -> None:
        """The work of a lease has stopped."""

    def engine_gone(self, engine: EngineThread) -> None:
        """An engine's thread has ended, and the core knows."""


class Fleet:
    """One thread per loaded engine, by model. Its methods `engine_*` are told by those threads."""

    def __init__(
        self,
        models: Mapping[str, Registration],
        listener: FleetListener,
        tell: Tell,
        *,
        loop: Loop,
        meter: Meter,
        now_ns: Callable[[], int],
    ) -> None:
        self._models = models
        self._listener = listener
        self._tell = tell
        self._mailbox = loop.mailbox()
        self._meter = meter
        self._now_ns = now_ns
        self._engines: dict[str, EngineThread] = {}
        self._crew = Crew()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._engines)

    def __contains__(self, model: str) -> bool:
        return model in self._engines

    def __getitem__(self, model: str) -> EngineThread:
        return self._engines[model]

    def load(self, decision: LoadEngine) -> None:
        """Start an engine's thread."""
        model, instance = decision.model, decision.instance
        form = (decision.variant, decision.device)
        registration = self._models[model]
        try:
            self._engines[model] = EngineThread(
                model,
                instance,
                partial(registration.make, *form),
                start=self._crew.start,
                release=_release(registration.spec),
                listener=self,
                post=self._mailbox.post,
                activity=Activity(self._meter, registration.pool(*form)),
                now_ns=self._now_ns,
                form=form,
            )
        except RuntimeError as error:  # the system has no thread left
            self._tell(EngineLoadFailed(model, instance, describe(error)))

    def unload(self, decision: UnloadEngine) -> None:
        """Let an engine's thread unload and end."""
        self._engines[decision.model].unload()

    def close(self) -> None:
        """Hear nothing any more. An engine that still works unloads when it is done, if it can."""
        self._is_closed = True
        for engine in self._engines.values():
            engine.unload()
        self._engines.clear()
        self._crew.close()
        self._mailbox.close()

    def oldest_answer_ns(self, now_ns: int) -> int:
        """For how long the loop has not heard what an engine has said; 0 when it has heard all."""
        said = [engine.answered_ns for engine in list(self._engines.values())]
        return max((now_ns - at_ns for at_ns in said if at_ns is not None), default=0)

    # -- what threads say -------------------------------------------------------------------

    def engine_loaded(self, engine: EngineThread, measured: Measured) -> None:
        """It can run now."""
        engine.answered_ns = None
        if not self._is_closed:
            self._tell(EngineLoaded(engine.model, engine.instance, measured))

    def engine_returned(
        self,
        engine: EngineThread,
        lease_id: int,
        answer: list[Any] | Failure,
        measured: Measured,
        worked_ns: int,
    ) -> None:
        """A run has ended."""
        engine.answered_ns = None
        if not self._is_closed:
            self._listener.run_returned(lease_id, answer, measured, worked_ns)

    def engine_failed(self, engine: EngineThread, failure: Failure) -> None:
        """It could not be loaded."""
        event = EngineLoadFailed(
            engine.model, engine.instance, failure.text, out_of_memory=failure.out_of_memory
        )
        self._ended(engine, event, failure.exception)

    def engine_unloaded(self, engine: EngineThread, residue: Measured) -> None:
        """It is out of memory."""
        self._ended(engine, EngineUnloaded(engine.model, engine.instance, residue))

    def engine_lost(self, engine: EngineThread, failure: Failure) -> None:
        """Its thread has died."""
        event = EngineLost(engine.model, engine.instance, failure.text)
        self._ended(engine, event, failure.exception)

    def _ended(
        self,
        engine: EngineThread,
        event: EngineLoadFailed | EngineUnloaded | EngineLost,
        cause: BaseException | None = None,
    ) -> None:
        if self._engines.get(engine.model) is not engine:
            return  # closed meanwhile, or news of an older instance
        del self._engines[engine.model]
        self._tell(event, cause)
        self._listener.engine_gone(engine)


def _release(spec: ModelSpec) -> Callable[[], None]:
    """What gives memory back after a load and an unload of this model.

    A device's memory is back when nothing refers to it. To return the free pages of the heap too
    would make the next load fault them in again: 15 ms of a switch, seen on a machine with an H100.
    """
    counts_process = any(not PROCESS_POOLS.isdisjoint(form.footprint) for form in spec.forms)
    return release_free_memory if counts_process else collect_garbage
