"""Photographs as JPEG and PNG, decoded by Pillow."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scheduler.transport.refusal import bad_request, too_large, unsupported

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG"}

PIXELS_MAX = 16 * 1024 * 1024
"""48 MiB of RGB: twice what a 4K camera sends. A file of some kilobytes can claim far more."""

CHANNELS = 3


def decoded_bytes(content_type: str, payload: bytes) -> int:
    """What the image will take as RGB, from its header alone. Raises Refusal."""
    with _open(content_type, payload) as image:
        return int(image.width * image.height) * CHANNELS


def decode_image(content_type: str, payload: bytes) -> NDArray[np.uint8]:
    """Return the image as RGB, uint8 of shape (height, width, 3).

    Raises:
        Refusal: it is damaged, of another format than it says, or has more than 16 Mi pixels.
    """
    with _open(content_type, payload) as image:
        try:
            return np.asarray(image.convert("RGB"), np.uint8)
        except Exception as error:  # noqa: BLE001 - decoders raise whatever the damage leads to
            raise bad_request(f"the image is damaged: {str(error)[:200]}") from None


def _open(content_type: str, payload: bytes) -> ImageFile:
    image_module = _pillow()
    kind = FORMATS[content_type]
    try:
        image: ImageFile = image_module.open(BytesIO(payload), formats=[kind])
    except image_module.DecompressionBombWarning as error:
        raise too_large(f"the image is too large: {error}") from None
    except image_module.DecompressionBombError as error:
        raise too_large(f"the image is too large: {error}") from None
    except Exception:  # noqa: BLE001 - as above
        raise bad_request(f"the payload cannot be read as {kind}") from None
    if image.width * image.height > PIXELS_MAX:
        raise too_large(
            f"the image has {image.width} x {image.height} pixels; at most {PIXELS_MAX} are decoded"
        )
    return image


def _pillow() -> Any:
    try:
        from PIL import Image  # noqa: PLC0415 - an extra
    except ImportError:
        raise unsupported("images need the package pillow on the node; send x-npy") from None
    return Image
