"""What goes back: a result or a refusal, as bytes and back.

A result is JSON unless it is one array and `accept` asks for `application/x-npy`, or for a frame
(see `frames`). As JSON it is

    {"model_name": "faces", "id": "7", "outputs": [tensor, ...]}      arrays, whole
    {"model_name": "faces", "id": "7", "result": ...}                 anything else

with `"non_finite": true` beside a result where NaN or an infinity had to become null. A refusal is

    {"error": {"code": "queue_full", "outcome": "rejected", "message": "...", "retry_after_ms": 20}}

The user properties `outcome` and `id` say the same for all forms.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic_core import PydanticSerializationError, to_json

from scheduler.core.outcome import Outcome
from scheduler.runtime.call import FormUsed
from scheduler.sink.plain import Plain
from scheduler.transport.message import Message
from scheduler.transport.npy import decode_npy, encode_npy
from scheduler.transport.payload import FRAME, JSON, NPY
from scheduler.transport.refusal import Refusal
from scheduler.transport.strict_json import decode_json
from scheduler.transport.tensors import decode_outputs, encode_tensor

SINGLE = "output"
"""The tensor's name where a result is one array."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer without its address."""

    payload: bytes
    content_type: str = JSON
    user: tuple[tuple[str, str], ...] = ()


class Whole(Plain):
    """`Plain`, with nothing told by its size: an answer that is too large is refused as a whole.

    Bytes become {"base64": ...}. Only what is nested deeper than 16 is told by its type.
    """

    def _scalar(self, value: Any) -> Any:
        if isinstance(value, str):
            return str(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return {"base64": base64.b64encode(value).decode("ascii")}
        return super()._scalar(value)

    def _array(self, array: np.ndarray[Any, Any]) -> Any:
        return (
            self._nested(array.tolist()) if array.dtype.kind in "biufU" else super()._array(array)
        )

    def _mapping(self, fields: Mapping[Any, Any], depth: int) -> Any:
        return {self._key(key): self.value(item, depth - 1) for key, item in fields.items()}

    def _list(self, items: Any, depth: int) -> Any:
        return [self.value(item, depth - 1) for item in items]

    def _key(self, key: Any) -> str:
        return key if type(key) is str else str(self.value(key, 1))


def encode_result(
    result: Any,
    *,
    model: str,
    answer_id: str | None,
    accept: str | None = None,
    form: FormUsed | None = None,
) -> Answer:
    """Return the answer for what an engine returned. Never raises.

    Where the model has several forms, the one that answered is named, in the user properties and in
    the `parameters` of a JSON answer: its `variant`, its `device`.
    """
    used = {} if form is None else {"variant": form.variant, "device": form.device}
    parameters = {key: name for key, name in used.items() if name}
    user = (*_user(Outcome.COMPLETED, answer_id), *parameters.items())
    if accept in (NPY, FRAME) and isinstance(result, np.ndarray):
        file = encode_npy(result)
        if file is not None:
            return Answer(file, NPY, user)
    told: dict[str, Any] = {"model_name": model}
    if answer_id is not None:
        told["id"] = answer_id
    if parameters:
        told["parameters"] = parameters
    outputs = _outputs(result)
    if outputs is not None:
        told["outputs"] = outputs
    else:
        plain = Whole()
        told["result"] = plain.value(result)
        if plain.non_finite:
            told["non_finite"] = True
    return Answer(to_bytes(told), JSON, user)


def encode_refusal(refusal: Refusal, *, answer_id: str | None = None) -> Answer:
    """Return the answer for what was refused, or failed."""
    error: dict[str, Any] = {
        "code": refusal.code,
        "outcome": refusal.outcome.value,
        "message": str(refusal),
    }
    if refusal.retry_after_ms is not None:
        error["retry_after_ms"] = refusal.retry_after_ms
    told: dict[str, Any] = {"error": error}
    if answer_id is not None:
        told["id"] = answer_id
    return Answer(to_bytes(told), JSON, _user(refusal.outcome, answer_id))


def encode_reply(reply: Mapping[str, Any], *, answer_id: str | None = None) -> Answer:
    """Return the answer to a control or lease message that was done."""
    return Answer(to_bytes(reply), JSON, _user(Outcome.COMPLETED, answer_id))


def decode_answer(message: Message) -> Any:
    """Return the result of an answer: an array, a mapping of arrays, or a plain value.

    Raises:
        Refusal: the answer is a refusal, or cannot be read.
    """
    if message.content_type == NPY:
        return decode_npy(message.payload)
    told = decode_json(message.payload)
    if not isinstance(told, dict):
        raise Refusal("internal", "the answer is no JSON object", outcome=Outcome.FAILED)
    if isinstance(told.get("error"), dict):
        raise _refusal_of(told["error"])
    if "outputs" not in told:
        return told.get("result", told)
    outputs = decode_outputs(told["outputs"])
    return outputs[SINGLE] if list(outputs) == [SINGLE] else outputs


def to_bytes(told: Any) -> bytes:
    """Strict JSON of plain values; NaN becomes null, half a surrogate pair stays escaped."""
    try:
        return to_json(told, inf_nan_mode="null")
    except (PydanticSerializationError, UnicodeEncodeError):
        return json.dumps(told, allow_nan=False, default=repr).encode("ascii")


def _outputs(result: Any) -> list[dict[str, Any]] | None:
    """The tensors of a result that is an array, or a mapping of texts to arrays and no more."""
    arrays = {SINGLE: result} if isinstance(result, np.ndarray) else result
    if not isinstance(arrays, Mapping) or not arrays:
        return None
    tensors = []
    for name, array in arrays.items():
        is_named = isinstance(name, str) and isinstance(array, np.ndarray)
        tensor = encode_tensor(name, array) if is_named else None
        if tensor is None:
            return None
        tensors.append(tensor)
    return tensors


def _user(outcome: Outcome, answer_id: str | None) -> tuple[tuple[str, str], ...]:
    said = ("outcome", outcome.value)
    return (said,) if answer_id is None else (said, ("id", answer_id))


def _refusal_of(error: dict[str, Any]) -> Refusal:
    try:
        outcome = Outcome(error.get("outcome"))
    except ValueError:
        outcome = Outcome.FAILED
    later = error.get("retry_after_ms")
    return Refusal(
        str(error.get("code")),
        str(error.get("message")),
        outcome=outcome,
        retry_after_ms=later if isinstance(later, int) else None,
    )
