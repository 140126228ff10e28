"""A plan that cannot be used is told so by its name, before a GPU is touched."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import build, needs_rtx, product
from pydantic import ValidationError

from rota_tensorrt import CorruptPlan, ForeignPlan, NoDevice, PlanError, TensorRtEngine, read_header
from rota_tensorrt.header import HEADER_BYTES, parse_header
from scheduler.errors import EngineError
from scheduler.plugin.builder import BuildOrder
from scheduler.plugin.engine import EngineContext

pytestmark = needs_rtx


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("plans")


@pytest.fixture(scope="module")
def plan(folder):
    shapes = {"x": ((1, 8), (4, 8), (16, 8))}
    (built,) = build(BuildOrder(product(folder / "product.onnx"), folder, ("fp32",), shapes))
    return built.file


def refusal(path, **options):
    """What loading says; what was half made is let go."""
    engine = TensorRtEngine(TensorRtEngine.Options(plan=path, **options), EngineContext("faces"))
    with pytest.raises(EngineError) as caught:
        engine.load()
    engine.unload()
    engine.unload()
    return caught.value


def changed(plan, tmp_path, change):
    content = bytearray(plan.read_bytes())
    change(content)
    bad = tmp_path / "bad.plan"
    bad.write_bytes(content)
    return bad


def test_the_header_says_who_built_it_and_for_what(plan):
    header = read_header(plan)
    assert header.library == "tensorrt_rtx"
    assert header.version[:2] >= (1, 5)
    assert header.file_bytes == plan.stat().st_size
    assert header.weights_bytes == 512  # 8 x 8 floats, rounded up by the library
    assert header.capabilities == ("8.0", "8.6", "8.9", "12.0", "12.1")


@pytest.mark.parametrize("kept", [1, 3, 4, 27, 28, 63, 64, 65, 100, 5000, -1])
def test_a_plan_cut_short_is_corrupt(plan, tmp_path, kept):
    def cut(content):
        del content[kept:]

    error = refusal(changed(plan, tmp_path, cut))
    assert isinstance(error, CorruptPlan)
    assert "bad.plan" in str(error)
    assert "copy it again" in str(error) or "build a plan" in str(error)


def test_a_plan_with_something_behind_it_is_corrupt(plan, tmp_path):
    error = refusal(changed(plan, tmp_path, lambda content: content.extend(b"more")))
    assert isinstance(error, CorruptPlan)
    assert "says that it has" in str(error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (bytes(range(1, 200)), "no plan (it starts with 01 02 03 04)"),
        (b"PK\x03\x04" + bytes(100), "a PyTorch or zip file"),
        (b"<!DOCTYPE html>" + bytes(100), "a web page"),
        (b"version https://git-lfs.github.com/spec/v1" + bytes(60), "Git LFS pointer"),
        (b"\x18\x00\x00\x00ORTM" + bytes(100), "onnxruntime's own format"),
    ],
)
def test_what_is_no_plan_is_told_by_what_it_is(tmp_path, content, said):
    path = tmp_path / "odd.plan"
    path.write_bytes(content)
    error = refusal(path)
    assert isinstance(error, CorruptPlan)
    assert said in str(error)


def test_an_onnx_model_given_as_plan_is_told_how_to_become_one(plan, tmp_path):
    model = plan.parent / "product.onnx"
    under_another_name = tmp_path / "model.plan"
    under_another_name.write_bytes(model.read_bytes())
    for path in (model, under_another_name):
        error = refusal(path)
        assert isinstance(error, CorruptPlan)
        assert "an ONNX model; build a plan with: rota build" in str(error)


def test_a_plan_of_another_version_is_foreign(plan, tmp_path):
    def older(content):
        content[25] -= 1

    bad = changed(plan, tmp_path, older)
    error = refusal(bad)
    assert isinstance(error, ForeignPlan)
    was, now = read_header(bad).version_text, read_header(plan).version_text
    assert f"tensorrt_rtx {was} built it, and {now}" in str(error)
    assert isinstance(refusal(bad, version_compatible=True), NoDevice)


def test_a_plan_of_the_other_library_asks_for_that_library(plan, tmp_path):
    """With the type stubs of TensorRT installed, `import tensorrt` works and has nothing in it."""

    def other(content):
        content[:4] = b"ftrt"

    error = refusal(changed(plan, tmp_path, other))
    assert "tensorrt cannot be used" in str(error)
    assert "pip install rota[tensorrt]" in str(error)


def test_a_good_plan_without_a_gpu_is_told_that_there_is_none(plan):
    error = refusal(plan)
    assert isinstance(error, NoDevice)
    assert "no NVIDIA driver" in str(error)


def test_a_good_plan_that_the_runtime_itself_opens_here_says_what_is_missing(plan):
    """Without pycuda in between: what TensorRT logs on a machine without a driver."""
    from rota_tensorrt.library import library
    from rota_tensorrt.plan import Plan

    with pytest.raises(NoDevice, match="there is no GPU with a driver that works"):
        Plan(plan, read_header(plan), library("tensorrt_rtx"))


@pytest.mark.parametrize("start", [64, 200, 4000])
def test_a_plan_changed_inside_never_loads(plan, tmp_path, start):
    def scramble(content):
        content[start : start + 400] = bytes((at * 89 + start) % 256 for at in range(400))

    from rota_tensorrt.library import library
    from rota_tensorrt.plan import Plan

    bad = changed(plan, tmp_path, scramble)
    with pytest.raises((PlanError, NoDevice)):
        Plan(bad, read_header(bad), library("tensorrt_rtx"))


def test_a_plan_that_is_written_over_while_it_is_loaded_is_told(plan, tmp_path):
    from rota_tensorrt.library import library
    from rota_tensorrt.plan import Plan

    path = changed(plan, tmp_path, len)
    header = read_header(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CorruptPlan, match="copy it again"):
        Plan(path, header, library("tensorrt_rtx"))
    path.write_bytes(b"ftrt" + bytes(header.file_bytes - 4))
    with pytest.raises(CorruptPlan, match="written over while it was read"):
        Plan(path, header, library("tensorrt_rtx"))


def test_a_plan_that_is_missing_is_an_option_error(tmp_path):
    with pytest.raises(ValidationError, match="does not exist"):
        TensorRtEngine.Options(plan=tmp_path / "none.plan")


def test_a_folder_given_as_plan_is_told(tmp_path):
    assert "cannot read it" in str(refusal(tmp_path))


def test_a_graph_wants_memory_that_stays(plan):
    with pytest.raises(ValidationError, match="write activation: held"):
        TensorRtEngine.Options(plan=plan, graph=True, activation="shared")


@given(st.binary(max_size=80), st.integers(0, 2**40))
def test_any_bytes_are_a_header_or_a_corrupt_plan(head, file_bytes):
    try:
        header = parse_header("x.plan", head[:HEADER_BYTES], file_bytes)
    except CorruptPlan as error:
        assert str(error).startswith("x.plan: ")  # noqa: PT017 - either is right
    else:
        assert header.file_bytes == file_bytes


@given(st.sampled_from([b"ftrt", b"ptrt", b"vtrt"]), st.binary(min_size=60, max_size=60))
def test_a_tag_alone_makes_no_plan_of_noise(tag, rest):
    try:
        header = parse_header("x.plan", tag + rest, 1000)
    except CorruptPlan:
        return
    assert header.weights_bytes is None or 0 <= header.weights_bytes <= 1000


def test_no_thread_and_no_file_is_left_by_a_refused_plan(plan):
    before = threading.active_count()
    for _ in range(3):
        refusal(plan)
    assert threading.active_count() == before
