"""How large the memory pools of this machine are."""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.memory.probe import MemoryProbe, PoolSample, cautious
from scheduler.memory.sources import size_probes


def machine_samples(probes: Iterable[MemoryProbe] = ()) -> dict[str, PoolSample]:
    """Every pool of this machine, from `probes` (default: its own), by name."""
    by_pool: dict[str, list[PoolSample]] = {}
    for probe in tuple(probes) or size_probes():
        for sample in probe.sample():
            by_pool.setdefault(sample.pool, []).append(sample)
    return {pool: cautious(tuple(samples)) for pool, samples in by_pool.items()}


def machine_totals(probes: Iterable[MemoryProbe] = ()) -> dict[str, int]:
    """The size of each pool in bytes, a control group's limit included; unknown ones are left out.

    Shares such as `80%` are of this.
    """
    samples = machine_samples(probes)
    return {p: s.total_bytes for p, s in samples.items() if s.total_bytes is not None}
