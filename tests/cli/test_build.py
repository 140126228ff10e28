"""`rota build` as a user runs it."""

import platform
import subprocess
import sys

import numpy as np
import onnx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from scheduler.cli.shapes import read_shapes
from scheduler.cli.variants import model_name
from scheduler.plugin.builder import BuildRefused

needs_rtx = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="TensorRT-RTX is installed on x86-64 Linux only",
)


def rota(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "scheduler", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def model(tmp_path):
    """y = x @ w, with any number of rows."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 64]) for name in "xy")
    weights = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="only")],
        "one",
        [x],
        [y],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "my net.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


@needs_rtx
def test_plans_of_each_form_and_a_configuration_that_is_right(tmp_path, model):
    samples, out = tmp_path / "samples", tmp_path / "plans"
    samples.mkdir()
    np.save(samples / "a.npy", np.ones((4, 64), np.float32))
    forms = [word for name in ("fp32", "fp16", "int8") for word in ("--precision", name)]
    result = rota(
        "build", model, "--output", out, *forms, "--calibration", samples,
        "--shapes", "x=1x64,4x64,16x64",
    )  # fmt: skip
    assert (result.returncode, result.stderr.strip()) == (0, "")
    assert "its scales come from 1 samples" in result.stdout
    written = yaml.safe_load((out / "my_net.yaml").read_text())
    entry = written["models"]["my_net"]
    assert entry["variant"] == "fp32"
    assert [form["name"] for form in entry["variants"]] == ["fp16", "int8"]
    plans = {form["options"]["plan"] for form in (entry, *entry["variants"])}
    assert {file.name for file in out.glob("*.plan")} == plans
    checked = rota("check", out / "my_net.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@needs_rtx
def test_a_single_form_has_no_variants(tmp_path, model):
    assert rota("build", model, "--output", tmp_path, "--shapes", "x=4x64").returncode == 0
    entry = yaml.safe_load((tmp_path / "my_net.yaml").read_text())["models"]["my_net"]
    assert set(entry) == {"engine", "options", "footprint"}
    assert rota("check", tmp_path / "my_net.yaml").returncode == 0


@needs_rtx
def test_a_model_that_cannot_be_built_is_status_1(tmp_path, model):
    network = onnx.load(model)
    network.graph.node[0].op_type = "Frobnicate"
    onnx.save(network, model)
    result = rota("build", model, "--output", tmp_path / "out", "--shapes", "x=4x64")
    assert result.returncode == 1
    assert 'node 0 "only" (Frobnicate)' in result.stderr
    assert not (tmp_path / "out" / "my_net.yaml").exists()


@needs_rtx
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "so say which shapes it will have"),
        (["--shapes", "x=4x63"], "not [4, 63]"),
        (["--shapes", "4x64"], "write NAME=LEAST,USUAL,LARGEST"),
        (["--shapes", "x=4x64", "--precision", "int4"], "choose from fp32, fp16, int8"),
        (["--shapes", "x=4x64", "--precision", "int8"], "with --calibration FOLDER"),
        (["--shapes", "x=4x64", "--workspace", "512"], "--workspace: "),
    ],
)
def test_a_wrong_order_is_status_2(tmp_path, model, arguments, said):
    result = rota("build", model, "--output", tmp_path / "out", *arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_missing_model_is_status_2(tmp_path):
    result = rota("build", tmp_path / "none.onnx", "--output", tmp_path)
    assert result.returncode == 2
    assert "there is no such file" in result.stderr


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("x=1x3,2x3,4x3", ((1, 3), (2, 3), (4, 3))),
        ("x=8", ((8,), (8,), (8,))),
        ("a=b:0=1x2", ((1, 2),) * 3),
    ],
)
def test_shapes_are_read(text, shapes):
    assert list(read_shapes([text]).values()) == [shapes]


@pytest.mark.parametrize(
    "text", ["", "x", "x=", "=1x2", "x=1x2,3x4", "x=0x2", "x=-1x2", "x=1x²", "x=1x99999999999"]
)
def test_what_is_no_shape_is_refused(text):
    with pytest.raises(BuildRefused, match="--shapes"):
        read_shapes([text])


def test_an_input_given_twice_is_refused():
    with pytest.raises(BuildRefused, match="x is given twice"):
        read_shapes(["x=1", "x=2"])


@given(st.text(max_size=30))
def test_any_text_is_shapes_or_refused(text):
    try:
        ((_, spans),) = read_shapes([text]).items()
    except BuildRefused:
        return
    assert len(spans) == 3


@pytest.mark.parametrize(
    ("file", "name"), [("a b.onnx", "a_b"), ("ünï.onnx", "n"), ("...onnx", "model")]
)
def test_a_models_name_is_of_letters_that_a_name_may_have(tmp_path, file, name):
    assert model_name(tmp_path / file) == name
