"""One engine in memory, and the thread that belongs to it alone.

Device contexts are bound to threads and cannot be handed over, so everything that happens to a
plugin's object happens in one thread: it is made, loaded, run, measured, unloaded and dropped
there. Only `cancel` is called from the event loop, for the thread is busy then.

The thread is a daemon: work in native code cannot be interrupted, and must not keep a process from
ending. It is the next engine's when this one has gone. So it keeps nothing: whatever it has handed
over (results, errors) it no longer refers to, as a reference to a result or to an exception's
frames may be all that keeps an engine in memory.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, Optional, Protocol

from scheduler.core.events import Measurement
from scheduler.errors import BadInput, DeviceLost, EngineError
from scheduler.plugin.engine import EXAMPLE, EnginePlugin
from scheduler.plugin.lost import lose
from scheduler.runtime.crew import Main
from scheduler.runtime.failure import Failure, describe, strip_frames
from scheduler.runtime.mailbox import Callback
from scheduler.runtime.measuring import Activity, Window

_log = logging.getLogger(__name__)

Measured = Mapping[str, Measurement]
Run = tuple[int, list[Any], bool]
"""The number of a lease, its payloads, and whether they are run in turn instead of as a batch."""


class EngineListener(Protocol):
    """Who is told, on the event loop, what has become of an engine."""

    def engine_loaded(self, engine: EngineThread, measured: Measured) -> None:
        """It can run now."""

    def engine_failed(self, engine: EngineThread, failure: Failure) -> None:
        """It could not be loaded; what it had taken has been let go, and its thread has ended."""

    def engine_returned(
        self,
        engine: EngineThread,
        lease_id: int,
        answer: list[Any] | Failure,
        measured: Measured,
        worked_ns: int,
    ) -> None:
        """A run has ended, with one result for each payload (an exception fails that one alone).

        The engine worked for `worked_ns` on it.
        """

    def engine_unloaded(self, engine: EngineThread, residue: Measured) -> None:
        """It is out of memory, and its thread has ended."""

    def engine_lost(self, engine: EngineThread, failure: Failure) -> None:
        """Its thread has ended although nobody asked for it."""


class EngineThread:
    """Starts on construction, loads at once, ends after `unload`.

    `make` makes the plugin's object; `start` runs a function in a thread of its own; `release`
    gives back what loads and unloads leave free; `post` runs a callback on the event loop; `now_ns`
    is the runtime's clock; `form` are its variant and its device, as the core names them. Raises
    RuntimeError when the system has no thread left.
    """

    def __init__(
        self,
        model: str,
        instance: int,
        make: Callable[[], EnginePlugin],
        *,
        start: Callable[[Main, str], None],
        release: Callable[[], None],
        listener: EngineListener,
        post: Callable[..., None],
        activity: Activity,
        now_ns: Callable[[], int],
        form: tuple[str, str] = ("", ""),
    ) -> None:
        self.model = model
        self.instance = instance
        self.form = form
        self.answered_ns: int | None = None
        """When the thread last said something that the loop has not heard yet."""
        self._make = make
        self._release = release
        self._listener = listener
        self._post = post
        self._activity = activity
        self._now_ns = now_ns
        self._plugin: EnginePlugin | None = None
        self._device = ""
        self._knows_its_size = False
        self._has_logged = False
        self._begun = 0
        self._called_off: set[int] = set()
        self._empty: Window | None = None
        self._jobs: SimpleQueue[Optional[Run]] = SimpleQueue()
        start(self._main, f"rota-{model}-{instance}")

    # -- called on the event loop -----------------------------------------------------------

    def run(self, lease_id: int, payloads: list[Any], *, in_turn: bool = False) -> None:
        """Answer a batch, or one payload after another. Ends in `engine_returned`."""
        self._jobs.put((lease_id, payloads, in_turn))

    def cancel(self, lease_id: int) -> None:
        """Hasten the end of a run: it does not begin if it has not, else the plugin is told."""
        self._called_off.add(lease_id)
        plugin = self._plugin
        if plugin is None or self._begun != lease_id:
            return
        try:
            plugin.cancel()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it must not stop the loop
            self._complain(error, "cancel()")

    def unload(self) -> None:
        """Unload when what was asked before is done. Ends in `engine_unloaded`."""
        self._jobs.put(None)

    # -- in the engine's thread -------------------------------------------------------------

    def _main(self) -> None:
        try:
            if self._load():
                while self._serve(self._jobs.get()):
                    pass
        except BaseException as error:  # noqa: BLE001 - whatever ends the thread, the loop must hear
            failure = Failure.of(error)
            try:
                self._let_go()
            finally:
                self._tell(self._listener.engine_lost, failure)

    def _tell(self, what: Callback, *args: object) -> None:
        if self.answered_ns is None:
            self.answered_ns = self._now_ns()
        self._post(what, self, *args)

    def _load(self) -> bool:
        with self._activity:
            self._empty = self._activity.open()
            failure = self._try_to_load()
            if failure is None:
                self._release()
                measured = self._measure() or self._activity.held(self._empty)
            else:
                self._let_go()
        if failure is not None:
            self._tell(self._listener.engine_failed, failure)
            return False
        self._tell(self._listener.engine_loaded, measured)
        return True

    def _try_to_load(self) -> Failure | None:
        try:
            self._plugin = plugin = self._make()
            self._device = plugin.context.device
            plugin.load()
            plugin.warm_up()
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, exits included
            self._complain(error, "load()")
            return Failure.of(error)
        self._knows_its_size = type(plugin).measure is not EnginePlugin.measure
        return None

    def _serve(self, run: Run | None) -> bool:
        """Do one job. False after the last. No reference to the job outlives this call."""
        if run is None:
            self._unload()
            return False
        lease_id, payloads, in_turn = run
        answer: list[Any] | Failure
        began_ns = self._now_ns()
        self._begun = lease_id  # Before it looks whether it was called off: one of both is seen.
        with self._activity:
            try:
                infer = self._infer_in_turn if in_turn else self._infer
                answer = infer(lease_id, payloads)
            except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, exits included
                self._complain(error, "infer()")
                answer = Failure.of(error)
            worked_ns = self._now_ns() - began_ns
            measured = self._measure() if self._knows_its_size else {}
        self._called_off.discard(lease_id)
        self._tell(self._listener.engine_returned, lease_id, answer, measured, worked_ns)
        return True

    def _infer(self, lease_id: int, payloads: list[Any]) -> list[Any]:
        plugin = self._plugin
        assert plugin is not None  # noqa: S101
        if lease_id in self._called_off:
            raise EngineError("it was called off before it began")
        batch = [plugin.example() if payload is EXAMPLE else payload for payload in payloads]
        return _checked(plugin.infer(batch), len(batch))

    def _infer_in_turn(self, lease_id: int, payloads: list[Any]) -> list[Any]:
        """One call for each payload; an error is the answer to that one alone."""
        answers: list[Any] = []
        for payload in payloads:
            try:
                answers += self._infer(lease_id, [payload])
            except BaseException as error:  # noqa: BLE001, PERF203 - a plugin may raise anything
                self._complain(error, "infer()")
                strip_frames(error)
                answers.append(error)
        return answers

    def _measure(self) -> Measured:
        """What the plugin itself says that it holds, per pool."""
        plugin = self._plugin
        assert plugin is not None  # noqa: S101
        try:
            said = dict(plugin.measure())
            return {pool: Measurement(int(held_bytes)) for pool, held_bytes in said.items()}
        except BaseException as error:  # noqa: BLE001 - a figure less is no reason to fail a request
            self._complain(error, "measure()")
            return {}

    def _unload(self) -> None:
        assert self._empty is not None  # noqa: S101
        with self._activity:
            self._let_go()
            residue = self._activity.left(self._empty)
        self._tell(self._listener.engine_unloaded, residue)

    def _let_go(self) -> None:
        """Unload the plugin, drop it, and give what it freed back to the system."""
        plugin, self._plugin = self._plugin, None
        if plugin is not None:
            try:
                plugin.unload()
            except BaseException as error:  # noqa: BLE001 - it is dropped whatever it raises
                self._complain(error, "unload()")
                strip_frames(error)
        del plugin
        self._release()

    def _complain(self, error: BaseException, where: str) -> None:
        """Log what a plugin raised: the first time for people, in full if it did not mean to.

        As text, for a log record that is kept somewhere would keep the frames.
        """
        text = describe(error)
        if isinstance(error, DeviceLost):
            lose(self._device, text)
        if isinstance(error, BadInput) or self._has_logged:
            _log.debug("%s: %s: %s", self.model, where, text)
            return
        self._has_logged = True
        if isinstance(error, EngineError):
            _log.warning("%s: %s failed: %s", self.model, where, text)
            return
        lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        _log.error("%s: %s raised %s\n%s", self.model, where, text, lines)


def _checked(results: Sequence[Any], count: int) -> list[Any]:
    """The results of a batch of `count`. Raises EngineError when they are not one for each."""
    if isinstance(results, (str, bytes, Mapping)) or not hasattr(results, "__getitem__"):
        kind = type(results).__name__
        raise EngineError(f"infer() returned a {kind}; it must return a list of {count} results")
    answers = list(results)
    if len(answers) != count:
        raise EngineError(f"infer() returned {len(answers)} results for a batch of {count}")
    for answer in answers:
        if isinstance(answer, BaseException):
            strip_frames(answer)
    return answers
