"""Laser scans out of a numpy archive."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from scheduler.source.recording import Pass
from scheduler.source.source import Frame, SourceError

TICK_NS = 100
"""`stamp` counts 100 ns ticks, as MRPT's logs do."""


def lidar_frames(path: Path) -> Pass:
    """Scans as {"ranges": float32 (beams,) in metres, "aperture": float in radians}, at their time.

    The archive has `ranges` (scans, beams), `aperture`, and `stamp` (scans,) in ticks of 100 ns.

    Raises:
        SourceError: the file is no such archive.
    """
    ranges, stamps, aperture = _read(path)
    for scan, stamp in zip(ranges, stamps, strict=True):
        stamp_ns = int(stamp - stamps[0]) * TICK_NS
        yield Frame({"ranges": scan, "aperture": aperture}, stamp_ns)


def _read(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], float]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            ranges = archive["ranges"].astype(np.float32)
            aperture = float(archive["aperture"])
            stamps = archive["stamp"].astype(np.int64)
    except _UNREADABLE as error:
        raise SourceError(f"{path} is not an archive of laser scans: {error}") from error
    if ranges.ndim != 2 or stamps.shape != ranges.shape[:1]:  # noqa: PLR2004 - scans, beams
        raise SourceError(
            f"{path}: ranges have shape {ranges.shape} and stamps {stamps.shape}; "
            "expected (scans, beams) and (scans,)"
        )
    return ranges, stamps, aperture


_UNREADABLE = (OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, BadZipFile)
"""What numpy raises for a file that is none, is no archive, or lacks an array."""
