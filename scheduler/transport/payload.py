"""What a request carries: from bytes of a content type to what engines take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scheduler.config.units import quoted
from scheduler.plugin.engine import EXAMPLE
from scheduler.transport import image
from scheduler.transport.npy import MAGIC, decode_npy
from scheduler.transport.refusal import bad_request, unsupported
from scheduler.transport.sound import decode_wav
from scheduler.transport.strict_json import decode_json
from scheduler.transport.tensors import decode_inputs
from scheduler.transport.terms import Terms, read_parameters
from scheduler.transport.topics import read_id

JSON = "application/json"
NPY = "application/x-npy"
WAV = "audio/wav"
FRAME = "application/vnd.rota.frame+json"
"""The message only says where its payload lies; see `frame`."""

CONTENT_TYPES = (JSON, NPY, *image.FORMATS, WAV)

_ALIASES = {"image/jpg": "image/jpeg", "audio/x-wav": WAV, "audio/wave": WAV, "audio/vnd.wave": WAV}

_STARTS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", MAGIC: NPY}

SMALL_BYTES = 16 * 1024
"""Up to this a payload is decoded in the event loop: a worker thread would cost more than it."""


@dataclass(frozen=True, slots=True)
class Body:
    """A decoded request: what the engine gets, the terms it adds, and the id it names."""

    payload: Any
    terms: Terms
    id: str | None = None


def content_type_of(content_type: str | None, payload: bytes) -> str:
    """The kind of a payload: as it says, or by its first bytes where it says nothing.

    Raises Refusal for a kind that is not read.
    """
    if content_type:
        kind = content_type.partition(";")[0].strip().lower()
        kind = _ALIASES.get(kind, kind)
        if kind not in CONTENT_TYPES and kind != FRAME:
            raise unsupported(f"content type {quoted(content_type)}; known: {_known()}")
        return kind
    for start, kind in _STARTS.items():
        if payload.startswith(start):
            return kind
    if payload[:4] == b"RIFF" and payload[8:12] == b"WAVE":
        return WAV
    return JSON


def _known() -> str:
    return ", ".join(CONTENT_TYPES)


def needed_bytes(content_type: str, payload: bytes) -> int:
    """What holding and decoding a payload will take. Raises Refusal."""
    if content_type in image.FORMATS:
        return len(payload) + image.decoded_bytes(content_type, payload)
    return len(payload)


def is_quick(content_type: str, payload: bytes) -> bool:
    """Whether decoding is quicker than a hop to a worker thread; an npy file is not copied."""
    return content_type == NPY or (content_type == JSON and len(payload) <= SMALL_BYTES)


def decode(content_type: str, payload: bytes, terms: Terms) -> Body:
    """Decode a request's payload.

    JSON is one object: `{"inputs": [...]}` has tensors of the Open Inference Protocol (one is given
    to the engine as an array, several as a mapping by name), `{"payload": ...}` any JSON value,
    `{"example": true}` asks for the engine's own example. Beside it may stand `id` and
    `parameters` (priority, deadline_ms, stream). NPY files become arrays, images RGB uint8 arrays
    (height, width, 3), WAV mono float32 samples at 16 kHz.

    Raises:
        Refusal: it is malformed, too large or of a kind that is not read. Nothing else.
    """
    if content_type == NPY:
        return Body(decode_npy(payload), terms)
    if content_type in image.FORMATS:
        return Body(image.decode_image(content_type, payload), terms)
    if content_type == WAV:
        return Body(decode_wav(payload), terms)
    return _decode_object(decode_json(payload), terms)


def _decode_object(value: Any, terms: Terms) -> Body:
    if not isinstance(value, dict):
        raise bad_request('the request is no JSON object; send {"inputs": [...]}')
    unknown = sorted(set(value) - {"inputs", "payload", "example", "id", "parameters"})
    if unknown:
        raise bad_request(
            f"{quoted(unknown[0])} is no key of a request; known: inputs, payload, example, id, "
            "parameters"
        )
    if "parameters" in value:
        terms = read_parameters(value["parameters"], terms)
    return Body(_payload_of(value), terms, _id_of(value))


def _payload_of(value: dict[str, Any]) -> Any:
    said = [key for key in ("inputs", "payload", "example") if key in value]
    if len(said) != 1:
        raise bad_request("a request has one of inputs, payload and example")
    if said == ["inputs"]:
        return decode_inputs(value["inputs"])
    if said == ["payload"]:
        return value["payload"]
    if value["example"] is not True:
        raise bad_request('"example" is true, or is not there')
    return EXAMPLE


def _id_of(value: dict[str, Any]) -> str | None:
    if "id" not in value:
        return None
    if not isinstance(value["id"], str):
        raise bad_request('"id" is no text')
    return read_id(value["id"], '"id"')
