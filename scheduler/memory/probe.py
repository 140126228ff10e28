"""What a memory probe is, and what it says of a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSample:
    """One pool as the machine describes it, in bytes. None means unknown, which is never 0.

    `available_bytes` is what could still be allocated, reclaimable page cache included. `source`
    names where the figure is from. `taken_at_ns` is monotonic: when the figure was true, which may
    be long before it was asked for.
    """

    pool: str
    total_bytes: int | None
    available_bytes: int | None
    source: str
    taken_at_ns: int


class MemoryProbe(Protocol):
    """Something that can be asked about one or more pools."""

    def sample(self) -> tuple[PoolSample, ...]:
        """One sample per pool that this probe knows of. May block; must not raise."""


def known_bytes(figure: str | None) -> int | None:
    """A figure as a tool printed it, in bytes, or None where it says nothing.

    Boards with one memory print `[N/A]` for a framebuffer they do not have, cgroups print `max`,
    and a file may be missing, empty or cut: all of these are unknown, and never 0. So is a
    negative.
    """
    text = (figure or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def cautious(samples: tuple[PoolSample, ...]) -> PoolSample:
    """Of several samples of one pool the one with the least available; known comes before unknown.

    Tools have been seen to be off by factors (page size, units), so where two disagree about how
    much is used, the larger use counts. `source` then names the others as well.
    """
    least = min(samples, key=_availability)
    others = [sample for sample in samples if _contradicts(least, sample)]
    if not others:
        return least
    said = ", ".join(f"{other.source} says {other.available_bytes}" for other in others)
    return PoolSample(
        pool=least.pool,
        total_bytes=least.total_bytes,
        available_bytes=least.available_bytes,
        source=f"{least.source} ({said})",
        taken_at_ns=least.taken_at_ns,
    )


_MAX_DIGITS = 20
"""No count of bytes is longer: 2^64 has 20 digits."""

_DISAGREEMENT = 2
"""Two figures further apart than this factor cannot both be right."""


def _availability(sample: PoolSample) -> tuple[bool, int]:
    return sample.available_bytes is None, sample.available_bytes or 0


def _contradicts(least: PoolSample, other: PoolSample) -> bool:
    if least.available_bytes is None or other.available_bytes is None:
        return False
    return other.available_bytes > _DISAGREEMENT * least.available_bytes
