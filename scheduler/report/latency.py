"""Percentiles of latencies in bounded memory: exact while few, then within half a percent.

(And a nanosecond, since they are rounded to whole ones.)

The sketch is DDSketch (Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch
with relative-error guarantees", VLDB 2019): values fall into buckets whose bounds grow by a
constant factor, and a bucket answers with the value that is at most `ACCURACY` off both bounds.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter

EXACT_LIMIT = 16_384
"""So many latencies are kept as they are: 128 KiB per model."""
ACCURACY = 0.005

_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = math.log(_GAMMA)


class Latencies:
    """Latencies in nanoseconds, of one model. `last_ns` and `max_ns` are exact, None when empty."""

    __slots__ = ("_buckets", "_exact", "_exact_limit", "count", "last_ns", "max_ns")

    def __init__(self, exact_limit: int = EXACT_LIMIT) -> None:
        self.count = 0
        self.last_ns: int | None = None
        self.max_ns: int | None = None
        self._exact_limit = exact_limit
        self._exact = array("q")
        self._buckets: Counter[int] = Counter()

    def add(self, latency_ns: int) -> None:
        """Take one more, not negative."""
        self.count += 1
        self.last_ns = latency_ns
        self.max_ns = max(self.max_ns or 0, latency_ns)
        if self._buckets:
            self._buckets[_bucket(latency_ns)] += 1
            return
        self._exact.append(latency_ns)
        if len(self._exact) > self._exact_limit:
            self._buckets.update(map(_bucket, self._exact))
            del self._exact[:]

    def quantile_ns(self, q: float) -> int | None:
        """The smallest latency that at least the share `q` (0..1) did not pass (nearest rank)."""
        if not self.count:
            return None
        rank = max(1, math.ceil(q * self.count))
        if not self._buckets:
            return sorted(self._exact)[rank - 1]
        return min(self._sketched_ns(rank), self.max_ns or 0)

    def _sketched_ns(self, rank: int) -> int:
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return round(2 * _GAMMA**bucket / (_GAMMA + 1))
        raise AssertionError(f"rank {rank} of {seen}")


def _bucket(latency_ns: int) -> int:
    """The bucket of (gamma ** (b - 1), gamma ** b] nanoseconds; 0 counts as 1 ns."""
    return math.ceil(math.log(max(1, latency_ns)) / _LOG_GAMMA)
