"""int8 scales that TensorRT measures itself: its calibrator, which its versions 8 to 10 have.

Where scales are in the model (see `precision`) no calibrator is needed. This is for what takes
scales in no other way, such as a Jetson's DLA before TensorRT 10.
"""

from __future__ import annotations

import hashlib
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rota_tensorrt.device import Device, device_number
from rota_tensorrt.driver import Driver, load_driver
from rota_tensorrt.record import write_whole
from rota_tensorrt.staging import Layout, Staging
from scheduler.errors import EngineError
from scheduler.plugin.builder import BuildRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import tensorrt as trt

    from rota_tensorrt.calibration import Samples
    from rota_tensorrt.library import Library

_CACHE_BEGINS: Final = b"TRT-"
"""As TensorRT writes it: `TRT-100300-EntropyCalibration2`, then a line for each tensor."""


class ScaleCache:
    """The scales in a file of `folder`, whose name has a hash of all that they belong to."""

    def __init__(self, folder: Path, stem: str, belongs_to: Sequence[str]) -> None:
        key = hashlib.sha256("\n".join(belongs_to).encode()).hexdigest()[:_KEY]
        self.path = folder / f"{stem}-int8-{key}.scales"
        self.was_read = False
        self.notes: list[str] = []

    def read(self) -> bytes | None:
        """Return what was measured before, None when there is nothing that can be used."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.notes.append(f"{self.path} cannot be read ({error.strerror}): measured anew")
            return None
        if not content.startswith(_CACHE_BEGINS):
            self.notes.append(f"{self.path} has no scales of TensorRT: measured anew")
            return None
        self.was_read = True
        return content

    def write(self, content: bytes) -> None:
        """Keep what was measured for the next time."""
        try:
            write_whole(self.path, content)
        except OSError as error:
            self.notes.append(f"{self.path}: the scales are not kept: {error.strerror}")


class Feed:
    """Brings the samples to the device, one at a time. With the context current throughout.

    The library swallows what is raised in its callbacks, so a failure is kept in `error`.
    """

    def __init__(self, samples: Samples, device: Device, driver: Driver) -> None:
        self.error: EngineError | None = None
        self.rows = next((spec.shape[0] or 1 for spec in samples.inputs if spec.shape), 1)
        self._samples = iter(samples)
        self._staging = Staging(device)
        self._driver = driver
        self._stream = driver.make_stream(0)

    def next_addresses(self, names: Sequence[str]) -> list[int]:
        """Return the addresses of the next sample's inputs; none when there are no more."""
        try:
            sample = next(self._samples, None)
            return [] if sample is None or self.error else self._bring(sample, names)
        except EngineError as error:
            self.error = error
            return []

    def _bring(self, sample: Any, names: Sequence[str]) -> list[int]:
        layout = Layout.of({name: sample[name].nbytes for name in names})
        self._staging.fit(layout)
        for name in names:
            host = self._staging.host(layout, name)
            host[:] = np.ascontiguousarray(sample[name]).reshape(-1).view(np.uint8)
            address = self._staging.address(layout, name)
            self._driver.copy_to_device(address, host.ctypes.data, host.nbytes, self._stream)
        self._driver.synchronize(self._stream)
        return [self._staging.address(layout, name) for name in names]

    def close(self) -> None:
        """Give its memory and its stream back."""
        self._staging.free()
        self._driver.destroy_stream(self._stream)


def make_calibrator(module: Library, feed: Feed, cache: ScaleCache) -> trt.IInt8EntropyCalibrator2:
    """Make the calibrator that asks `feed` for samples, unless `cache` has scales."""

    class Calibrator(module.IInt8EntropyCalibrator2):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            module.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return feed.rows

        def get_batch(self, names: list[str]) -> list[int]:
            return feed.next_addresses(names)

        def read_calibration_cache(self) -> bytes | None:
            return cache.read()

        def write_calibration_cache(self, content: Any) -> None:
            cache.write(bytes(content))

    made: trt.IInt8EntropyCalibrator2 = Calibrator()
    return made


def check_has_calibrator(module: Library) -> None:
    """Refuse a library without one.

    Raises:
        BuildRefused: it is TensorRT 11 or newer, or TensorRT-RTX.
    """
    if not hasattr(module, "IInt8EntropyCalibrator2"):
        raise BuildRefused(
            f"{module.__name__} {module.__version__} has no calibrator: leave --calibrator out, "
            f"and the scales of int8 are measured by onnxruntime and put into the model"
        )


@dataclass(frozen=True, slots=True)
class Scales:
    """What an int8 build measures on `samples`, all of one shape: that of their `inputs`."""

    samples: Samples
    cache: ScaleCache

    @classmethod
    def on(cls, samples: Samples, folder: Path, stem: str, belongs_to: Sequence[str]) -> Scales:
        """Keep them in `folder`, for these samples and what else they belong to alone."""
        return cls(samples, ScaleCache(folder, stem, (*belongs_to, samples.digest)))

    @property
    def notes(self) -> tuple[str, ...]:
        """Where they come from, after the build."""
        count = len(self.samples.files)
        if self.cache.was_read:
            return (f"its scales are those of {self.cache.path}, of these {count} samples",)
        return (*self.cache.notes, f"its scales were measured by TensorRT on {count} samples")

    @contextmanager
    def measured(
        self, module: Library, builder: trt.Builder, config: trt.IBuilderConfig, pool: str
    ) -> Iterator[None]:
        """Let `config` measure while the block builds, on the GPU of `pool`.

        Raises:
            EngineError: there is no GPU, or a sample cannot be used.
        """
        subject = f"calibrating {self.cache.path.name}"
        with ExitStack() as undo:
            driver = Driver(subject, load_driver())
            device = Device(subject, device_number(pool))
            undo.callback(device.release)
            undo.enter_context(device.current())
            undo.callback(device.free_pools)
            feed = Feed(self.samples, device, driver)
            undo.callback(feed.close)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TensorRT 10 says that calibrators will go.
                profile: Any = builder.create_optimization_profile()
                for spec in self.samples.inputs:
                    profile.set_shape(spec.name, *[spec.shape] * 3)
                config.set_calibration_profile(profile)
                config.int8_calibrator = make_calibrator(module, feed, self.cache)
            try:
                yield
            finally:
                if feed.error is not None:
                    raise feed.error


_KEY: Final = 12
