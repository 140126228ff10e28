"""Any audio in, blocks of one rate out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

RATE_HZ = 16_000
"""What speech models take."""

BLOCK_SAMPLES = 512
"""32 ms at 16 kHz: what Silero VAD takes at a time."""


def after_gap(block: Samples) -> dict[str, Any]:
    """A block as voice detectors take it when audio is missing before it: they start afresh."""
    return {"samples": block, "gap": True}


class Blocks:
    """Cuts a stream of audio into blocks of 512 mono float32 samples at 16 kHz, without seams.

    `put` takes samples of shape (n,) or (n, channels) in -1..1 at `rate_hz`; channels are
    averaged. Other rates go through one soxr stream, whose filter keeps what is above 8 kHz from
    folding down.
    """

    def __init__(self, rate_hz: float) -> None:
        self._resampler = None
        if rate_hz != RATE_HZ:
            import soxr  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415 - an extra

            self._resampler = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32")
        self._rest: Samples = np.zeros(0, np.float32)

    def put(self, samples: npt.NDArray[np.floating], *, last: bool = False) -> Iterator[Samples]:
        """The blocks that are now whole; with `last`, the rest too, filled up with silence."""
        mono = np.asarray(samples, np.float32)
        if mono.ndim > 1:
            mono = mono.mean(axis=1, dtype=np.float32)
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(mono, last=last)
        self._rest = np.concatenate([self._rest, mono])
        if last and (missing := -len(self._rest) % BLOCK_SAMPLES):
            self._rest = np.concatenate([self._rest, np.zeros(missing, np.float32)])
        whole = len(self._rest) - len(self._rest) % BLOCK_SAMPLES
        ready, self._rest = self._rest[:whole], self._rest[whole:]
        yield from (block.copy() for block in ready.reshape(-1, BLOCK_SAMPLES))
