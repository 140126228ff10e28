"""Footprints into a file: what is not a footprint stays, to the byte."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import ConfigError
from scheduler.profile.measurement import Life, measurement
from scheduler.profile.step import Step
from scheduler.profile.yaml_edit import footprint_diff, with_footprints

MIB = 1024**2


def measured(model, pool="unified", variant=""):
    """11 MiB resident, 22 in all while loading, 33 on top while running."""
    paid_once = Step(act="unload")
    load = Step(act="load", held_bytes=11 * MIB, peak_bytes=22 * MIB)
    run = Step(act="run", held_bytes=11 * MIB, peak_bytes=44 * MIB)
    return [measurement(model, pool, [Life((paid_once,), (load, run))], variant)]


CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
TEXT = """# My robot.
models:

  faces:   # Who is there?
    engine:   onnxruntime
    footprint: %s   # by guess
    options: {model: "a.onnx"}

  other: {engine: synthetic, footprint: 5MiB}
"""


def changed_lines(before, after):
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    return [new.strip() for old, new in pairs if old != new]


@pytest.mark.parametrize(
    "written", ["40MiB", "{resident: 40MiB}", "{workspace: 1MiB, resident: '40MiB'}", '"40MiB"']
)
def test_only_the_footprint_changes_and_its_comment_stays(written):
    after = with_footprints(TEXT % written, measured("faces", "unified"))
    (line,) = changed_lines(TEXT % written, after)
    assert line.endswith("# by guess")
    figures = yaml.safe_load(after)["models"]["faces"]["footprint"]
    assert figures == {"resident": "11MiB", "load_peak": "22MiB", "workspace": "33MiB"}


def test_a_figure_that_is_none_any_more_is_0_and_not_left_as_it_was():
    text = TEXT % "{resident: 40MiB, per_item: 9MiB}"
    after = with_footprints(text, measured("faces", "unified"))
    assert yaml.safe_load(after)["models"]["faces"]["footprint"]["per_item"] == "0B"


def test_of_several_pools_only_the_measured_one_changes():
    text = TEXT % '{host: 600MiB, "cuda:0": {resident: 2GiB, per_item: 60MiB}}'
    after = with_footprints(text, measured("faces", "cuda:0"))
    figures = yaml.safe_load(after)["models"]["faces"]["footprint"]
    assert figures["host"] == "600MiB"
    assert figures["cuda:0"]["resident"] == "11MiB"
    assert len(changed_lines(text, after)) == 1


def test_a_block_stays_a_block():
    text = "models:\n  a:\n    footprint:\n      resident: 1MiB   # x\n      workspace: 2MiB\n"
    after = with_footprints(text, measured("a", "unified"))
    assert "      resident: 11MiB  # x\n" in after.replace("MiB   #", "MiB  #")
    assert after.splitlines()[4:] == ["      workspace: 33MiB", "      load_peak: 22MiB"]


def test_a_footprint_that_others_share_by_an_anchor_is_not_changed_for_them():
    text = "models:\n  a: {footprint: &f {resident: 1MiB}}\n  b: {footprint: *f}\n"
    after = yaml.safe_load(with_footprints(text, measured("b", "unified")))
    assert after["models"]["a"]["footprint"] == {"resident": "1MiB"}
    assert after["models"]["b"]["footprint"]["resident"] == "11MiB"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_here_keeps_its_other_lines(path):
    text = path.read_text()
    models = yaml.safe_load(text)["models"]
    plain = [n for n, m in models.items() if "resident" in (m["footprint"] or "")] or list(models)
    for name in plain[:1]:
        after = with_footprints(text, measured(name, "unified"))
        assert 1 <= len(changed_lines(text, after)) <= 4
        assert yaml.safe_load(after)["models"][name]["footprint"]["resident"] == "11MiB"


def test_a_layout_of_ones_own_is_kept_line_by_line():
    text = (
        "models:\n    a: {footprint: 1MiB}   # four spaces\n    b: {footprint: 2MiB}\n"
        "sources:\n- 1\n-   2\n"
    )
    after = with_footprints(text, measured("a", "unified"))
    assert changed_lines(text, after) == [
        "a: {footprint: {resident: 11MiB, load_peak: 22MiB, workspace: 33MiB}} # four spaces"
    ]
    assert "-   2" in after


def test_a_layout_that_cannot_be_kept_is_refused():
    text = "models:\n  a: {footprint: 1MiB,\n      priority: 5}\nx: {a: 1,\n\n  b: 2}\n"
    with pytest.raises(ConfigError, match="by hand"):
        with_footprints(text, measured("a", "unified"))


def test_the_diff_names_the_file_and_is_empty_without_a_change():
    assert footprint_diff("robot.yaml", "a\n", "a\n") == ""
    diff = footprint_diff("robot.yaml", "a\nb\n", "a\nc\n")
    assert diff.splitlines() == [
        "--- robot.yaml",
        "+++ robot.yaml",
        "@@ -1,2 +1,2 @@",
        " a",
        "-b",
        "+c",
    ]


def test_an_empty_line_before_all_is_kept():
    after = with_footprints("\n\n" + TEXT % "1MiB", measured("faces", "unified"))
    assert after.startswith("\n\n# My robot.")
    assert len(changed_lines("\n\n" + TEXT % "1MiB", after)) == 1


@given(
    st.integers(1, 6),
    st.integers(0, 3),
    st.sampled_from(["1MiB", "{{resident: 1MiB}}", "\n{pad}{pad}{pad}resident: 1MiB"]),
    st.sampled_from(["", "   # note", " # note"]),
)
def test_whatever_the_layout_the_others_figures_stay(indent, blanks, written, comment):
    pad = " " * indent
    text = "\n" * blanks + (
        f"models:{comment}\n{pad}a:\n{pad}{pad}footprint: {written.format(pad=pad)}{comment}\n"
        f"{pad}b: {{footprint: 2MiB}}{comment}\nlist:\n- x\n-   y{comment}\n"
    )
    try:
        after = with_footprints(text, measured("a", "unified"))
    except ConfigError:
        return
    said, before = yaml.safe_load(after), yaml.safe_load(text)
    assert said["models"]["a"]["footprint"]["resident"] == "11MiB"
    said["models"]["a"] = before["models"]["a"]
    assert said == before


def test_a_variants_footprint_is_written_where_the_variant_is():
    text = (
        "models:\n  a:\n    footprint: 5MiB\n    variants:\n"
        "      - {name: int8, footprint: 3MiB}  # small\n      - {name: tiny, footprint: 2MiB}\n"
    )
    after = with_footprints(text, measured("a", variant="int8"))
    (line,) = changed_lines(text, after)
    assert line.startswith("- {name: int8, footprint: {resident: 11MiB")
    assert line.endswith("# small")
    after = with_footprints(text, measured("a", variant="default"))
    assert yaml.safe_load(after)["models"]["a"]["footprint"]["resident"] == "11MiB"
