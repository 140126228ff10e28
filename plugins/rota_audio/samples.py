"""Audio samples: mono PCM at 16 kHz, checked before they reach a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.errors import BadInput

SAMPLE_RATE_HZ = 16_000
INT16_SCALE = 32_768.0
LOUDEST = 4.0
"""Samples beyond this are not audio in -1..1: resampling overshoots by a few per cent, while
integers that were cast to float reach thousands."""


def read_samples(payload: Any) -> NDArray[np.float32]:
    """Return `payload` as float32 samples in -1..1.

    Args:
        payload: a one-dimensional array at 16 kHz: float32, or int16 (divided by 32768).

    Raises:
        BadInput: it is something else, or holds NaN, infinities or values that are not audio.
    """
    if not isinstance(payload, np.ndarray):
        raise BadInput(
            f"the payload is a {type(payload).__name__}; give a one-dimensional numpy array of "
            "float32 or int16 samples, mono at 16 kHz"
        )
    if payload.ndim != 1:
        raise BadInput(f"the samples have shape {payload.shape}; give one dimension (mono)")
    if payload.dtype == np.int16:
        return np.divide(payload, INT16_SCALE, dtype=np.float32)
    if payload.dtype != np.float32:
        raise BadInput(f"the samples are {payload.dtype}; give float32 in -1..1, or int16")
    _check_range(payload)
    samples: NDArray[np.float32] = payload
    return samples


def _check_range(samples: NDArray[np.float32]) -> None:
    loudest = float(np.abs(samples).max(initial=0.0))
    if np.isfinite(loudest) and loudest <= LOUDEST:
        return
    if np.isfinite(loudest):
        raise BadInput(f"a sample is {loudest:g}; float samples are in -1..1 (give int16 as int16)")
    count = int(np.count_nonzero(~np.isfinite(samples)))
    raise BadInput(f"{count} of {samples.size} samples are NaN or infinite; send a gap instead")
