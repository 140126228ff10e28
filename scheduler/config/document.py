"""The text of a configuration as plain values, with the line that each was written on.

YAML, with the traps taken out. The differences from what PyYAML's safe loader does:

- `on`, `off`, `yes` and `no` are texts, as in YAML 1.2; only `true` and `false` are booleans.
- A number is a plain decimal number. What one YAML reads as a number and another does not, or reads
  differently (`010`, `0x1F`, `1_000`, `12:30:00`), is refused where it stands without quotes, and
  so are `.inf` and `.nan`. Dates are texts.
- A key is always the text that stands there, and stands only once in its mapping.
- Anchors and aliases work; tags (`!!python/...`) and merge keys (`<<`) are refused. The size of the
  text, the depth, and the number of values after aliases are followed are bounded.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import yaml

from scheduler.config.units import quoted
from scheduler.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

TEXT_MAX_BYTES = 256 * 1024
DEPTH_MAX = 32
VALUES_MAX = 20_000
DIGITS_MAX = 300

KeyPath = tuple[Any, ...]
"""Where a value stands: keys, and positions in lists."""

_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_WORDS |= {
    form(word): _WORDS[word]
    for word in ("null", "true", "false")
    for form in (str.title, str.upper)
}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]*)?(?<=[0-9.])([eE][-+]?[0-9]+)?", re.ASCII)
_NON_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.ASCII | re.IGNORECASE)
_AMBIGUOUS = re.compile(
    r"[-+]?(0[0-9]+(\.[0-9]*)?|0[xob][0-9a-f_]+|[0-9]+(_[0-9]*)+(\.[0-9_]*)?|[0-9]+(:[0-9]{1,2})+(\.[0-9]*)?)",
    re.ASCII | re.IGNORECASE,
)


@dataclass(slots=True)
class Document:
    """The values of one file. `lines` has the line of every path, counted from 1.

    `mistakes` (where, line, what) are of keys, and of single values, which are None in `value`
    then; the rest is as written.
    """

    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    mistakes: list[tuple[KeyPath, int, str]] = field(default_factory=list)

    def line(self, path: KeyPath) -> int:
        """Return the line of `path`, or of the nearest thing around it that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def known_part(self, path: KeyPath) -> KeyPath:
        """Return `path` without the parts that are not in the file."""
        known: KeyPath = ()
        for part in path:
            if (*known, part) in self.lines:
                known = (*known, part)
        return known


class _Composer(yaml.SafeLoader):
    """Builds nodes: no tags, and not too deep (PyYAML composes recursively)."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None):
            raise _refusal(f"the tag {quoted(event.tag)} is refused; remove it", event.start_mark)
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise _refusal(f"is nested more than {DEPTH_MAX} deep; flatten it", event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_document(path: Path) -> Document:
    """Read the file at `path`. Raises ConfigError when it cannot be read as YAML at all."""
    text = _read_text(path)
    try:
        return _document(text)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([f"{path}:{_line(error)}: {_problem(error)}"]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            [f"{path}:{line}: a control character that YAML does not allow"]
        ) from None
    except (ValueError, OverflowError) as error:  # PyYAML's own, from numbers in escapes
        raise ConfigError([f"{path}:1: is not YAML: {error}"]) from None


def _document(text: str) -> Document:
    root = yaml.compose(text, Loader=_Composer)
    if root is None:
        raise _refusal("is empty; a configuration needs at least models", None)
    if not isinstance(root, yaml.MappingNode):
        raise _refusal("is not a mapping of keys to values; begin with models:", root.start_mark)
    builder = _Builder()
    builder.document.value = builder.build(root, ())
    return builder.document


class _Refused(yaml.MarkedYAMLError):
    """Raised for what is YAML, but not taken here."""


def _refusal(problem: str, mark: yaml.Mark | None) -> _Refused:
    return _Refused(problem=problem, problem_mark=mark)


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigError([f"{path}: is a folder; name the configuration file in it"])
        if path.exists() and not path.is_file():
            raise ConfigError([f"{path}: is not a regular file; name one"])
        with path.open("rb") as file:
            data = file.read(TEXT_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError([f"{path}: does not exist; check the path"]) from None
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from None
    if len(data) > TEXT_MAX_BYTES:
        raise ConfigError([f"{path}: is larger than {TEXT_MAX_BYTES // 1024} KiB"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: is not UTF-8 text; save it as UTF-8"]) from None


def _line(error: yaml.MarkedYAMLError) -> int:
    marks = [error.problem_mark, error.context_mark]
    if "<stream end>" in str(error.problem):  # what matters is where the unclosed thing begins
        marks.reverse()
    return next((mark.line + 1 for mark in marks if mark), 1)


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error.context).split())
    if isinstance(error, _Refused):
        return problem
    if "'\\t'" in problem:
        return "a tab cannot indent YAML; use spaces"
    context = f" {' '.join(error.context.split())}:" if error.problem and error.context else ""
    return f"is not YAML:{context} {problem}"


class _Builder:
    """Turns nodes into values, following aliases, noting lines and mistakes."""

    def __init__(self) -> None:
        self.document = Document()

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        """Return the value of `node`, which stands at `path`."""
        if len(path) > DEPTH_MAX or len(self.document.lines) > VALUES_MAX:
            raise _refusal(
                "is too deep or too large once its aliases (*name) are followed; write less",
                node.start_mark,
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, path)
        return self._scalar(cast("yaml.ScalarNode", node), path)

    def _mistake(self, path: KeyPath, node: yaml.Node, text: str) -> None:
        self.document.mistakes.append((path, node.start_mark.line + 1, text))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = (*path, key_node.value)
            if not isinstance(key_node, yaml.ScalarNode):
                self._mistake(path, key_node, "one of its keys is no text; write a word")
            elif key_node.value == "<<":
                self._mistake(place, key_node, "merge keys are refused; use defaults")
            elif key_node.value in values:
                first = self.document.lines[place]
                self._mistake(place, key_node, f"stands in line {first} already; remove one")
            else:
                self.document.lines[place] = key_node.start_mark.line + 1
                values[key_node.value] = None
                values[key_node.value] = self.build(value_node, place)
        return values

    def _sequence(self, node: yaml.SequenceNode, path: KeyPath) -> list[Any]:
        values = []
        for index, item in enumerate(node.value):
            place = (*path, index)
            self.document.lines[place] = item.start_mark.line + 1
            values.append(self.build(item, place))
        return values

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        try:
            return _plain(node.value) if node.style is None else node.value
        except ValueError as error:
            return self._mistake(path, node, str(error))


def _plain(text: str) -> Any:
    """Return what a scalar without quotes stands for. Raises ValueError."""
    if text in _WORDS:
        return _WORDS[text]
    if _AMBIGUOUS.fullmatch(text):
        raise ValueError(
            f"{quoted(text)} is read differently by different programs; write a plain decimal "
            "number, or put a text in quotes"
        )
    if _NON_FINITE.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not a finite number")
    if _INT.fullmatch(text) and len(text) <= DIGITS_MAX:
        return int(text)
    if re.search("[0-9]", text) and _FLOAT.fullmatch(text):
        return _finite(text)
    return text


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{quoted(text)} is too large a number")
    return number
