"""What was seen of one quantity: the middle, a high one, and of how many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median_low

from pydantic import BaseModel, ConfigDict

HIGH_PERCENT = 90


class Quantity(BaseModel):
    """Bytes or nanoseconds. Of fewer than ten samples the high one is the highest."""

    model_config = ConfigDict(frozen=True)

    median: int
    high: int
    samples: int


def quantity(seen: Sequence[int]) -> Quantity:
    """Return the lower median and the 90 % quantile (nearest rank) of at least one sample."""
    ordered = sorted(seen)
    rank = math.ceil(len(ordered) * HIGH_PERCENT / 100)
    return Quantity(median=median_low(ordered), high=ordered[rank - 1], samples=len(ordered))
