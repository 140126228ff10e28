"""What this machine is, what its pools say, which engines can run, and what is to be mended."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from scheduler.doctor.advice import Advice, advise
from scheduler.doctor.context import ContextCost, context_cost
from scheduler.memory.jetson import find_jetson
from scheduler.memory.machine import MachineKind, host_pool, machine_kind
from scheduler.memory.probe import MemoryProbe, PoolSample
from scheduler.memory.sources import pool_probes
from scheduler.plugin.registry import EngineEntry, available, find

PATIENCE_S = 3.0
"""So long a source that speaks once a second is waited for."""
POLL_S = 0.05


class MachineFacts(BaseModel):
    """Empty text is unknown. `kind` is `integrated` (one memory) or `discrete`."""

    model_config = ConfigDict(frozen=True)

    kind: str
    processor: str
    cores: int
    system: str
    board: str = ""
    chip: str = ""
    jetpack: str = ""


class PoolFacts(BaseModel):
    """What one source says of one pool. None is unknown, never 0."""

    model_config = ConfigDict(frozen=True)

    pool: str
    source: str
    age_ms: float
    total_bytes: int | None
    available_bytes: int | None
    largest_block_bytes: int | None
    trouble: str


class EngineFacts(BaseModel):
    """An engine that is installed. `error` says why it cannot be used; empty when it can."""

    model_config = ConfigDict(frozen=True)

    name: str
    distribution: str
    version: str
    error: str


class Checkup(BaseModel):
    """All that `rota doctor` says of a machine."""

    model_config = ConfigDict(frozen=True)

    machine: MachineFacts
    pools: tuple[PoolFacts, ...]
    context: ContextCost | None
    advice: tuple[Advice, ...]
    engines: tuple[EngineFacts, ...]

    @property
    def good(self) -> bool:
        """Whether there is nothing to mend."""
        return all(advice.good for advice in self.advice)


def examine(root: Path = Path("/")) -> Checkup:
    """Look at the machine whose files are under `root`. Takes some seconds where it has a GPU."""
    kind = machine_kind(root)
    jetson = find_jetson(root)
    has_gpu = jetson is not None or kind is MachineKind.DISCRETE
    return Checkup(
        machine=MachineFacts(
            kind=kind.value,
            processor=platform.machine(),
            cores=os.cpu_count() or 0,
            system=f"{platform.system()} {platform.release()}",
            board=jetson.model if jetson else "",
            chip=jetson.chip if jetson else "",
            jetpack=_jetpack(jetson.jetpack, jetson.l4t) if jetson else "",
        ),
        pools=_pools(kind, root),
        context=context_cost() if has_gpu else None,
        advice=tuple(advise(root)),
        engines=tuple(_engine(entry) for entry in available()),
    )


def _engine(entry: EngineEntry) -> EngineFacts:
    error = entry.error or ""
    missing = [] if error else [lib for lib in find(entry.name).LIBRARIES if not _is_there(lib)]
    if missing:
        error = f"needs {', '.join(missing)}, which cannot be imported; install it"
    return EngineFacts(
        name=entry.name, distribution=entry.distribution, version=entry.version, error=error
    )


def _is_there(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def _jetpack(number: int | None, l4t: str) -> str:
    if not l4t:
        return ""
    return f"{number or 'of an unknown number'} (Jetson Linux {l4t})"


def _pools(kind: MachineKind, root: Path) -> tuple[PoolFacts, ...]:
    devices = [] if kind is MachineKind.INTEGRATED else ["cuda:0"]
    probes = pool_probes([host_pool(kind), *devices], root)
    try:
        samples = patient_samples(probes)
    finally:
        for probe in probes:
            getattr(probe, "close", lambda: None)()
    now = time.monotonic_ns()
    return tuple(_facts(sample, now) for sample in samples)


def patient_samples(
    probes: Iterable[MemoryProbe], patience_s: float = PATIENCE_S
) -> list[PoolSample]:
    """Ask until every source has said something, but no longer than `patience_s`."""
    asked = list(probes)
    end = time.monotonic() + patience_s
    while True:
        samples = [sample for probe in asked for sample in _sample(probe)]
        waits = [s for s in samples if s.available_bytes is None and s.used_bytes is None]
        if not waits or time.monotonic() >= end:
            return samples
        time.sleep(POLL_S)


def _sample(probe: MemoryProbe) -> tuple[PoolSample, ...]:
    try:
        return probe.sample()
    except Exception:  # noqa: BLE001 - a source may fail in any way; the others speak
        return ()


def _facts(sample: PoolSample, now: int) -> PoolFacts:
    return PoolFacts(
        pool=sample.pool,
        source=sample.source,
        age_ms=round((now - sample.taken_at_ns) / 1e6, 1),
        total_bytes=sample.total_bytes,
        available_bytes=sample.available_bytes,
        largest_block_bytes=sample.largest_block_bytes,
        trouble=sample.trouble,
    )
