"""Arrays in numpy's file format (NEP 1), as the content type `application/x-npy`."""

from __future__ import annotations

import math
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from scheduler.config.units import quoted
from scheduler.transport.refusal import bad_request, unsupported

MAGIC = b"\x93NUMPY"

DTYPES = frozenset(
    "|b1 |i1 <i2 <i4 <i8 |u1 <u2 <u4 <u8 <f2 <f4 <f8 <c8 <c16".split()  # noqa: SIM905 - a table
)
"""The element types that are taken: plain numbers, little-endian."""

VERSION_END = len(MAGIC) + 2

_WIDTHS = {b"\x01\x00": 2, b"\x02\x00": 4}
"""By version: how many bytes say how long the header is."""

HEADER_MAX_BYTES = 4096

KEPT = 64
"""Heads that are not read or made again: the frames of a camera all have the same."""

DIMENSIONS_MAX = 32
"""What every numpy since 1.24 can hold."""


def decode_npy(payload: bytes) -> NDArray[Any]:
    """Return the array of a `.npy` file; it shares the payload's memory and is read-only.

    Nothing is allocated before shape and element type are known to agree with the length. Python
    objects, records and big-endian numbers are not taken.

    Raises:
        Refusal: it is no such file, or not one of plain numbers.
    """
    head = _head(payload)
    shape, is_fortran, dtype = _read_head(head)
    offset = len(head)
    if dtype.str not in DTYPES:
        raise unsupported(
            f"npy: elements are {quoted(dtype.str)}; send one of {', '.join(sorted(DTYPES))}"
        )
    if len(shape) > DIMENSIONS_MAX or any(size < 0 for size in shape):
        raise bad_request(f"npy: the shape {quoted(str(shape))} is none")
    need_bytes, have_bytes = math.prod(shape) * dtype.itemsize, len(payload) - offset
    if need_bytes != have_bytes:
        raise bad_request(
            f"npy: shape {quoted(str(shape))} of {dtype.name} is {_counted(need_bytes)}, the "
            f"message has {have_bytes}"
        )
    flat = np.frombuffer(payload, dtype, offset=offset)
    array = flat.reshape(shape, order="F" if is_fortran else "C")
    return array if array.flags.aligned else array.copy()


def encode_npy(array: NDArray[Any]) -> bytes | None:
    """Return the array as a `.npy` file, little-endian; None where `decode_npy` would refuse it."""
    dtype = array.dtype.newbyteorder("<")
    if dtype.str not in DTYPES:
        return None
    whole = np.ascontiguousarray(array, dtype)
    return b"".join([encode_head(dtype.str, array.shape), whole.reshape(-1).view(np.uint8).data])


@lru_cache(maxsize=KEPT)
def encode_head(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return what stands before the elements in a `.npy` file, row by row."""
    file = BytesIO()
    said = {"descr": dtype, "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(file, said)
    return file.getvalue()


def _head(payload: bytes) -> bytes:
    """All that stands before the elements. Raises Refusal."""
    width = _WIDTHS.get(payload[len(MAGIC) : VERSION_END])
    if width is None or not payload.startswith(MAGIC):
        raise unsupported("npy: the payload is no array file of format 1.0 or 2.0")
    end = VERSION_END + width
    end += int.from_bytes(payload[VERSION_END:end], "little")
    if end > min(len(payload), HEADER_MAX_BYTES):
        raise bad_request("npy: the header is longer than the message, or than any needs to be")
    return payload[:end]


@lru_cache(maxsize=KEPT)
def _read_head(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    file = BytesIO(head)
    try:
        version = npy_format.read_magic(file)
        read = npy_format.read_array_header_1_0
        if version == (2, 0):
            read = npy_format.read_array_header_2_0
        shape, is_fortran, dtype = read(file, max_header_size=HEADER_MAX_BYTES)
    except Exception as error:  # noqa: BLE001 - numpy evaluates the header as a Python literal
        raise bad_request(f"npy: the header cannot be read: {quoted(error)}") from None
    if any(isinstance(size, bool) for size in shape):
        raise bad_request("npy: the shape has a truth value in it")
    return shape, is_fortran, dtype


def _counted(count: int) -> str:
    return f"{count} bytes" if count < 2**63 else "more than any memory has"
