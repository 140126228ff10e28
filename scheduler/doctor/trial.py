"""Finding an engine's critical point, step by step, in processes that may die of it.

1. load, and run one item;
2. run larger and larger batches, until one fails; then the sizes between the last that ran and
   the first that did not, until the largest that runs is known;
3. load, run and unload again and again, in one process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scheduler.profile.engine_process import EngineProcess
from scheduler.profile.step import Step

CYCLES = 6
LEAST_BATCH = 8
"""So far batches are tried although the configuration has none."""


class Trial:
    """One model's trial. `steps` are all that was tried, in order; iterate `run` to try."""

    def __init__(
        self,
        config: Path,
        model: str,
        variant: str = "",
        *,
        batch_max: int,
        cycles: int = CYCLES,
        limit_s: float = 120,
    ) -> None:
        self.steps: list[Step] = []
        self.cycles: list[Step] = []
        """The unloads of part 3."""
        self.largest_batch = 0
        self.failed_batch: Step | None = None
        self._config = config
        self._model = model
        self._variant = variant
        self._most = max(batch_max, LEAST_BATCH)
        self._cycles = cycles
        self._limit_s = limit_s

    def run(self) -> Iterator[Step]:
        """Try everything, yielding each step when it is done. Ends early when nothing can run."""
        for step in self._sizes():
            self.steps.append(step)
            yield step
        if self.largest_batch:
            for step in self._loads():
                self.steps.append(step)
                yield step

    def _sizes(self) -> Iterator[Step]:
        """Doubling, then halving what is between."""
        size, failed = 1, self._most + 1
        process: EngineProcess | None = None
        try:
            while self.largest_batch < size < failed:
                if process is None:
                    process = self._process()
                    load = process.do("load")
                    yield load
                    if load.error:
                        return
                step = process.do("run", size)
                yield step
                if step.error:
                    failed, self.failed_batch = size, step
                    process.close()
                    process = None
                else:
                    self.largest_batch = size
                size = self._next(failed)
        finally:
            if process is not None:
                process.close()

    def _next(self, failed: int) -> int:
        if self.failed_batch is None:
            return min(2 * self.largest_batch, self._most)
        return (self.largest_batch + failed) // 2

    def _loads(self) -> Iterator[Step]:
        with self._process() as process:
            for _ in range(self._cycles):
                for act in ("load", "run", "unload"):
                    step = process.do(act)
                    yield step
                    if step.error:
                        return
                self.cycles.append(step)

    def _process(self) -> EngineProcess:
        return EngineProcess(self._config, self._model, self._variant, limit_s=self._limit_s)
