"""All that is wrong with a configuration: one line for each mistake, in the order of the file."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from scheduler.config.section import FROM_KEY
from scheduler.config.units import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from scheduler.config.document import Document, KeyPath

LATER = {"http", "host", "when"}
"""Keys of the design that this version has not got."""

_PLAIN_KEY = re.compile(r"[\w:-]+", re.ASCII)

_SAID = {
    "bool_type": "is not true or false; write one of them",
    "bool_parsing": "is not true or false; write one of them",
    "int_type": "is not a whole number; write one, without quotes",
    "int_parsing": "is not a whole number; write one, without quotes",
    "int_from_float": "is not a whole number; write one, without quotes",
    "float_type": "is not a number; write one, without quotes",
    "float_parsing": "is not a number; write one, without quotes",
    "string_type": "is not a text; write it in quotes",
    "dict_type": "is not a mapping; write {{key: value}}",
    "model_type": "is not a mapping; write {{key: value}}",
    "model_attributes_type": "is not a mapping; write {{key: value}}",
    "enum": "is not known; write {expected}",
    "literal_error": "is not known; write {expected}",
    "greater_than_equal": "is too small; write at least {ge}",
    "less_than_equal": "is too large; write at most {le}",
    "too_short": "is empty; write something in it, or remove the key",
}
_LIST_TYPES = {"list_type", "tuple_type", "set_type", "frozen_set_type"}

_CONTAINERS = {dict, list, tuple, frozenset}


class Mistakes:
    """The mistakes found so far in one file."""

    def __init__(self, path: Path, document: Document) -> None:
        self._path = path
        self._document = document
        self._found = [(line, key_path, text) for key_path, line, text in document.mistakes]
        self._unreadable = {key_path for key_path, _, _ in document.mistakes}

    def add(self, path: KeyPath, text: str) -> None:
        """Note a mistake at `path`; the same one twice is one."""
        found = (self._document.line(path), path, " ".join(text.split()))
        if found not in self._found:
            self._found.append(found)

    def add_details(
        self, details: Iterable[ErrorDetails], root: type[BaseModel], prefix: KeyPath = ()
    ) -> None:
        """Note all that pydantic found wrong with what stands at `prefix`, a `root`."""
        for detail in details:
            self._add_error(detail, root, prefix)

    def _add_error(self, detail: ErrorDetails, root: type[BaseModel], prefix: KeyPath) -> None:
        path = self._document.known_part((*prefix, *detail["loc"]))
        if detail["input"] is None and path in self._unreadable:
            return
        if detail["type"] == "missing":
            self.add((*path, detail["loc"][-1]), "is missing; write it")
        elif detail["type"] == "extra_forbidden":
            self.add(path, _unknown_key(str(path[-1]), keys_at(root, detail["loc"][:-1])))
        else:
            self.add(path, _wrong_value(detail))

    def at(self, path: KeyPath) -> bool:
        """Whether what stands at `path` is wrong itself."""
        return any(found == path for _, found, _ in self._found)

    def lines(self) -> list[str]:
        """Return one line for each mistake: `FILE:LINE: key.path: what is wrong; the remedy`."""
        ordered = sorted(self._found, key=lambda found: found[0])
        return [f"{self._path}:{line}: {_dotted(path)}{text}" for line, path, text in ordered]


def nearest(word: str, known: list[str]) -> str:
    """Say which of `known` is most like `word`, or list them all."""
    close = get_close_matches(word, known, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(known)}" if known else "there are none"


def keys_at(root: type[BaseModel], path: KeyPath) -> list[str]:
    """Return the keys that may stand at `path` below a `root`."""
    found: list[Any] = [root]
    for part in path:
        found = [inner for annotation in found for inner in _inside(annotation, part)] or found
    return [key for annotation in found for key in keys_of(annotation)]


def keys_of(annotation: Any) -> dict[str, Any]:
    """Return the keys of a section, as written, with their annotations; of others, none."""
    if get_origin(annotation) or not isinstance(annotation, type):
        return {}
    if not issubclass(annotation, BaseModel):
        return {}
    return {
        field.alias or name: field.annotation
        for name, field in annotation.model_fields.items()
        if FROM_KEY not in field.metadata
    }


def sections(annotation: Any) -> Iterator[Any]:
    """Take unions and annotations apart."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        yield from sections(arguments[0])
    elif isinstance(annotation, type) or get_origin(annotation) in _CONTAINERS:
        yield annotation
    else:
        for argument in arguments:
            yield from sections(argument)


def _inside(annotation: Any, part: Any) -> Iterator[Any]:
    if get_origin(annotation) in _CONTAINERS:
        yield from sections(get_args(annotation)[-1])
    elif part in keys_of(annotation):
        yield from sections(keys_of(annotation)[part])


def _unknown_key(key: str, known: list[str]) -> str:
    if key in LATER:
        return "is not in this version of Rota; remove it"
    return f"is no key here; {nearest(key, known)}"


def _wrong_value(detail: ErrorDetails) -> str:
    kind, value = detail["type"], detail["input"]
    if value is None:
        return "has no value; write one, or remove the key"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind in _LIST_TYPES:
        return f"{quoted(value)} is not a list; write [{value}]"
    if kind in _SAID:
        return f"{quoted(value)} {_SAID[kind].format_map(detail.get('ctx', {}))}"
    return f"{quoted(value)}: {detail['msg']}"


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if _PLAIN_KEY.fullmatch(part) else f".{quoted(part)}"
    return f"{text[1:]}: " if text else ""
