"""The process that holds one engine and does with it what it is told, line by line.

`python -m scheduler.profile.child CONFIG MODEL VARIANT` reads orders from its input and answers
each with a step. An engine can take the process down with it, by the kernel's out-of-memory killer
or by a crash in native code, without taking down who asked.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, TextIO

from scheduler.config import Config, load_config
from scheduler.memory.trim import release_free_memory, tame_malloc
from scheduler.plugin.engine import EXAMPLE, EnginePlugin
from scheduler.profile.gauge import gauge_of
from scheduler.profile.payloads import first_payloads
from scheduler.profile.place import places
from scheduler.profile.step import Order, Step
from scheduler.runtime.failure import Failure
from scheduler.runtime.registration import registration


class Bench:
    """One model's engine in one of its forms, and the pool that it is measured in."""

    def __init__(self, config: Config, name: str, variant: str) -> None:
        model = config.models[name]
        place = next(place for place in places(config, name) if place.variant == variant)
        first_pool = next(iter(config.memory.by_pool()))
        registered = registration(model, None, None, first_pool)
        self._make = partial(registered.make, place.variant, place.device)
        for library in type(self._make()).LIBRARIES:
            import_module(library)
        self._engine: EnginePlugin | None = None
        self._pool = place.pool
        self._payloads = first_payloads(config, name)
        self._next = 0
        self._gauge = gauge_of(self._pool)
        release_free_memory()
        gc.freeze()
        self._baseline_bytes = self._gauge.held_bytes()

    def do(self, order: Order) -> Step:
        """Do it, and say what it took; what goes wrong is said too."""
        acts = {"load": self._load, "run": self._run, "unload": self._unload}
        payloads = self._batch(order.items) if order.act == "run" else []
        self._gauge.watch()
        started_ns = time.perf_counter_ns()
        try:
            acts[order.act](payloads)
            failure = None
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            failure = Failure.of(error)
        took_ns = time.perf_counter_ns() - started_ns
        peak_bytes = self._gauge.peak_bytes()
        if order.act != "run":
            release_free_memory()
        return Step(
            act=order.act,
            items=order.items,
            took_ns=took_ns,
            peak_bytes=self._above(peak_bytes),
            held_bytes=self._above(self._gauge.held_bytes()),
            claimed_bytes=self._claimed_bytes(),
            exact=self._gauge.exact,
            error=failure.text if failure else "",
            out_of_memory=failure is not None and failure.out_of_memory,
        )

    def _load(self, _: list[Any]) -> None:
        self._engine = self._make()
        self._engine.load()
        self._engine.warm_up()

    def _run(self, payloads: list[Any]) -> None:
        assert self._engine is not None  # noqa: S101 - orders begin with a load
        results = self._engine.infer(payloads)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _unload(self, _: list[Any]) -> None:
        if self._engine is not None:
            self._engine.unload()
            self._engine = None

    def _batch(self, items: int) -> list[Any]:
        """The next frames of the source, again and again; without one, the engine's example."""
        frames = self._payloads or [EXAMPLE]
        batch = [frames[(self._next + n) % len(frames)] for n in range(items)]
        self._next += items
        return [self._example() if payload is EXAMPLE else payload for payload in batch]

    def _example(self) -> Any:
        assert self._engine is not None  # noqa: S101 - as above
        return self._engine.example()

    def _claimed_bytes(self) -> int | None:
        return None if self._engine is None else self._engine.measure().get(self._pool)

    def _above(self, held_bytes: int) -> int:
        return max(0, held_bytes - self._baseline_bytes)


def serve(orders: TextIO, answer: Callable[[str], None], words: list[str]) -> None:
    """Answer every order until there are no more."""
    path, name, variant = words
    bench = Bench(load_config(path), name, variant)
    for line in orders:
        answer(bench.do(Order.model_validate_json(line)).model_dump_json())


def main() -> None:
    """Serve in a thread that is not the first, as engines have it in the runtime.

    What an engine prints goes to standard error: standard output is for the answers.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(line: str) -> None:
        answers.write(line + "\n")
        answers.flush()

    tame_malloc()
    thread = threading.Thread(target=serve, args=(sys.stdin, answer, sys.argv[1:]))
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()
