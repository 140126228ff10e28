"""How much of a pool Rota may use when the configuration leaves that to the machine."""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.memory.host import HostProbe
from scheduler.memory.probe import MemoryProbe, PoolSample, cautious

MIB = 1024**2

_RESERVE_SHARE = 10
_LEAST_RESERVE_BYTES = 256 * MIB
_MOST_RESERVE_BYTES = 2048 * MIB


def default_reserve_bytes(total_bytes: int) -> int:
    """What to leave to everyone else when nobody says: a tenth, from 256 MiB to 2 GiB.

    Our own choice: 400 MiB of a 4 GiB board and 800 MiB of an 8 GiB one keep the desktop-less
    system and a short peak of its services out of swap.
    """
    tenth_bytes = total_bytes // _RESERVE_SHARE
    return min(max(tenth_bytes, _LEAST_RESERVE_BYTES), _MOST_RESERVE_BYTES)


def automatic_budget_bytes(available_bytes: int, reserve_bytes: int) -> int:
    """The budget `auto`: what is available before the first engine loads, less the reserve.

    Ask once, at the start: from then on what Rota itself loaded is no longer available, so a later
    answer would count it twice. 0 when the reserve is more than there is.
    """
    return max(0, available_bytes - reserve_bytes)


def machine_samples(probes: Iterable[MemoryProbe] = ()) -> dict[str, PoolSample]:
    """Every pool of this machine, from `probes` (default: the host's own), by name."""
    by_pool: dict[str, list[PoolSample]] = {}
    for probe in tuple(probes) or (HostProbe(),):
        for sample in probe.sample():
            by_pool.setdefault(sample.pool, []).append(sample)
    return {pool: cautious(tuple(samples)) for pool, samples in by_pool.items()}


def machine_totals(probes: Iterable[MemoryProbe] = ()) -> dict[str, int]:
    """The size of each pool in bytes, a control group's limit included; unknown ones are left out.

    Shares such as `80%` are of this.
    """
    samples = machine_samples(probes)
    return {p: s.total_bytes for p, s in samples.items() if s.total_bytes is not None}


def automatic_budgets(probes: Iterable[MemoryProbe] = ()) -> dict[str, int]:
    """The budget `auto` of each pool with the default reserve; unknown ones are left out."""
    return {
        pool: automatic_budget_bytes(
            sample.available_bytes, default_reserve_bytes(sample.total_bytes)
        )
        for pool, sample in machine_samples(probes).items()
        if sample.total_bytes is not None and sample.available_bytes is not None
    }
