"""A payload that lies in shared memory, and what a message says of it.

Such a message has the content type `application/vnd.rota.frame+json` and says in JSON

    {"place": "32a5f79e-dd06-4adb-8f8c-14014c7c1915:25", "name": "rota-camera-1",
     "size_bytes": 921600, "content_type": "application/octet-stream",
     "datatype": "UINT8", "shape": [480, 640, 3]}

`place` is one /dev/shm of one running machine: what /proc/sys/kernel/random/boot_id has, a colon,
and what `stat -c %d /dev/shm` prints. `name` is a file there, `size_bytes` all of its bytes. What
lies in it is of any content type that a message may have; `application/octet-stream` is the
elements of one tensor of the Open Inference Protocol, row by row and little-endian, and only this
has a datatype and a shape.

A request whose `accept` is this content type has a large result come so. Whoever asked reads the
file and removes it; after a minute the node does. A request's own file is never touched, and not
looked at any more when its answer has come.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scheduler.config.units import quoted
from scheduler.transport.answer import to_bytes
from scheduler.transport.npy import encode_head
from scheduler.transport.payload import FRAME, NPY, content_type_of
from scheduler.transport.refusal import bad_request, too_large, unsupported
from scheduler.transport.strict_json import decode_json
from scheduler.transport.tensors import NAMES, read_shape

RAW = "application/octet-stream"
"""The elements of one tensor and nothing else."""

MESSAGE_MAX_BYTES = 4096
"""A longer one says more than a frame has."""

PLACE_MAX = 64

SIZE_MAX_BYTES = 2**63 - 1

_NAME = re.compile(r"rota-[A-Za-z0-9_-]{1,64}", re.ASCII)
"""One file of the folder itself: no slash, no dots, nothing that is not meant for Rota."""

_DTYPES = {datatype: np.dtype(text) for text, datatype in NAMES.items()}

_KEYS = ("place", "name", "size_bytes", "content_type")
_RAW_KEYS = ("datatype", "shape")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a message says of a frame. `head` stands before what lies there: raw ones lack it."""

    place: str
    name: str
    size_bytes: int
    content_type: str
    head: bytes = b""

    def to_bytes(self) -> bytes:
        """What to send for a frame that is not raw."""
        return to_bytes({key: getattr(self, key) for key in _KEYS})


def read_frame(payload: bytes) -> Frame:
    """Read what a message says of a frame; whether it is so is seen when the frame is read.

    Raises:
        Refusal: something is missing, misspelt, or not of its kind. Nothing else.
    """
    if len(payload) > MESSAGE_MAX_BYTES:
        raise too_large(f"a frame is told in at most {MESSAGE_MAX_BYTES} bytes")
    said = decode_json(payload)
    if not isinstance(said, dict):
        raise bad_request(f"a frame is told as an object of {', '.join(_KEYS)}")
    keys = (*_KEYS, *_RAW_KEYS) if said.get("content_type") == RAW else _KEYS
    if set(said) != set(keys):
        raise bad_request(f"a frame of this content type is told by {', '.join(keys)} and no more")
    size_bytes = _read_size(said["size_bytes"])
    kind, head = _read_kind(said, size_bytes)
    return Frame(
        place=_read_place(said["place"]),
        name=_read_name(said["name"]),
        size_bytes=size_bytes,
        content_type=kind,
        head=head,
    )


def _read_place(place: Any) -> str:
    if not isinstance(place, str) or len(place) > PLACE_MAX:
        raise bad_request('"place" is a boot id, a colon and the device number of /dev/shm')
    return place


def _read_name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise bad_request(
            f"a frame cannot be called {quoted(name)}; write rota- and up to 64 letters, digits, "
            "_ and -"
        )
    return name


def _read_size(size_bytes: Any) -> int:
    if type(size_bytes) is not int or not 0 < size_bytes <= SIZE_MAX_BYTES:
        raise bad_request(f'"size_bytes" is {quoted(size_bytes)}, not a number of bytes above 0')
    return size_bytes


def _read_kind(said: Mapping[str, Any], size_bytes: int) -> tuple[str, bytes]:
    """The content type under which it will be read, and the head for that."""
    kind = said["content_type"]
    if kind == RAW:
        return NPY, _head_of(said["datatype"], said["shape"], size_bytes)
    if not isinstance(kind, str) or not kind or (kind := content_type_of(kind, b"")) == FRAME:
        raise unsupported(f"what lies in a frame cannot be {quoted(said['content_type'])}")
    return kind, b""


def _head_of(datatype: Any, shape: Any, size_bytes: int) -> bytes:
    dtype = _DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise unsupported(f"datatype {quoted(datatype)}; known: {', '.join(_DTYPES)}")
    sizes = read_shape(shape, "the frame")
    if math.prod(sizes) * dtype.itemsize != size_bytes:
        raise bad_request(
            f"shape {quoted(str(shape))} of {datatype} is not the {size_bytes} bytes of the frame"
        )
    return encode_head(dtype.str, sizes)
