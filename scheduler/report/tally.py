"""The running counts of one model and of one pool."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from scheduler.core.outcome import Outcome
from scheduler.report.latency import Latencies
from scheduler.report.report import AheadReport, LatencyReport, ModelReport, PoolReport

NS_PER_MS = 1_000_000


@dataclass(slots=True)
class ModelTally:
    """What happened to one model so far. `unused` is the instance loaded ahead and not used yet."""

    requests: int = 0
    loads: int = 0
    unloads: int = 0
    loads_ahead: int = 0
    loads_ahead_used: int = 0
    unused: int | None = None
    forms: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)

    def load_ahead(self, instance: int) -> None:
        """A load has begun that nobody has asked for."""
        self.loads_ahead += 1
        self.unused = instance

    def use(self, instance: int) -> None:
        """Somebody has been given a lease on this instance."""
        if self.unused == instance:
            self.loads_ahead_used += 1
            self.unused = None

    def finish(self, outcome: Outcome, latency_ns: int) -> None:
        """Count a request's end; only completed ones have a latency worth the name."""
        self.outcomes[outcome] += 1
        if outcome is Outcome.COMPLETED:
            self.latencies.add(latency_ns)

    def report(self) -> ModelReport:
        """The figures so far."""
        return ModelReport(
            requests=self.requests,
            loads=self.loads,
            unloads=self.unloads,
            latency_ms=LatencyReport(
                p50=_ms(self.latencies.quantile_ns(0.5)),
                p99=_ms(self.latencies.quantile_ns(0.99)),
                max=_ms(self.latencies.max_ns),
            ),
            loads_ahead=self._ahead(),
            forms=dict(self.forms) or None,
            **{outcome.value: self.outcomes[outcome] for outcome in Outcome},
        )

    def _ahead(self) -> AheadReport | None:
        if not self.loads_ahead:
            return None
        return AheadReport(loads=self.loads_ahead, used=self.loads_ahead_used)


@dataclass(slots=True)
class PoolTally:
    """One pool's budget as it is now, and the most that was reserved and measured."""

    budget_bytes: int
    high_water_bytes: int = 0
    measured_high_water_bytes: int | None = None
    source: str | None = None

    def reserve(self, reserved_bytes: int) -> None:
        """Note what is reserved now."""
        self.high_water_bytes = max(self.high_water_bytes, reserved_bytes)

    def measure(self, used_bytes: int | None, source: str) -> None:
        """Note what was measured, and by whom; None is unknown and never 0."""
        self.source = source or self.source
        if used_bytes is not None:
            self.measured_high_water_bytes = max(self.measured_high_water_bytes or 0, used_bytes)

    def report(self) -> PoolReport:
        """The figures so far."""
        return PoolReport(
            budget_bytes=self.budget_bytes,
            high_water_bytes=self.high_water_bytes,
            measured_high_water_bytes=self.measured_high_water_bytes,
            source=self.source,
        )


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else round(nanoseconds / NS_PER_MS, 3)
