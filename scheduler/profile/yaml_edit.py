"""Writing footprints into a configuration, whose comments and layout stay as they are."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from scheduler.errors import ConfigError

if TYPE_CHECKING:
    from scheduler.core.model import PoolFootprint
    from scheduler.profile.measurement import Measurement

MIB = 1024 * 1024
WIDTH = 2**20
"""Lines are never broken: they stay as long as they are."""


def with_footprints(text: str, measured: Iterable[Measurement]) -> str:
    """Return the configuration `text` with the footprint of each measured form, in its pool.

    Only the lines that say something else change. Raises ConfigError where the text is laid out
    such that its other lines could not stay as they are.
    """
    document = _yaml().load(text)
    as_it_is = _dumped(document)
    for one in measured:
        _write(_form(document["models"][one.model], one.variant), one.pool, one.footprint())
    return _transferred(text, as_it_is, _dumped(document))


def footprint_diff(path: str, before: str, after: str) -> str:
    """Return the change as a unified diff; empty where there is none."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), path, path, n=1
    )
    return "".join(lines)


def _form(model: CommentedMap, variant: str) -> CommentedMap:
    """What describes a variant: one of `variants`, or the model itself."""
    others = [other for other in model.get("variants", []) if other["name"] == variant]
    return next(iter(others), model)


def _write(model: CommentedMap, pool: str, footprint: PoolFootprint) -> None:
    written = model.get("footprint")
    if isinstance(written, CommentedMap) and pool in written:
        written[pool] = _updated(written[pool], footprint)
    else:
        model["footprint"] = _updated(written, footprint)


def _updated(written: Any, footprint: PoolFootprint) -> CommentedMap:
    """The same mapping with other figures; where one is shared by an anchor, one of its own."""
    figures = {
        "resident": footprint.resident_bytes,
        "load_peak": footprint.load_peak_bytes,
        "workspace": footprint.workspace_bytes,
        "per_item": footprint.per_item_bytes,
    }
    mapping = written if isinstance(written, CommentedMap) and not written.anchor.value else None
    if mapping is None:
        mapping = CommentedMap()
        mapping.fa.set_flow_style()
    for key, size_bytes in figures.items():
        if size_bytes or key in mapping:
            mapping[key] = f"{size_bytes // MIB}MiB" if size_bytes else "0B"
    return mapping


def _transferred(text: str, as_it_is: str, changed: str) -> str:
    """The change between two texts, made to the text that the first of them was read from."""
    if text == as_it_is:
        return changed
    lines, old, new = (part.splitlines(keepends=True) for part in (text, as_it_is, changed))
    places = _places(lines, old)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, a1, a2, b1, b2 in reversed(matcher.get_opcodes()):
        if kind != "equal" and a1 - 1 in places and all(line in places for line in range(a1, a2)):
            start = places[a1 - 1] + 1
            was, becomes = lines[start : start + a2 - a1], new[b1:b2]
            lines[start : start + a2 - a1] = [
                _indented_as(was[min(n, len(was) - 1)], line) if was else line
                for n, line in enumerate(becomes)
            ]
    result = "".join(lines)
    if _values(result) != _values(changed):
        raise ConfigError(["its layout cannot be kept; write the figures in by hand"])
    return result


def _places(lines: list[str], old: list[str]) -> dict[int, int]:
    """Where each line of `old` stands in `lines`; -1 stands before both."""
    if len(lines) == len(old):
        return {number: number for number in range(-1, len(old))}
    words, old_words = ([tuple(line.split()) for line in text] for text in (lines, old))
    blocks = difflib.SequenceMatcher(None, words, old_words, autojunk=False).get_matching_blocks()
    return {-1: -1} | {b.b + n: b.a + n for b in blocks for n in range(b.size)}


def _indented_as(original: str, line: str) -> str:
    indent = original[: len(original) - len(original.lstrip())]
    return indent + line.lstrip()


def _values(text: str) -> Any:
    """What a text says, however it is laid out; None when it is no YAML any more."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return None


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDTH
    return yaml


def _dumped(document: Any) -> str:
    out = io.StringIO()
    _yaml().dump(document, out)
    return out.getvalue()
