"""Sound as WAV, in the samples that speech models take."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from scheduler.source.resample import RATE_HZ
from scheduler.transport.refusal import bad_request, too_large, unsupported

SECONDS_MAX = 600

CHANNELS_MAX = 8


def decode_wav(payload: bytes) -> NDArray[np.float32]:
    """Return the sound as mono float32 samples in -1..1 at 16 kHz, of shape (n,).

    Channels are averaged, other rates resampled.

    Raises:
        Refusal: it is damaged or no WAV, longer than ten minutes, or what reads it is missing.
    """
    try:
        import soundfile  # noqa: PLC0415 - an extra
        import soxr  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415 - an extra
    except (ImportError, OSError):
        raise unsupported("WAV needs rota[audio] on the node; send samples as x-npy") from None
    try:
        with soundfile.SoundFile(BytesIO(payload)) as sound:
            _check(sound.format, sound.channels, len(sound) / sound.samplerate)
            rate_hz = sound.samplerate
            samples = sound.read(dtype="float32", always_2d=True).mean(axis=1, dtype=np.float32)
    except (soundfile.SoundFileError, ValueError, MemoryError, ZeroDivisionError) as error:
        raise bad_request(f"the sound cannot be read: {str(error)[:200]}") from None
    if rate_hz != RATE_HZ:
        samples = soxr.resample(samples, rate_hz, RATE_HZ)
    return np.ascontiguousarray(samples, np.float32)


def _check(kind: str, channels: int, seconds: float) -> None:
    if kind not in ("WAV", "WAVEX", "RF64"):
        raise bad_request(f"the sound is {kind}, not WAV")
    if seconds > SECONDS_MAX or channels > CHANNELS_MAX:
        raise too_large(
            f"{seconds:.0f} s of {channels} channels; at most {SECONDS_MAX} s of {CHANNELS_MAX} "
            "are read"
        )
