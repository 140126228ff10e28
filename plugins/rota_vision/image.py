"""Images as the engines take them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scheduler.errors import BadInput

Image = NDArray[np.uint8]
"""HxWx3, red first."""

_GREY: Final = 2
_COLOUR: Final = 3


def read_image(payload: Any) -> Image:
    """Return the payload as HxWx3 bytes; a grey image (HxW) is repeated in the three channels.

    Raises:
        BadInput: it is no array, not of bytes, of another shape, or empty.
    """
    if not isinstance(payload, np.ndarray):
        raise BadInput(f"the image is {type(payload).__name__}; {_EXPECTED}")
    shape = payload.shape
    grey = payload.ndim == _GREY
    colour = payload.ndim == _COLOUR and shape[-1] == _COLOUR
    if payload.dtype != np.uint8 or not (grey or colour) or 0 in shape:
        raise BadInput(f"the image is {payload.dtype}{list(shape)}; {_EXPECTED}")
    return np.repeat(payload[..., None], _COLOUR, axis=2) if grey else payload


_EXPECTED: Final = "send a numpy array of uint8[height, width, 3] (RGB) or uint8[height, width]"


def fitting_scale(image: Image, max_side: int, enlarge: float = 1.0) -> float:
    """Return the scale, at most `enlarge`, that brings the longer side to `max_side` at most."""
    height, width, _ = image.shape
    return float(min(enlarge, max_side / max(height, width)))
