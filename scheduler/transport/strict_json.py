"""JSON as RFC 8259 has it, in UTF-8, and nothing that only looks like it."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from scheduler.config.units import quoted
from scheduler.transport.refusal import bad_request, too_large

JSON_MAX_BYTES = 4 * 1024 * 1024
"""Reading JSON holds the interpreter's lock: this much stops the event loop for some 80 ms. Larger
tensors go as `application/x-npy`, which costs nothing to read."""


def decode_json(payload: bytes) -> Any:
    """Return what a JSON text says.

    Raises:
        Refusal: it is longer than 4 MiB, not UTF-8, not JSON, has NaN, an infinity, a number too
            large for a float, two equal keys in an object, or half a surrogate pair.
    """
    if len(payload) > JSON_MAX_BYTES:
        raise too_large(
            f"JSON of {len(payload)} bytes, at most {JSON_MAX_BYTES} are read; send "
            "application/x-npy"
        )
    try:
        text = payload.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"JSON: {_first_words(error)}") from None
    fault = _fault(value, has_escapes="\\u" in text)
    if fault is not None:
        raise bad_request(f"JSON: {fault}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {quoted(twice)} stands twice in one object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number; send null, or application/x-npy")


def _first_words(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]


def _fault(value: Any, *, has_escapes: bool) -> str | None:
    """What Python's reader lets through and no writer could send back."""
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            rest.extend(part.values())
            rest.extend(part if has_escapes else ())
        elif isinstance(part, list):
            rest.extend(part)
        elif isinstance(part, float) and not math.isfinite(part):
            return "a number is too large for a float"
        elif has_escapes and isinstance(part, str) and not _is_text(part):
            return "a text has half of a surrogate pair in it"
    return None


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
