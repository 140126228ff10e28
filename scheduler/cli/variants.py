"""A configuration of what was built: one model, whose further forms are its variants."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scheduler.plugin.builder import Built


def model_name(model: Path) -> str:
    """Return the name of a model after its file, of the letters that a name may have."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", model.stem).strip("_-") or "model"


def configuration_text(model: Path, built: Sequence[Built]) -> str:
    """Return the YAML of a configuration of `built`, the first of which is the preferred form.

    Its budget is what the largest form needs; the plans are named beside it.
    """
    first, *others = built
    entry = _form(first)
    if others:
        entry["variant"] = first.name
        entry["variants"] = [{"name": other.name, **_form(other)} for other in others]
    budget = max(_most_mib(form.footprint) for form in built)
    content = {
        "memory": {"budget": f"{budget}MiB"},
        "models": {model_name(model): entry},
    }
    return _HEADING + yaml.safe_dump(content, sort_keys=False, width=_WIDTH)


def _form(built: Built) -> dict[str, object]:
    return {
        "engine": built.engine,
        "options": dict(built.options),
        "footprint": {key: f"{_mib(size)}MiB" for key, size in built.footprint.items() if size},
    }


def _most_mib(footprint: Mapping[str, int]) -> int:
    resident = _mib(footprint["resident"])
    loading = _mib(footprint.get("load_peak", 0))
    return max(loading, resident + _mib(footprint.get("workspace", 0)))


def _mib(size_bytes: int) -> int:
    """Round up: a footprint is a promise."""
    return -(-size_bytes // MIB)


_WIDTH = 1000
MIB = 2**20
_HEADING = """\
# Written by rota build. The footprints are the plans' own figures: weights, the memory that layers
# work in, inputs and outputs. Set the budget to what the machine has for all its models.
"""
