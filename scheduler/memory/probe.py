"""What a memory probe is, and what it says of a pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSample:
    """One pool as the machine describes it, in bytes. None means unknown, which is never 0.

    `available_bytes` is what could still be allocated, reclaimable page cache included;
    `used_bytes` what this process holds, where the source can tell it from others; and
    `largest_block_bytes` the largest piece that is free in one. `source` names where the figures
    are from, `trouble` why there are none, or no new ones. `taken_at_ns` is monotonic: when they
    were true, which may be long before they were asked for, as the source takes new ones only
    every `period_ns` (0: whenever it is asked).
    """

    pool: str
    total_bytes: int | None
    available_bytes: int | None
    source: str
    taken_at_ns: int
    used_bytes: int | None = None
    largest_block_bytes: int | None = None
    period_ns: int = 0
    trouble: str = ""


class MemoryProbe(Protocol):
    """A source: something that can be asked about one or more pools."""

    @property
    def name(self) -> str:
        """What the source is called."""

    def sample(self) -> tuple[PoolSample, ...]:
        """One sample per pool that this source knows of. May block.

        May raise: its pools are unknown to it then.
        """


STALE_PERIODS = 3
"""A figure older than this many periods is unknown, for the source may hang."""


def is_fresh(sample: PoolSample, now_ns: int, period_ns: int) -> bool:
    """Whether a sample is still to be believed by who asks every `period_ns`."""
    return now_ns - sample.taken_at_ns <= STALE_PERIODS * max(period_ns, sample.period_ns)


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
    much is used, the larger use counts. `source` then names the others as well. What the one does
    not know is taken from the others: the smallest total, the largest use, the smallest block.
    """
    least = min(samples, key=_availability)
    others = [sample for sample in samples if _contradicts(least, sample)]
    said = ", ".join(f"{other.source} says {other.available_bytes}" for other in others)
    return replace(
        least,
        total_bytes=_known(min, [sample.total_bytes for sample in samples]),
        used_bytes=_known(max, [sample.used_bytes for sample in samples]),
        largest_block_bytes=_known(min, [sample.largest_block_bytes for sample in samples]),
        source=f"{least.source} ({said})" if said else least.source,
    )


def _known(pick: Callable[[list[int]], int], figures: list[int | None]) -> int | None:
    known = [figure for figure in figures if figure is not None]
    return pick(known) if known else None


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
