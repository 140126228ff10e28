"""When the frames of a recording are due. Its content is not read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from typing import TYPE_CHECKING

from scheduler.config.source import Origin, OriginKind
from scheduler.source.arrivals import Schedule
from scheduler.source.lidar import lidar_frames
from scheduler.source.resample import BLOCK_SAMPLES, RATE_HZ
from scheduler.source.source import SourceError
from scheduler.source.video import PICTURES

if TYPE_CHECKING:
    from pathlib import Path

BLOCK_HZ = RATE_HZ / BLOCK_SAMPLES
"""Sound comes in 31.25 blocks a second."""

ASSUMED_VIDEO_HZ = 30.0
"""What cameras usually give."""


@dataclass(frozen=True, slots=True)
class Medium:
    """One recording: its rate, or the stamps of its frames in ns where they are uneven.

    `frames` of None: nobody knows how many, and it does not end. Without a rate and stamps its
    frames have no times of their own. `assumed` says what was taken for granted, or is empty.
    """

    rate_hz: float | None = None
    frames: int | None = None
    stamps_ns: tuple[int, ...] = ()
    assumed: str = ""

    def due_times(self, schedule: Schedule | None, *, loop: bool) -> Iterator[int]:
        """When each frame is due, in ns from the start: by `schedule`, else by the recording.

        Raises SourceError when neither says.
        """
        if schedule is None and self.stamps_ns:
            return _looped(self.stamps_ns) if loop else iter(self.stamps_ns)
        if schedule is None and self.rate_hz is None:
            raise SourceError("its frames have no times of their own; give the source a rate")
        endless = (schedule or Schedule(self.rate_hz or 0)).due_times()
        return endless if loop else islice(endless, self.frames)

    def count(self, *, loop: bool) -> Iterator[int]:
        """One number for each frame, where their times do not matter."""
        return repeat(0) if loop or self.frames is None else repeat(0, self.frames)


def medium(origin: Origin) -> Medium:
    """What is known of the recording that a source reads. Raises SourceError if it is unreadable.

    Libraries that are not installed are done without: then usual figures are assumed.
    """
    path = origin.path
    if path is None:
        raise ValueError(f"{origin.kind.value} is no recording")
    if origin.kind is OriginKind.VIDEO:
        return _film(path)
    if origin.kind is OriginKind.WAV:
        return _sound(path)
    if origin.kind is OriginKind.IMAGES:
        return _pictures(path)
    stamps_ns = tuple(frame.stamp_ns or 0 for frame in lidar_frames(path))
    return Medium(frames=len(stamps_ns), stamps_ns=stamps_ns)


def _film(path: Path) -> Medium:
    try:
        import cv2  # noqa: PLC0415 - heavy, and an extra
    except ImportError:
        text = f"OpenCV is not installed: assuming {path.name} has {ASSUMED_VIDEO_HZ:g} Hz, no end"
        return Medium(ASSUMED_VIDEO_HZ, assumed=text)
    film = cv2.VideoCapture(str(path))
    try:
        if not film.isOpened():
            raise SourceError(f"{path} cannot be opened as a video; is it there, and is it a film?")
        rate_hz, frames = film.get(cv2.CAP_PROP_FPS), film.get(cv2.CAP_PROP_FRAME_COUNT)
    finally:
        film.release()
    known = math.isfinite(frames) and frames > 0
    return Medium(
        rate_hz if math.isfinite(rate_hz) and rate_hz > 0 else None,
        round(frames) if known else None,
        assumed="" if known else f"{path.name} does not say how long it is: assuming no end",
    )


def _sound(path: Path) -> Medium:
    try:
        import soundfile  # noqa: PLC0415 - an extra
    except ImportError:
        text = f"soundfile is not installed: assuming {path.name} has no end"
        return Medium(BLOCK_HZ, assumed=text)
    try:
        sound = soundfile.info(str(path))
    except soundfile.SoundFileError as error:
        raise SourceError(f"{path} cannot be read as sound: {error}") from error
    return Medium(BLOCK_HZ, math.ceil(sound.frames / sound.samplerate * BLOCK_HZ))


def _pictures(path: Path) -> Medium:
    if not path.is_dir():
        return Medium(frames=1)
    return Medium(frames=sum(p.suffix.lower() in PICTURES for p in path.iterdir()))


def _looped(stamps_ns: tuple[int, ...]) -> Iterator[int]:
    """The stamps again and again; the step between two passes is that between the last frames."""
    last_ns = stamps_ns[-1]
    step_ns = last_ns - stamps_ns[-2] if len(stamps_ns) > 1 else 0
    offset_ns = 0
    while True:
        yield from (offset_ns + stamp_ns for stamp_ns in stamps_ns)
        offset_ns += last_ns + step_ns
