"""Where has the robot moved: KISS-ICP, odometry from a lidar alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rota_slam.points import drop_unranged, read_points
from scheduler.errors import BadInput, EngineError, EngineOutOfMemory
from scheduler.plugin.engine import EngineContext, EngineOptions, EnginePlugin


class KissIcpOptions(EngineOptions):
    """Options of `kiss_icp`; lengths in metres.

    The map keeps at most 20 points in each voxel (KISS-ICP's default) within `max_range` of the
    robot: those two and `voxel_size` bound its memory. `threads` holds for the whole process: the
    first engine's counts (KISS-ICP sets its thread pool once).
    """

    voxel_size: float = Field(default=0.25, ge=0.01, le=100)
    min_range: float = Field(default=0.3, ge=0)
    max_range: float = Field(default=60.0, gt=0, le=1000)
    max_points: int = Field(default=200_000, ge=100)
    threads: int = Field(default=1, ge=1, le=256)

    @model_validator(mode="after")
    def _check_order(self) -> KissIcpOptions:
        if self.min_range >= self.max_range:
            raise ValueError(
                f"min_range {self.min_range:g} is not below max_range {self.max_range:g}"
            )
        return self


class KissIcpEngine(EnginePlugin):
    """KISS-ICP (Vizzo et al., RA-L 2023) as an engine that remembers: its map and where it is.

    Payload: an (N, 3) float array of points in metres, x forward, y left, z up; or a flat laser
    scan `{"ranges": (beams,) metres, "aperture": radians}`, see `rota_slam.points`. Result:
    `{"pose": 4x4 float64, "position": [x, y, z], "path_m": float}`, the sensor's pose in the frame
    of the first scan, and the length of its way so far.

    The scans of a batch are taken in their order. A refused scan changes nothing. Unloading the
    engine forgets the map and the pose: pin a model that must not lose its way, or hold a lease on
    it. Scans are taken as snapshots (no deskewing).
    """

    Options = KissIcpOptions
    LIBRARIES = ("kiss_icp.kiss_icp",)
    options: KissIcpOptions

    def __init__(self, options: Any, context: EngineContext) -> None:
        super().__init__(options, context)
        self._odometry: Any = None
        self._path_m = 0.0

    @classmethod
    def summary(cls, results: Sequence[Any]) -> str:
        """How far the sensor went, and where it is."""
        x, y, _ = results[-1]["position"]
        return f"drove {results[-1]['path_m']:.1f} m, now at ({x:.1f}, {y:.1f}) m from the start"

    def load(self) -> None:
        """Start at the origin with an empty map."""
        try:
            from kiss_icp.kiss_icp import KissICP  # noqa: PLC0415 - heavy
        except ImportError as error:
            raise EngineError(f"kiss-icp is missing ({error}); install rota[slam]") from error
        self._odometry = KissICP(_kiss_config(self.options))
        self._path_m = 0.0

    def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Register scans one after the other. A bad one fails alone."""
        return [self._answer(payload) for payload in batch]

    def unload(self) -> None:
        """Forget the map and the pose."""
        self._odometry = None
        self._path_m = 0.0

    def example(self) -> NDArray[np.float64]:
        """A room of 10 by 8 m with a pillar, seen from its middle: 2,000 points or so."""
        along_x, along_y = np.linspace(-5, 5, 200), np.linspace(-4, 4, 160)
        turn = np.linspace(0, 2 * np.pi, 60)
        outline = np.concatenate(
            [
                np.column_stack([along_x, np.full_like(along_x, -4)]),
                np.column_stack([along_x, np.full_like(along_x, 4)]),
                np.column_stack([np.full_like(along_y, -5), along_y]),
                np.column_stack([np.full_like(along_y, 5), along_y]),
                np.column_stack([2 + 0.3 * np.cos(turn), 1 + 0.3 * np.sin(turn)]),
            ]
        )
        slices = [np.column_stack([outline, np.full(len(outline), z)]) for z in (-0.5, 0, 0.5)]
        return np.concatenate(slices)

    def _answer(self, payload: Any) -> dict[str, Any] | BadInput:
        if self._odometry is None:
            raise EngineError("the engine is not loaded; call load() first")
        options = self.options
        try:
            points = read_points(payload, max_points=options.max_points)
            points = drop_unranged(points, options.min_range, options.max_range)
        except BadInput as error:
            return error.with_traceback(None)
        pose = self._register(points)
        return {"pose": pose, "position": pose[:3, 3].tolist(), "path_m": self._path_m}

    def _register(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        before = self._odometry.last_pose[:3, 3].copy()
        try:
            self._odometry.register_frame(points, np.empty(0))
        except MemoryError as error:
            raise EngineOutOfMemory("no memory for the scan; raise the footprint") from error
        pose: NDArray[np.float64] = np.array(self._odometry.last_pose, np.float64)
        if not np.isfinite(pose).all():
            self.load()
            raise EngineError("registration diverged; the map is dropped, odometry starts anew")
        self._path_m += float(np.linalg.norm(pose[:3, 3] - before))
        return pose


def _kiss_config(options: KissIcpOptions) -> Any:
    """Every value is given: what is not, KISS-ICP would take from KISS_ICP_* of the environment."""
    from kiss_icp.config import KISSConfig  # noqa: PLC0415
    from kiss_icp.config.config import (  # noqa: PLC0415
        AdaptiveThresholdConfig,
        DataConfig,
        MappingConfig,
        RegistrationConfig,
    )

    return KISSConfig(
        data=DataConfig(min_range=options.min_range, max_range=options.max_range, deskew=False),
        mapping=MappingConfig(voxel_size=options.voxel_size),
        registration=RegistrationConfig(max_num_threads=options.threads),
        adaptive_threshold=AdaptiveThresholdConfig(),
    )
