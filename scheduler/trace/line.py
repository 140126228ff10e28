"""One line of a trace: a record or the header as compact JSON, and back without loss.

Fields that have their default value are left out. Encoding happens for every record of a running
robot, so it is plain loops over precomputed fields; decoding is strict, so it is pydantic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import GenericAlias
from typing import Annotated, Any, Union, get_args

from pydantic import Discriminator, Tag, TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticSerializationError, to_json

from scheduler.core.decisions import Decision, EngineRef
from scheduler.core.events import Event
from scheduler.core.mode import Mode
from scheduler.core.model import ModelSpec
from scheduler.core.outcome import Reason
from scheduler.core.request import Request
from scheduler.errors import RotaError
from scheduler.trace.header import FORMAT, VERSION, Header
from scheduler.trace.record import Record


class TraceError(RotaError):
    """Raised when a trace cannot be read or was not written whole."""


_TAGGED = get_args(Event) + get_args(Decision)
_NESTED = (Request, ModelSpec, Mode, Reason, EngineRef)
_DEFAULTS = {cls: tuple((f.name, f.default) for f in fields(cls)) for cls in _TAGGED + _NESTED}


def _tag(value: Any) -> str:
    return str(value.get("type")) if isinstance(value, Mapping) else type(value).__name__


def _tagged_union(classes: tuple[type, ...]) -> Any:
    members = tuple(Annotated[cls, Tag(cls.__name__)] for cls in classes)
    return Annotated[Union[members], Discriminator(_tag)]


_FIELDS: dict[str, Any] = {
    "seq": int,
    "at_ns": int,
    "event": _tagged_union(get_args(Event)),
    "decisions": GenericAlias(tuple, (_tagged_union(get_args(Decision)), ...)),
    "reserved_bytes": dict[str, int],
}
_RECORD: TypeAdapter[Any] = TypeAdapter(create_model("RecordLine", **_FIELDS))
_HEADER: TypeAdapter[Header] = TypeAdapter(Header)


def encode_record(record: Record) -> bytes:
    """The record as one line of JSON, with its line end."""
    return _encode(
        {
            "seq": record.sequence,
            "at_ns": record.at_ns,
            "event": _typed(record.event),
            "decisions": [_typed(decision) for decision in record.decisions],
            "reserved_bytes": record.reserved_bytes,
        }
    )


def decode_record(line: bytes) -> Record:
    """The record of one line. Raises TraceError with what is wrong, but not where."""
    try:
        parts = _RECORD.validate_json(line, strict=True)
    except ValidationError as error:
        raise TraceError(_first_mistake(error)) from error
    return Record(parts.seq, parts.at_ns, parts.event, parts.decisions, parts.reserved_bytes)


def encode_header(header: Header) -> bytes:
    """The header as one line of JSON, with its line end."""
    names = ("format", "version", "node", "started_at", "started_ns", "settings")
    return _encode({name: getattr(header, name) for name in names})


def decode_header(line: bytes) -> Header:
    """The header of one line. Raises TraceError with what is wrong, but not where."""
    try:
        header = _HEADER.validate_json(line, strict=True)
    except ValidationError as error:
        raise TraceError(
            f"the first line is not a trace's header: {_first_mistake(error)}"
        ) from error
    if header.format != FORMAT:
        raise TraceError(f"the first line says {header.format!r}, a trace says {FORMAT!r}")
    if header.version != VERSION:
        raise TraceError(
            f"format version {header.version}, this Rota reads {VERSION}; "
            "read it with the Rota that wrote it"
        )
    return header


def _typed(thing: object) -> dict[str, Any]:
    plain = {"type": type(thing).__name__}
    _add_fields(plain, thing)
    return plain


def _add_fields(plain: dict[str, Any], thing: object) -> None:
    for name, default in _DEFAULTS[type(thing)]:
        value = getattr(thing, name)
        if value != default:
            plain[name] = _plain(value)


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in _DEFAULTS:
        plain: dict[str, Any] = {}
        _add_fields(plain, value)
        return plain
    if kind is frozenset:
        return sorted(value)
    return value


def _encode(plain: dict[str, Any]) -> bytes:
    try:
        return to_json(plain) + b"\n"
    except (PydanticSerializationError, UnicodeEncodeError):
        return to_json(_mended(plain)) + b"\n"


def _mended(value: Any) -> Any:
    """The same of dicts and lists, and every text writable: errors may hold broken file names."""
    if type(value) is str:
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_mended(key): _mended(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mended(part) for part in value]
    if is_dataclass(value):
        return {f.name: _mended(getattr(value, f.name)) for f in fields(value)}
    return value


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
