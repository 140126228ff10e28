"""Frames of a film, and pictures of a folder."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from scheduler.core.model import SECOND_NS
from scheduler.source.recording import Pass
from scheduler.source.source import Frame, SourceError

_log = logging.getLogger(__name__)

PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""The endings by which a picture is known in a folder."""


def video_frames(path: Path) -> Pass:
    """The frames of a film as RGB uint8 (height, width, 3), at their time in the film.

    A film that does not say its rate has no stamps.

    Raises:
        SourceError: OpenCV cannot open the file.
    """
    import cv2  # noqa: PLC0415 - heavy, and an extra

    film = cv2.VideoCapture(str(path))
    try:
        if not film.isOpened():
            raise SourceError(f"{path} cannot be opened as a video; is it there, and is it a film?")
        rate_hz = film.get(cv2.CAP_PROP_FPS)
        timed = math.isfinite(rate_hz) and rate_hz > 0
        number = 0
        while True:
            good, picture = film.read()
            if not good:
                return
            yield Frame(
                cv2.cvtColor(picture, cv2.COLOR_BGR2RGB),
                round(number * SECOND_NS / rate_hz) if timed else None,
            )
            number += 1
    finally:
        film.release()


def image_frames(path: Path) -> Pass:
    """A picture, or those of a folder by name, as RGB uint8 (height, width, 3), without stamps.

    A picture that cannot be read is named in the log and left out.

    Raises:
        SourceError: there is nothing at `path`.
    """
    import numpy as np  # noqa: PLC0415 - as below
    from PIL import Image  # noqa: PLC0415 - an extra

    for picture_path in _pictures(path):
        try:
            with Image.open(picture_path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError) as error:  # noqa: PERF203
            _log.warning("%s is left out: %s", picture_path, error)
        else:
            yield Frame(pixels)


def _pictures(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES)
    if path.is_file():
        return [path]
    raise SourceError(f"{path} is neither a picture nor a folder of pictures")
