"""One engine class on trial: its objects made, loaded, run, unloaded and let go."""

from __future__ import annotations

import contextlib
import copy
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scheduler.errors import BadInput
from scheduler.testing.failure import EngineCheckFailed
from scheduler.testing.sharing import same, shared_part

if TYPE_CHECKING:
    from scheduler.plugin.engine import EngineContext, EngineOptions, EnginePlugin

CONSTRUCTION_LIMIT_S = 0.25
BAD_PAYLOADS = (None, b"", object())


@dataclass
class Trial:
    """The rules of `EnginePlugin`, each a method. All of it runs in the thread that calls `run`."""

    plugin: type[EnginePlugin]
    options: EngineOptions
    context: EngineContext
    payload: Any
    bad_payloads: tuple[Any, ...]
    remarks: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Try everything, cheapest first.

        Raises:
            EngineCheckFailed: the first rule that is broken.
        """
        self._check_construction()
        self._check_unload_without_load()
        self._live(
            self._check_measure,
            self._check_one,
            self._check_results_stay,
            self._check_batch,
            self._check_bad_input,
            self._check_idle_cancel,
        )
        self._live(self._check_one)

    def _failed(self, rule: str, sentence: str) -> EngineCheckFailed:
        return EngineCheckFailed(rule, self.plugin, sentence)

    def _must(self, rule: str, duty: str, function: Callable[[], Any]) -> Any:
        """Call what must not raise. The error is told, not chained: its frames hold the engine."""
        try:
            return function()
        except Exception as error:  # noqa: BLE001 - whatever it is, it breaks the rule
            sentence = f"{duty}; it raised {_told(error)}"
        raise self._failed(rule, sentence)

    # --- An engine's life --------------------------------------------------------------------

    def _make(self) -> EnginePlugin:
        engine: EnginePlugin = self._must(
            "construction",
            "making the object must only keep its options",
            lambda: self.plugin(self.options, self.context),
        )
        return engine

    def _live(self, *checks: Callable[[EnginePlugin], None]) -> None:
        engine = self._make()
        try:
            self._load(engine)
            for check in checks:
                check(engine)
        except EngineCheckFailed:
            with contextlib.suppress(Exception):  # the first broken rule is the one to tell
                engine.unload()
            raise
        self._must("unload", "unload() must let go of everything", engine.unload)
        duty = "unload() called a second time must do nothing"
        self._must("unload_twice", duty, engine.unload)
        reference = weakref.ref(engine)
        del engine
        gc.collect()
        if reference() is not None:
            sentence = (
                "the object is still alive after unload() and garbage collection; something "
                "outside it (a cache, a registry, a thread, a callback) holds it, and its memory"
            )
            raise self._failed("let_go", sentence)

    def _load(self, engine: EnginePlugin) -> None:
        self._must("load", "load() must bring the engine into memory", engine.load)
        self._must("warm_up", "warm_up() after load() must work", engine.warm_up)
        if self.payload is None:
            duty = "example() must give a valid payload, or pass payload= to check_engine"
            self.payload = self._must("example", duty, engine.example)

    # --- The rules ---------------------------------------------------------------------------

    def _check_construction(self) -> None:
        """The object is cheap to make: Rota makes one to look at it, long before it is loaded."""
        modules_before = set(sys.modules)
        durations_s = []
        for _ in range(2):
            start = time.perf_counter()
            self._make()
            durations_s.append(time.perf_counter() - start)
        roots = {name.partition(".")[0] for name in set(sys.modules) - modules_before}
        heavy = sorted(roots - sys.stdlib_module_names - {"scheduler"})
        if heavy:
            sentence = f"making the object imported {', '.join(heavy)}; import in load()"
            raise self._failed("construction", sentence)
        if min(durations_s) > CONSTRUCTION_LIMIT_S:
            sentence = (
                f"making the object took {min(durations_s):.2f} s; it must be cheap "
                f"(under {CONSTRUCTION_LIMIT_S} s): move the work to load()"
            )
            raise self._failed("construction", sentence)

    def _check_unload_without_load(self) -> None:
        """Rota calls `unload` after a load that failed, wherever it failed."""
        duty = "unload() without load() must do nothing (Rota calls it after a failed load)"
        self._must("unload_without_load", duty, self._make().unload)

    def _check_measure(self, engine: EnginePlugin) -> None:
        measured = self._must("measure", "measure() must work after load()", engine.measure)
        good = isinstance(measured, Mapping) and all(
            isinstance(pool, str) and isinstance(held, int) and held >= 0
            for pool, held in measured.items()
        )
        if not good:
            sentence = f"measure() gave {measured!r}; it must map pool names to bytes, or be empty"
            raise self._failed("measure", sentence)

    def _answers(self, engine: EnginePlugin, rule: str) -> Sequence[Any]:
        """Run the good payload alone."""
        duty = "infer() must answer a good payload"
        return self._good(self._must(rule, duty, lambda: engine.infer([self.payload])), 1, rule)

    def _good(self, results: Any, items: int, rule: str) -> Sequence[Any]:
        """Results of good payloads: a sequence of as many, none of them an error."""
        self._check_count(results, items, rule)
        for result in results:
            if isinstance(result, Exception):
                sentence = f"infer() answered a good payload with {_told(result)}"
                raise self._failed(rule, sentence)
        answers: Sequence[Any] = results
        return answers

    def _check_count(self, results: Any, items: int, rule: str) -> None:
        if not hasattr(results, "__len__") or not hasattr(results, "__getitem__"):
            sentence = f"infer() gave a {type(results).__name__}; it must give a list of results"
            raise self._failed(rule, sentence)
        if isinstance(results, (Mapping, str, bytes)) or len(results) != items:
            sentence = (
                f"infer() gave a {type(results).__name__} of {len(results)} for a batch of "
                f"{items}; it must give one result for each payload, in their order"
            )
            raise self._failed(rule, sentence)

    def _check_one(self, engine: EnginePlugin) -> None:
        self._answers(engine, "infer")

    def _check_results_stay(self, engine: EnginePlugin) -> None:
        """What was answered must not change afterwards: results outlive the next call."""
        first = self._answers(engine, "infer")[0]
        duty = "a result must be plain data that can be copied"
        kept = self._must("results_stay", duty, lambda: copy.deepcopy(first))
        second = self._answers(engine, "infer")[0]
        shared = shared_part(first, second)
        if shared is None and same(first, kept):
            return
        what = f"shares {shared} with the next one" if shared else "changed in the next call"
        sentence = f"a result {what}; copy it out of the buffer that infer() uses again"
        raise self._failed("results_stay", sentence)

    def _check_batch(self, engine: EnginePlugin) -> None:
        """Two payloads, two results of their own. A refusal is right too: `batch.max` may be 1."""
        try:
            results = engine.infer([self.payload, self.payload])
        except BadInput as refusal:
            self.remarks.append(f"refuses a batch of 2 ({refusal}): leave batch.max at 1")
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it breaks the rule
            sentence = (
                f"infer() must answer a batch of 2, or refuse it with BadInput; {_told(error)}"
            )
            raise self._failed("batch", sentence) from None
        one, other = self._good(results, 2, "batch")
        shared = shared_part(one, other)
        if shared:
            sentence = f"the results of one batch share {shared}; each must be its own"
            raise self._failed("batch", sentence)

    def _check_bad_input(self, engine: EnginePlugin) -> None:
        """A bad payload is refused in words, and the engine is well afterwards."""
        for bad in self.bad_payloads:
            self._check_refusal(engine, bad)
            try:
                self._check_one(engine)
            except EngineCheckFailed as error:
                sentence = f"after the bad payload {bad!r}, a good one was not answered: {error}"
                raise self._failed("bad_input", sentence) from None

    def _check_refusal(self, engine: EnginePlugin, bad: Any) -> None:
        remedy = "raise BadInput, or give the exception as that payload's result"
        try:
            results = engine.infer([bad])
        except BadInput as refusal:
            if str(refusal):
                return
            sentence = f"infer() refused {bad!r} without a word; say what is expected"
        except Exception as error:  # noqa: BLE001 - whatever it is, it breaks the rule
            sentence = f"infer() met the bad payload {bad!r} with {_told(error)}; {remedy}"
        else:
            self._check_count(results, 1, "bad_input")
            if isinstance(results[0], Exception):
                return
            sentence = f"infer() answered the bad payload {bad!r} as if it were good; {remedy}"
        raise self._failed("bad_input", sentence)

    def _check_idle_cancel(self, engine: EnginePlugin) -> None:
        """A cancel that comes when the run is over already must not harm the next one."""
        raised: list[str] = []

        def cancel() -> None:
            try:
                engine.cancel()
            except Exception as error:  # noqa: BLE001 - whatever it is, it breaks the rule
                raised.append(_told(error))

        thread = threading.Thread(target=cancel, name="check_engine cancel")
        thread.start()
        thread.join()
        if raised:
            sentence = f"cancel() with nothing running must do nothing; it raised {raised[0]}"
            raise self._failed("cancel", sentence)
        self._answers(engine, "cancel")


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
