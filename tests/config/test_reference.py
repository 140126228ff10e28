"""configs/reference.yaml has every key, and no other; both configurations are valid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml

from scheduler.config import Config, load_config
from scheduler.config.check import check
from scheduler.config.mistake import keys_of, sections

CONFIGS = Path(__file__).parents[2] / "configs"
REFERENCE = CONFIGS / "reference.yaml"
IN_COMMENTS = {
    "memory.pools",
    "mqtt.tls",
    "mqtt.tls.ca",
    "mqtt.tls.cert",
    "mqtt.tls.key",
    "mqtt.password_file",
}
"""What cannot stand beside the rest: it excludes some of it, or names files that must exist."""


def known_keys(annotation: Any, path: str = "") -> set[str]:
    """Every key that the pydantic models know, with `*` for names that a user chooses."""
    if get_origin(annotation) is dict:
        return {
            key
            for inner in sections(get_args(annotation)[1])
            for key in known_keys(inner, f"{path}.*")
        }
    if get_origin(annotation) is list:
        inner = next(iter(sections(get_args(annotation)[0])))
        return known_keys(inner, f"{path}.[]")
    found = set()
    for key, inner in keys_of(annotation).items():
        place = f"{path}.{key}".lstrip(".")
        found.add(place)
        for part in sections(inner):
            found |= known_keys(part, place)
    return found


def written_keys(value: Any, path: str = "") -> set[str]:
    found = {path.lstrip(".")} if path else set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= written_keys(inner, f"{path}.{key}")
    if isinstance(value, list) and isinstance(value[0], dict):
        found |= {key for inner in value for key in written_keys(inner, f"{path}.[]")}
    return found


def starred(path: str) -> str:
    """Put `*` in place of the names that a user chooses."""
    path = re.sub(r"^(models|sources|sinks|resources|modes)\.[^.]+", r"\1.*", path)
    path = re.sub(r"^(modes\.\*\.priority)\.[^.]+$", r"\1.*", path)
    return re.sub(r"\.uses\.[^.]+$", ".uses.*", path)


def test_every_key_stands_in_the_reference_and_no_other():
    written = {starred(path) for path in written_keys(yaml.safe_load(REFERENCE.read_text()))}
    written = {p for p in written if not p.endswith((".*", ".[]")) and ".options." not in p}
    known = {p for p in known_keys(Config) if ".pools." not in p}
    # A footprint by pool, that of a variant and the keys of defaults are those of one footprint and
    # of a model.
    same = re.compile(r"^defaults\.|\.footprint\.\*|\.\[\]\.footprint\.")
    known = {p for p in known if not same.search(p)}
    written = {p for p in written if not same.search(p)}
    assert known - IN_COMMENTS == written


def test_the_walk_sees_deep_keys():
    assert {"models.*.footprint.per_item", "sources.*.lease.ttl", "sources.*.from"} <= known_keys(
        Config
    )
    assert "models.*.name" not in known_keys(Config)


def test_the_pools_in_its_comment_are_valid(load):
    found = re.search(r"# +(pools: .*)", REFERENCE.read_text())
    assert found
    config = load(
        f'memory: {{{found[1]}}}\nmodels: {{a: {{engine: "echo_engine:Echo", footprint: 1MiB}}}}'
    )
    assert config.models["a"].device == "host"


def test_every_key_of_the_reference_is_explained_in_up_to_three_lines():
    lines = REFERENCE.read_text().splitlines()
    explained, comment = set(), 0
    for line in lines[8:]:
        key = re.match(r" *(?:- )?([a-z_]+):", line)
        if line.lstrip().startswith("#"):
            comment += 1
            continue
        if key and comment:
            assert comment <= 3, line
            explained.add(key[1])
        comment = 0
    leaves = {p.split(".")[-1] for p in known_keys(Config)} - {"*", "pools"}
    containers = {"scheduling", "models", "queue", "batch", "inbox", "cycle"}
    commented = {p.split(".")[-1] for p in IN_COMMENTS}
    assert leaves - commented - explained - containers == set()


@pytest.mark.parametrize("name", ["minimal.yaml", "reference.yaml"])
def test_the_configuration_is_valid_and_can_work(name):
    config = load_config(CONFIGS / name)
    assert [f.text for f in check(config, {"unified": 4 * 1024**3}) if f.fatal] == []
