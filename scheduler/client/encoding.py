"""From what a program has to the bytes of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import PydanticSerializationError, to_json

from scheduler.plugin.engine import EXAMPLE
from scheduler.transport.image import FORMATS
from scheduler.transport.npy import encode_npy
from scheduler.transport.payload import JSON, NPY, WAV, content_type_of
from scheduler.transport.tensors import encode_tensor

JPEG, PNG = FORMATS

SUFFIXES = {
    ".npy": NPY,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".png": PNG,
    ".wav": WAV,
    ".json": JSON,
}
"""The files that can be sent as they are. A .json file is a whole request: {"inputs": [...]}."""

Encoded = tuple[bytes, str]
"""A payload and its content type."""


async def encode(payload: Any) -> Encoded:
    """Return what to send for `payload`; a file is read beside the event loop.

    Raises TypeError, and ValueError and OSError for files.
    """
    if isinstance(payload, Path):
        return await asyncio.to_thread(read_file, payload)
    return encode_payload(payload)


def encode_payload(payload: Any) -> Encoded:
    """Return what to send for `payload`.

    Arrays go as npy files; bytes are those of an npy, JPEG, PNG or WAV file; a Pillow image goes as
    its RGB array; a mapping of texts to arrays as Open Inference Protocol tensors; `EXAMPLE` asks
    for the engine's own; anything else as JSON. Raises TypeError for what JSON has no form for.
    """
    if isinstance(payload, np.ndarray):
        return _encode_array(payload)
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return _encode_bytes(bytes(payload))
    if payload is EXAMPLE:
        return b'{"example":true}', JSON
    if hasattr(payload, "convert") and hasattr(payload, "getbands"):
        return _encode_array(np.asarray(payload.convert("RGB")))
    if isinstance(payload, Mapping) and payload and all(map(_is_array, payload.values())):
        return _to_json({"inputs": [_tensor(str(n), array) for n, array in payload.items()]}), JSON
    return _to_json({"payload": payload}), JSON


def read_file(path: Path) -> Encoded:
    """Read a file that can be sent as it is. Raises ValueError for others, and OSError."""
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path}: a file is sent by its suffix, one of {', '.join(SUFFIXES)}")
    return path.read_bytes(), kind


def _encode_array(array: np.ndarray[Any, Any]) -> Encoded:
    file = encode_npy(array)
    return (_to_json({"inputs": [_tensor("input", array)]}), JSON) if file is None else (file, NPY)


def _encode_bytes(payload: bytes) -> Encoded:
    kind = content_type_of(None, payload)
    if kind == JSON:
        raise TypeError("these bytes are no npy, JPEG, PNG or WAV file; send an array or a value")
    return payload, kind


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _tensor(name: str, array: np.ndarray[Any, Any]) -> dict[str, Any]:
    tensor = encode_tensor(name, array)
    if tensor is None or "parameters" in tensor:
        raise TypeError(
            f"{name}: an array of {array.dtype} cannot be sent so; send numbers that are finite, "
            "booleans or texts, or one array by itself"
        )
    return tensor


def _to_json(value: Any) -> bytes:
    try:
        return to_json(value, inf_nan_mode="constants", fallback=_plain)
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise TypeError(f"the payload has no form in JSON: {error}; send an array") from None


def _plain(value: Any) -> Any:
    """What numpy has inside of something else."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(type(value).__name__)
