"""Sound files in the blocks that speech models take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scheduler.core.model import SECOND_NS
from scheduler.source.recording import Pass
from scheduler.source.resample import BLOCK_SAMPLES, RATE_HZ, Blocks, Samples
from scheduler.source.source import Frame, SourceError


def wav_frames(path: Path) -> Pass:
    """Blocks of 512 mono float32 samples at 16 kHz, at their time in the file; the last is padded.

    Takes what libsndfile reads: WAV of any width, FLAC, OGG and more, of any rate.

    Raises:
        SourceError: the file cannot be read as sound.
    """
    for number, block in enumerate(_blocks(path)):
        yield Frame(block, number * BLOCK_SAMPLES * SECOND_NS // RATE_HZ)


def _blocks(path: Path) -> Iterator[Samples]:
    import numpy as np  # noqa: PLC0415 - with its one user
    import soundfile  # noqa: PLC0415 - an extra

    try:
        with soundfile.SoundFile(path) as sound:
            blocks = Blocks(sound.samplerate)
            for chunk in sound.blocks(blocksize=sound.samplerate, dtype="float32", always_2d=True):
                yield from blocks.put(chunk)
            yield from blocks.put(np.zeros(0, np.float32), last=True)
    except soundfile.SoundFileError as error:
        raise SourceError(f"{path} cannot be read as sound: {error}") from error
