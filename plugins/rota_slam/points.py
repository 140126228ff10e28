"""Payloads of a lidar: a cloud of points, or the ranges of a flat laser scan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.errors import BadInput

Points = NDArray[np.float64]

SLICE_HEIGHTS_M = (-0.5, 0.0, 0.5)
"""A flat scan is repeated at these heights, as if the walls it sees were upright: points of one
plane alone leave height, roll and pitch open, and registration drifts in them."""

MIN_POINTS = 30
"""Fewer points than this, between the least and the greatest range, fix no motion."""


def read_points(payload: Any, *, max_points: int) -> Points:
    """Return the points of `payload`, (N, 3) float64 metres in the sensor's frame.

    Args:
        payload: an array of shape (N, 3), metres; or a scan: a mapping with (or an object that has)
            `ranges` in metres, from right to left, and `aperture` in radians, the angle they cover,
            centred straight ahead.
        max_points: the most points that are taken.

    Points that are not finite and ranges that are not above 0 are no returns and dropped.

    Raises:
        BadInput: it is neither, too large, or nearly empty.
    """
    points = _read_cloud(payload) if isinstance(payload, np.ndarray) else _read_scan(payload)
    if len(points) > max_points:
        raise BadInput(
            f"the scan has {len(points)} points, at most {max_points} are taken; thin it out, or "
            "raise max_points and the workspace with it"
        )
    return points


def drop_unranged(points: Points, min_range_m: float, max_range_m: float) -> Points:
    """Keep the points between the ranges.

    Raises:
        BadInput: fewer than 30 remain.
    """
    with np.errstate(over="ignore"):  # what is too far to square is too far
        ranges_m = np.linalg.norm(points, axis=1)
    kept: Points = points[(ranges_m >= min_range_m) & (ranges_m <= max_range_m)]
    if len(kept) < MIN_POINTS:
        raise BadInput(
            f"{len(kept)} of {len(points)} points lie between {min_range_m:g} and "
            f"{max_range_m:g} m (options min_range and max_range); at least {MIN_POINTS} are needed"
        )
    return kept


def _read_cloud(cloud: NDArray[Any]) -> Points:
    if cloud.ndim != 2 or cloud.shape[1] != 3:  # noqa: PLR2004 - x, y, z
        raise BadInput(f"the points have shape {cloud.shape}; give (N, 3): x, y, z in metres")
    if cloud.dtype.kind != "f":
        raise BadInput(f"the points are {cloud.dtype}; give float32 or float64, in metres")
    points = cloud.astype(np.float64)
    finite: Points = points[np.isfinite(points).all(axis=1)]
    return finite


def _read_scan(scan: Any) -> Points:
    ranges_m, aperture_rad = _read_ranges(_part(scan, "ranges")), _part(scan, "aperture")
    if isinstance(aperture_rad, bool) or not isinstance(aperture_rad, (int, float, np.floating)):
        raise BadInput(f"aperture is a {type(aperture_rad).__name__}; give radians")
    if not 0 < aperture_rad <= 2 * math.pi + 1e-6:
        raise BadInput(f"aperture is {aperture_rad:g}; give radians above 0, at most 2 pi")
    angles_rad = np.linspace(-aperture_rad / 2, aperture_rad / 2, ranges_m.size)
    returned = np.isfinite(ranges_m) & (ranges_m > 0)
    ranges_m, angles_rad = ranges_m[returned], angles_rad[returned]
    x_m, y_m = ranges_m * np.cos(angles_rad), ranges_m * np.sin(angles_rad)
    slices = [np.column_stack([x_m, y_m, np.full_like(x_m, z_m)]) for z_m in SLICE_HEIGHTS_M]
    return np.concatenate(slices)


def _read_ranges(value: Any) -> Points:
    if not isinstance(value, (np.ndarray, list, tuple)):
        raise BadInput(f"ranges is a {type(value).__name__}; give an array of metres")
    try:
        ranges = np.asarray(value)
    except ValueError:  # rows of unequal length
        raise BadInput("ranges is ragged; give one flat list of metres") from None
    if ranges.ndim != 1 or ranges.dtype.kind not in "fiu":
        raise BadInput(f"ranges is {ranges.dtype} of shape {ranges.shape}; give (beams,) metres")
    return ranges.astype(np.float64)


def _part(scan: Any, name: str) -> Any:
    value = scan.get(name) if isinstance(scan, Mapping) else getattr(scan, name, None)
    if value is None:
        raise BadInput(
            f"the payload is a {type(scan).__name__} without {name}; give an array of points "
            "(N, 3), or a scan with ranges and aperture"
        )
    return value
