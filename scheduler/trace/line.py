"""One line of a trace: a record or the header as compact JSON, and back without loss.

Fields that have their default value are left out. Encoding happens for every record of a running
robot, so it is left to msgspec, which writes the core's values as they are; decoding is strict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import MsgspecError, to_builtins
from msgspec.json import Decoder, Encoder

from scheduler.core.events import ModelRegistered
from scheduler.errors import RotaError
from scheduler.trace.header import FORMAT, VERSION, Header
from scheduler.trace.record import Record

LARGEST_INT = 2**63 - 1


class TraceError(RotaError):
    """Raised when a trace cannot be read or was not written whole."""


def _plain(value: Any) -> Any:
    """What msgspec does not know: mappings other than dicts, and kinds of whole numbers."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, int):
        return int(value)
    raise NotImplementedError(f"a trace cannot hold {value!r}")


_RECORD = Decoder(Record)
_HEADER = Decoder(Header)
_ENCODER = Encoder(enc_hook=_plain)


def encode_record(record: Record) -> bytes:
    """The record as one line of JSON, with its line end."""
    if isinstance(record.event, ModelRegistered):
        plain = to_builtins(record, enc_hook=_plain)
        plain["event"]["spec"].get("exclusive", []).sort()  # The order of a set is chance.
        return _encode(plain)
    return _encode(record)


def decode_record(line: bytes) -> Record:
    """The record of one line. Raises TraceError with what is wrong, but not where."""
    try:
        return _RECORD.decode(line)
    except (MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TraceError(_mistake(error)) from error


def encode_header(header: Header) -> bytes:
    """The header as one line of JSON, with its line end."""
    names = ("format", "version", "node", "started_at", "started_ns", "settings")
    return _encode({name: getattr(header, name) for name in names})


def decode_header(line: bytes) -> Header:
    """The header of one line. Raises TraceError with what is wrong, but not where."""
    try:
        header = _HEADER.decode(line)
    except (MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TraceError(f"the first line is not a trace's header: {_mistake(error)}") from error
    if header.format != FORMAT:
        raise TraceError(f"the first line says {header.format!r}, a trace says {FORMAT!r}")
    if header.version != VERSION:
        raise TraceError(
            f"format version {header.version}, this Rota reads {VERSION}; "
            "read it with the Rota that wrote it"
        )
    return header


def _encode(thing: Any) -> bytes:
    try:
        return _ENCODER.encode(thing) + b"\n"
    except (UnicodeEncodeError, OverflowError):
        return _ENCODER.encode(_mended(to_builtins(thing, enc_hook=_plain))) + b"\n"


def _mended(value: Any) -> Any:
    """The same of dicts and lists, and all of it writable.

    Errors may hold broken file names, and whole numbers may have more than 64 bits.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_mended(key): _mended(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mended(part) for part in value]
    if type(value) is int:
        return max(-LARGEST_INT, min(value, LARGEST_INT))
    return value


def _mistake(error: Exception) -> str:
    """`decisions[0].type: Invalid value 'Exploded'`."""
    what, _, where = str(error).rpartition(" - at `$.")
    return f"{where.rstrip('`')}: {what}" if what else str(error)
