"""An engine in a package of its own: finds the warmest spot in a thermal image."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from scheduler import BadInput, EngineOptions, EnginePlugin


class ThermalOptions(EngineOptions):
    """What `options:` takes in the configuration."""

    threshold: float = Field(default=30.0, description="Degrees Celsius.")


class ThermalEngine(EnginePlugin):
    """Payload: a 2-D array of degrees Celsius. Result: the warmest spot, or None."""

    Options = ThermalOptions
    LIBRARIES = ("numpy",)

    def load(self) -> None:
        import numpy as np

        self.kernel = np.ones((1024, 1024))  # Stands for a network's weights: 8 MiB.

    def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
        return [self._warmest(image) for image in batch]

    def unload(self) -> None:
        self.kernel = None

    def example(self) -> Any:
        return self.kernel[:64, :64] * 36.6

    def _warmest(self, image: Any) -> Any:
        if getattr(image, "ndim", 0) != 2:
            return BadInput(f"a thermal image is a 2-D array, not {type(image).__name__}")
        row, column = divmod(int(image.argmax()), image.shape[1])
        degrees = float(image[row, column])
        spot = {"row": row, "column": column, "degrees": degrees}
        return spot if degrees > self.options.threshold else None
