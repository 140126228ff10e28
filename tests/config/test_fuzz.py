"""Whatever stands in the file: a configuration or a ConfigError, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.config import load_config
from scheduler.errors import ConfigError

REFERENCE = (
    (Path(__file__).parents[2] / "configs" / "reference.yaml")
    .read_text(encoding="utf-8")
    .replace("engine: synthetic", "engine: 'echo_engine:Echo'")
    .replace("infer: 20ms, per_item: 2ms, ", "")
    .replace("infer: 40ms, per_item: 10ms, ", "")
    .replace("infer: 25ms, ", "")
    .replace("lidar:../plugins/rota_slam/data/malaga_loop.npz", "images:.")
)
few = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def outcome(path: Path, data: bytes) -> list[str]:
    """Load `data` and return the mistakes, each of which is one line that names the file."""
    path.write_bytes(data)
    try:
        load_config(path)
    except ConfigError as error:
        return checked(error.mistakes, path)
    return []


def checked(mistakes: list[str], path: Path) -> list[str]:
    assert mistakes
    assert all(line.startswith(f"{path}:") for line in mistakes)
    assert all(len(line.splitlines()) == 1 for line in mistakes)
    return mistakes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fuzz.yaml"


def test_the_reference_without_its_engine_is_valid(path):
    assert outcome(path, REFERENCE.encode()) == []


@few
@given(data=st.binary(max_size=300))
def test_any_bytes(path, data):
    outcome(path, data)


@few
@given(text=st.text(max_size=300))
def test_any_text(path, text):
    outcome(path, text.encode("utf-8", "surrogatepass"))


yaml_bits = st.sampled_from(
    [*"{}[]:,-?&*!|>%@`#'\"\n ~", ": ", "- ", "<<", "*a", "&a ", "!!int ", "---\n", "...", "models",
     "faces", "memory", "pools", "footprint", "engine", "options", "defaults", "sources", "from",
     "null", "true", ".nan", "1e999", "0x1", "5", "3MiB", "30Hz", "\t", "\u2028", "\x85"]
)  # fmt: skip


@few
@given(text=st.lists(yaml_bits, max_size=40).map("".join))
def test_any_heap_of_yaml(path, text):
    outcome(path, text.encode())


@few
@given(
    place=st.integers(0, len(REFERENCE)),
    length=st.integers(0, 30),
    put=st.one_of(st.text(max_size=8), yaml_bits),
)
def test_the_reference_with_a_piece_replaced(path, place, length, put):
    text = REFERENCE[:place] + put + REFERENCE[place + length :]
    outcome(path, text.encode("utf-8", "surrogatepass"))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


PLACES = [place for place in places(yaml.safe_load(REFERENCE)) if place]


@few
@given(place=st.sampled_from(PLACES), value=anything, rename=st.none() | st.text(max_size=10))
def test_the_reference_with_a_value_replaced(path, place, value, rename):
    tree = yaml.safe_load(REFERENCE)
    holder = tree
    for key in place[:-1]:
        holder = holder[key]
    if rename is not None and isinstance(holder, dict):
        holder[rename] = holder.pop(place[-1])
    else:
        holder[place[-1]] = value
    outcome(path, yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))
