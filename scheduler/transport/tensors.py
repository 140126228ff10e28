"""Tensors as the Open Inference Protocol (KServe V2) writes them in JSON.

A tensor is `{"name", "shape", "datatype", "data"}`, its data nested or flat, row by row.
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.config.units import quoted
from scheduler.transport.npy import DIMENSIONS_MAX
from scheduler.transport.refusal import Refusal, bad_request, unsupported

Array = NDArray[Any]

DATATYPES: Mapping[str, Any] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.str_,
}
"""The protocol's element types with numpy's. BYTES are texts here; BF16 has no numpy type."""

NAMES = {np.dtype(dtype).str: name for name, dtype in DATATYPES.items() if name != "BYTES"}

INPUTS_MAX = 64

_TAKEN_KINDS = {"b": "b", "u": "iu", "i": "iu", "f": "iuf", "U": "U"}
"""For each kind of element wanted, the kinds that its data may be read as without a loss."""


def decode_inputs(inputs: Any) -> Array | dict[str, Array]:
    """Return the tensors of `inputs`: of one tensor the array, of several a mapping by name.

    Raises:
        Refusal: something is missing, misspelt, or data do not agree with shape and datatype.
    """
    if not isinstance(inputs, list) or not 0 < len(inputs) <= INPUTS_MAX:
        raise bad_request(f'"inputs" is no list of 1 to {INPUTS_MAX} tensors')
    tensors: dict[str, Array] = {}
    for written in inputs:
        name, array = _decode(written)
        if name in tensors:
            raise bad_request(f"two inputs are called {quoted(name)}")
        tensors[name] = array
    return next(iter(tensors.values())) if len(tensors) == 1 else tensors


def _decode(written: Any) -> tuple[str, Array]:
    if not isinstance(written, dict) or set(written) - {"parameters"} != {
        "name",
        "shape",
        "datatype",
        "data",
    }:
        raise bad_request("an input is an object of name, shape, datatype and data")
    name, data, datatype = written["name"], written["data"], written["datatype"]
    if not isinstance(name, str):
        raise bad_request("an input's name is no text")
    if written.get("parameters"):
        raise unsupported(f"input {quoted(name)}: parameters of a tensor are not read")
    dtype = DATATYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        known = ", ".join(DATATYPES)
        raise unsupported(f"input {quoted(name)}: datatype {quoted(datatype)}; known: {known}")
    if not isinstance(data, list):
        raise bad_request(f"input {quoted(name)}: data is no list")
    shape = read_shape(written["shape"], f"input {quoted(name)}")
    try:
        return name, _array(data, np.dtype(dtype), shape)
    except Refusal as refusal:
        raise bad_request(f"input {quoted(name)}: {refusal}") from None


def read_shape(shape: Any, what: str) -> tuple[int, ...]:
    """Return the shape of a tensor. Raises Refusal, naming `what`."""
    if (
        not isinstance(shape, list)
        or len(shape) > DIMENSIONS_MAX
        or not all(type(size) is int and 0 <= size < 2**63 for size in shape)
    ):
        raise bad_request(f"{what}: shape is no list of up to {DIMENSIONS_MAX} whole numbers")
    return tuple(shape)


def _array(data: list[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """`data` as an array of `dtype` and `shape`, if nothing is lost. Raises Refusal."""
    try:
        read = np.array(data)
    except (ValueError, OverflowError, RecursionError):
        raise bad_request("data is ragged, or has numbers beyond 64 bits") from None
    if read.size != math.prod(shape):
        raise bad_request(f"data has {read.size} elements, shape {list(shape)} has another number")
    if read.size == 0:
        return np.empty(shape, dtype)
    if read.ndim > 1 and read.shape != shape:
        raise bad_request(f"data is nested as {list(read.shape)}, not as shape {list(shape)}")
    if read.dtype.kind not in _TAKEN_KINDS[dtype.kind]:
        raise bad_request(f"data is {read.dtype.name}, not {dtype.name}")
    if dtype.kind == "U":
        return read.reshape(shape)
    with np.errstate(over="ignore"):
        array = read.astype(dtype).reshape(shape)
    _check_range(read, array)
    return array


def _check_range(read: Array, array: Array) -> None:
    dtype = array.dtype
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if int(read.min()) < limits.min or int(read.max()) > limits.max:
            raise bad_request(f"data is out of the range of {dtype.name}")
    elif dtype.kind == "f" and not np.isfinite(array).all():
        raise bad_request(f"data is out of the range of {dtype.name}")


def encode_tensor(name: str, array: Array) -> dict[str, Any] | None:
    """Return an array as a tensor with flat data; None where the protocol has no type for it.

    NaN and infinities become null, and the tensor's parameters say `non_finite`.
    """
    dtype = array.dtype.newbyteorder("<")
    datatype = "BYTES" if dtype.kind == "U" else NAMES.get(dtype.str)
    if datatype is None:
        return None
    tensor: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype}
    if dtype.kind == "f" and not np.isfinite(array).all():
        tensor["parameters"] = {"non_finite": True}
    tensor["data"] = array.ravel().tolist()
    return tensor


def decode_outputs(outputs: Any) -> dict[str, Array]:
    """Return the tensors of an answer by name; a null is NaN. Raises Refusal."""
    if not isinstance(outputs, list):
        raise bad_request('"outputs" is no list of tensors')
    tensors = {}
    for written in outputs:
        if isinstance(written, dict) and written.get("parameters") == {"non_finite": True}:
            tensors[str(written.get("name"))] = _with_nan(written)
        else:
            name, array = _decode(written)
            tensors[name] = array
    return tensors


def _with_nan(written: dict[str, Any]) -> Array:
    data = written.get("data")
    if not isinstance(data, list):
        raise bad_request("an output's data is no list")
    whole = {key: part for key, part in written.items() if key != "parameters"}
    _, array = _decode({**whole, "data": [0.0 if value is None else value for value in data]})
    missing = np.array([value is None for value in data]).reshape(array.shape)
    return np.where(missing, np.array(np.nan, array.dtype), array)
