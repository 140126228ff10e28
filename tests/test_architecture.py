"""Rules about the source itself: who may import whom, what the core may touch, how long things get.

Each rule is a function over the syntax trees of the files, tried on a wrong line as well.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import get_args

import pytest
import typer

import scheduler
from scheduler.cli.app import app
from scheduler.core.decisions import Decision
from scheduler.core.events import Event
from scheduler.core.outcome import ReasonCode
from scheduler.core.timers import TimerKind

ROOT = Path(__file__).parent.parent
SCHEDULER = ROOT / "scheduler"
PLUGINS = ROOT / "plugins"
CORE = sorted((SCHEDULER / "core").glob("*.py"))
FILES = sorted(SCHEDULER.rglob("*.py"))
PLUGIN_FILES = sorted(PLUGINS.rglob("*.py"))

FILE_MOST_LINES = 350
FUNCTION_MOST_LINES = 45
NAMES_FOR_ANYTHING = {"utils", "util", "helpers", "helper", "base", "common", "types", "misc"}

LADDER: Mapping[str, set[str]] = {
    "core": set(),
    "errors": {"core"},
    "plugin": {"core", "errors"},
    "config": {"core", "errors", "plugin"},
    # An engine plugin like any other, kept here because every installation has it.
    "plugin.synthetic": {"errors", "plugin", "config"},
    # A protocol of three methods; who needs the time imports this, not the runtime.
    "runtime.clock": set(),
    "trace": {"core", "errors"},
    "memory": {"core", "runtime.clock"},
    "runtime": {"core", "errors", "plugin", "config", "runtime.clock", "trace", "memory"},
    "source": {"core", "errors", "plugin", "config", "runtime.clock"},
    "sink": {"core", "errors", "config", "source"},
    "report": {"core", "trace"},
    "timeline": {"core", "trace", "report"},
    "sim": {"core", "plugin", "config", "plugin.synthetic", "trace", "source", "report", "runtime"},
    "explain": {"core", "errors", "trace"},
    "plan": {
        *("core", "config", "plugin", "plugin.synthetic", "trace", "source", "report", "sim"),
    },
    "testing": {"plugin", "errors"},
    "transport": {
        *("core", "errors", "plugin", "config", "runtime.clock", "trace", "memory"),
        *("runtime", "source", "sink", "report", "timeline"),
    },
    # Knows of the runtime only how outcomes become errors, and how seconds are read.
    "client": {"core", "errors", "plugin", "config", "runtime.clock", "runtime", "transport"},
    "profile": {"core", "errors", "plugin", "config", "trace", "memory", "runtime", "source"},
    "doctor": {"core", "plugin", "memory", "profile"},
    "": {"core", "errors", "plugin", "config", "runtime"},
    "cli": {
        *("core", "errors", "plugin", "config", "runtime.clock", "trace", "memory", "runtime"),
        *("source", "sink", "report", "timeline", "sim", "explain", "plan", "testing"),
        *("transport", "client", "profile", "doctor"),
    },
    "__main__": {"cli"},
}
"""What each part of `scheduler` may import, itself apart; "" is `scheduler/__init__.py`."""
FOR_TYPES_ONLY = {("errors", "core"), ("plugin", "core"), ("sim", "runtime")}
"""Steps of the ladder that only annotations may take."""

OPEN_TO_PLUGINS = {
    "scheduler.plugin",
    "scheduler.config.resource",
    "scheduler.config.units",
    "scheduler.errors",
    "scheduler.memory.trim",
    "scheduler.testing",
    "rota_onnxruntime",
}

PURE = {
    *("__future__", "bisect", "collections", "dataclasses", "enum", "functools", "graphlib"),
    *("heapq", "itertools", "math", "msgspec", "operator", "typing"),
}
"""What the core may import beside itself: nothing that knows the time, the machine or chance."""
NOT_IN_CORE = {"open", "input", "print", "eval", "exec", "id", "hash", "globals", "__import__"}
"""Built-ins that do I/O, or whose answers differ from one process to the next."""


@dataclass(frozen=True)
class Import:
    """One imported name. `for_types` when it stands under TYPE_CHECKING."""

    line: int
    name: str
    for_types: bool


def imports(tree: ast.AST, *, for_types: bool = False) -> Iterator[Import]:
    """Every import of a file, those inside functions included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from imports(ast.Module(node.body, []), for_types=True)
            yield from imports(ast.Module(node.orelse, []), for_types=for_types)
        elif isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                yield Import(node.lineno, f"{module}.{alias.name}", for_types)
        else:
            yield from imports(node, for_types=for_types)


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def where(path: Path) -> str:
    """A path as a person knows it."""
    return path.relative_to(ROOT).as_posix()


def part_of(module: str) -> str:
    """The rung of the ladder that a module of `scheduler` stands on."""
    inside = module.split(".")[1:]
    two = ".".join(inside[:2])
    if two in LADDER:
        return two
    return inside[0] if inside and inside[0] in LADDER else ""


def module_of(path: Path) -> str:
    """`scheduler/core/queue.py` is `scheduler.core.queue`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def missteps(module: str, tree: ast.AST) -> Iterator[str]:
    """Imports of a module of `scheduler` that the ladder does not have."""
    mine = part_of(module)
    for found in imports(tree):
        if found.name.startswith("."):
            yield f"line {found.line}: {found.name} is relative; name it in full"
        if found.name.split(".")[0] != "scheduler":
            continue
        theirs = part_of(found.name)
        typed = (mine, theirs) not in FOR_TYPES_ONLY or found.for_types
        if theirs != mine and (theirs not in LADDER[mine] or not typed):
            yield f"line {found.line}: {mine or 'scheduler'} may not import {found.name}"


def outside(package: str, tree: ast.AST) -> Iterator[str]:
    """Imports of a plugin that a third party's could not have."""
    for found in imports(tree):
        top = found.name.split(".")[0]
        ours = top == "scheduler" or top.startswith("rota_")
        if ours and top != package and not is_open(found.name):
            yield f"line {found.line}: {found.name} is not open to plugins"


def is_open(name: str) -> bool:
    """Whether a plugin may import this: an open module, or what `scheduler` itself exports."""
    if any(name == part or name.startswith(f"{part}.") for part in OPEN_TO_PLUGINS):
        return True
    return name.removeprefix("scheduler.") in scheduler.__all__


def impurities(tree: ast.AST) -> Iterator[str]:
    """What would make the core depend on more than its arguments."""
    for found in imports(tree):
        top = found.name.split(".")[0]
        if top not in PURE and not found.name.startswith("scheduler.core."):
            yield f"line {found.line}: imports {found.name}"
    for node in ast.walk(tree):
        if isinstance(node, (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)):
            yield f"line {node.lineno}: is asynchronous"
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Name) and called.id in NOT_IN_CORE:
            yield f"line {called.lineno}: calls {called.id}"


def kept_fractions(tree: ast.AST) -> Iterator[str]:
    """True divisions whose result is more than text: a time or a size must stay a whole number.

    A quotient may stand in an f-string, or have a local name that is only compared and printed.
    """
    for function in [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]:
        shown = {
            id(inner)
            for node in ast.walk(function)
            if isinstance(node, (ast.JoinedStr, ast.Compare))
            for inner in ast.walk(node)
        }
        names: dict[str, int] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and _divides(node.value):
                targets = [t for target in node.targets for t in ast.walk(target)]
                names |= {t.id: node.lineno for t in targets if isinstance(t, ast.Name)}
                shown |= {id(inner) for inner in ast.walk(node.value)}
                attributes = [t for t in targets if isinstance(t, ast.Attribute)]
                yield from (f"line {t.lineno}: keeps a fraction" for t in attributes)
            if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div):
                names[ast.unparse(node.target)] = node.lineno
        for node in ast.walk(function):
            if id(node) in shown:
                continue
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                yield f"line {node.lineno}: a fraction that is not text"
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
                yield f"line {node.lineno}: {node.id} is a fraction (line {names[node.id]})"


def _divides(tree: ast.AST) -> bool:
    """Whether a value comes from a division; text that shows one is no number."""
    if isinstance(tree, ast.JoinedStr):
        return False
    here = isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Div)
    return here or any(_divides(part) for part in ast.iter_child_nodes(tree))


def run_time_imports(files: list[Path]) -> dict[str, set[str]]:
    """Which modules of `files` each of them imports when it is imported or runs."""
    modules = {module_of(path): path for path in files}
    graph = {}
    for module, path in modules.items():
        named = {found.name for found in imports(parsed(path)) if not found.for_types}
        named |= {name.rsplit(".", 1)[0] for name in named if name not in modules}
        graph[module] = (named & set(modules)) - {module}
    return graph


# -- who may import whom ----------------------------------------------------------------------


def test_the_ladder_leads_upwards_only() -> None:
    below: set[str] = set()
    for part, allowed in LADDER.items():
        assert allowed <= below, f"{part} would import {allowed - below} from above"
        below.add(part)


def test_every_folder_stands_on_the_ladder() -> None:
    folders = {path.parent.name for path in SCHEDULER.glob("*/__init__.py")}
    files = {path.stem for path in SCHEDULER.glob("*.py")} - {"__init__"}
    assert folders | files <= set(LADDER)


@pytest.mark.parametrize("path", FILES, ids=where)
def test_imports_go_down_the_ladder(path: Path) -> None:
    assert list(missteps(module_of(path), parsed(path))) == []


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=where)
def test_a_plugin_imports_what_a_third_party_may(path: Path) -> None:
    package = path.relative_to(PLUGINS).parts[0]
    assert list(outside(package, parsed(path))) == []


def test_nothing_imports_itself_round_about() -> None:
    try:
        tuple(TopologicalSorter(run_time_imports(FILES)).static_order())
    except CycleError as error:
        pytest.fail(f"import cycle: {' <- '.join(error.args[1])}")


# -- the core ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CORE, ids=where)
def test_the_core_depends_on_its_arguments_alone(path: Path) -> None:
    assert list(impurities(parsed(path))) == []


@pytest.mark.parametrize("path", CORE, ids=where)
def test_the_core_keeps_no_fractions(path: Path) -> None:
    assert list(kept_fractions(parsed(path))) == []


# -- shape ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=where)
def test_files_and_functions_are_short_and_silent(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < FILE_MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno:
            lines = node.end_lineno - node.lineno + 1
            assert lines < FUNCTION_MOST_LINES, f"{node.name} has {lines} lines"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"line {node.lineno} prints"


def test_modules_are_named_for_what_is_in_them() -> None:
    named = [where(path) for path in (*FILES, *PLUGIN_FILES) if path.stem in NAMES_FOR_ANYTHING]
    assert named == []


# -- what is written down ---------------------------------------------------------------------


def table_rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables by their first cell, which stands in backquotes."""
    rows = re.findall(r"^\| `(\w+)` \|(.+)\|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in rows}


def test_every_reason_is_explained_with_what_to_do() -> None:
    rows = table_rows((SCHEDULER / "DESIGN.md").read_text(encoding="utf-8"))
    for code in ReasonCode:
        assert code.value in rows, f"{code.value} has no row in scheduler/DESIGN.md"
        meaning, remedy = rows[code.value]
        assert meaning.endswith("."), code.value
        assert remedy.endswith("."), code.value


def test_every_event_decision_and_timer_is_in_the_design() -> None:
    text = (SCHEDULER / "DESIGN.md").read_text(encoding="utf-8")
    names = [kind.__name__ for kind in (*get_args(Event), *get_args(Decision))]
    missing = [name for name in names if f"`{name}`" not in text]
    missing += [kind.value for kind in TimerKind if kind.value not in table_rows(text)]
    assert missing == []


def test_every_scenario_that_the_design_names_is_there() -> None:
    text = (SCHEDULER / "DESIGN.md").read_text(encoding="utf-8")
    named = re.findall(r"(?<!`)\[([a-z_]+(?:, [a-z_]+)*)\](?!`)", text.split("## States")[1])
    scenarios = {path.stem for path in (ROOT / "tests" / "scenarios").glob("*.txt")}
    assert named
    assert {name for group in named for name in group.split(", ")} <= scenarios


def test_every_command_and_option_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    group = typer.main.get_command(app)
    missing = []
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
        options = [opt for param in command.params for opt in param.opts if opt.startswith("--")]
        words = [f"rota {name}", *options]
        missing += [word for word in words if not re.search(rf"{re.escape(word)}\b", readme)]
    assert missing == []


# -- the rules find what they are for ---------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("scheduler.core.queue", "from scheduler.errors import RotaError"),
        ("scheduler.core.queue", "import scheduler.config"),
        ("scheduler.errors", "from scheduler.core.outcome import Reason"),
        ("scheduler.runtime.pump", "def f():\n    from scheduler.cli.app import app"),
        ("scheduler.memory.sampler", "from scheduler.runtime.pump import Pump"),
        ("scheduler.config.model", "from scheduler.plugin.synthetic import SyntheticEngine"),
        ("scheduler.trace.line", "from . import reader"),
    ],
)
def test_a_misstep_is_found(module: str, line: str) -> None:
    assert list(missteps(module, ast.parse(line)))


@pytest.mark.parametrize(
    ("line", "open_"),
    [
        ("from scheduler import EngineError", True),
        ("from scheduler.plugin.engine import EnginePlugin", True),
        ("from scheduler.config.units import Size", True),
        ("from rota_onnxruntime.session import OnnxSession", True),
        ("from scheduler import runtime", False),
        ("from scheduler.runtime.runtime import Runtime", False),
        ("from scheduler.config import load_config", False),
        ("import rota_vision.ocr", False),
    ],
)
def test_what_is_open_to_plugins(line: str, open_: bool) -> None:  # noqa: FBT001 - a table
    assert (not list(outside("rota_audio", ast.parse(line)))) is open_


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "from os import path",
        "import numpy",
        "import threading",
        "open('x')",
        "from anyio import sleep",
        "async def f():\n    pass",
    ],
)
def test_an_impurity_is_found(line: str) -> None:
    assert list(impurities(ast.parse(line)))


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("return f'{ns / 1e6:.1f} ms'", False),
        ("ms = ns / 1e6\n    return f'{ms:.1f} ms'", False),
        ("return ns / 2", True),
        ("half = ns / 2\n    return half", True),
        ("self.due_ns = ns / 2", True),
        ("ns /= 2\n    return ns", True),
        ("wait(ns / 2)", True),
    ],
)
def test_a_kept_fraction_is_found(body: str, kept: bool) -> None:  # noqa: FBT001 - a table
    assert bool(list(kept_fractions(ast.parse(f"def f(self, ns):\n    {body}")))) is kept
