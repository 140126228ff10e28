"""The engine `centerface` on real photographs."""

import itertools
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rota_vision import CenterFaceEngine
from rota_vision.face import STRIDE, find_faces
from scheduler.errors import BadInput, EngineError
from scheduler.plugin.engine import EngineContext
from scheduler.testing import check_engine


def photograph(name: str) -> Any:
    file = distribution("scikit-image").locate_file(f"skimage/data/{name}")
    image: Any = cv2.imread(str(file))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module", params=["copied", "mapped"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CenterFaceEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        engine = CenterFaceEngine(
            CenterFaceEngine.Options(weights=request.param, threads=2), EngineContext()
        )
        engine.load()
        yield engine
        engine.unload()


def assert_astronaut(
    faces: Any, scale: float = 1.0, tolerance: float = 3.0, least: float = 0.9
) -> None:
    (face,) = faces
    assert face["score"] > least
    expected = np.array([182, 58, 88, 120]) * scale
    np.testing.assert_allclose(face["box"], expected, atol=tolerance * scale)
    left_eye, right_eye, nose, left_mouth, right_mouth = np.array(face["landmarks"]) / scale
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_it_keeps_every_rule_of_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    check_engine(CenterFaceEngine, {"arena": "off"}, payload=photograph("astronaut.png"))
    check_engine(CenterFaceEngine, {"arena": "off"})


def test_it_finds_the_astronauts_face(engine: CenterFaceEngine) -> None:
    (faces,) = engine.infer([photograph("astronaut.png")])
    assert_astronaut(faces)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_boxes_are_in_pixels_of_the_image_whatever_its_size(
    engine: CenterFaceEngine, scale: float
) -> None:
    image = cv2.resize(photograph("astronaut.png"), None, fx=scale, fy=scale)
    (faces,) = engine.infer([image])
    assert_astronaut(faces, scale, tolerance=6, least=0.85)


def test_sides_that_are_stretched_to_a_multiple_of_32_are_scaled_back(
    engine: CenterFaceEngine,
) -> None:
    (faces,) = engine.infer([photograph("astronaut.png")[:481, :500]])
    assert_astronaut(faces, tolerance=5)


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "rocket.jpg"])
def test_it_finds_no_face_where_there_is_none(engine: CenterFaceEngine, name: str) -> None:
    assert engine.infer([photograph(name)]) == [[]]


def test_a_grey_image_is_taken(engine: CenterFaceEngine) -> None:
    grey = cv2.cvtColor(photograph("astronaut.png"), cv2.COLOR_RGB2GRAY)
    (faces,) = engine.infer([grey])
    assert len(faces) == 1
    assert faces[0]["score"] > 0.85


def test_each_face_of_several_is_found(engine: CenterFaceEngine) -> None:
    image = np.concatenate([photograph("astronaut.png")[:300, :400]] * 2, axis=1)
    (faces,) = engine.infer([image])
    first, second = sorted(face["box"][0] for face in faces)
    assert second - first == pytest.approx(400, abs=6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000, 3), (5000, 2, 3), (33, 31, 3)])
def test_images_of_any_size_are_taken(engine: CenterFaceEngine, shape: Any) -> None:
    assert engine.infer([np.zeros(shape, dtype=np.uint8)]) == [[]]


@pytest.mark.parametrize(
    "payload",
    [
        "image.png",
        np.zeros((8, 8, 3)),
        np.zeros((8, 8, 4), dtype=np.uint8),
        np.zeros((1, 8, 8, 3), dtype=np.uint8),
        np.zeros((0, 8, 3), dtype=np.uint8),
        np.zeros(8, dtype=np.uint8),
    ],
)
def test_what_is_no_image_is_refused_alone(engine: CenterFaceEngine, payload: Any) -> None:
    bad, faces = engine.infer([payload, photograph("astronaut.png")])
    assert isinstance(bad, BadInput)
    assert "send a numpy array of uint8[height, width, 3] (RGB)" in str(bad)
    assert_astronaut(faces)


def test_another_network_is_refused(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 32, 32]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "other.onnx")
    (tmp_path / "half.onnx").write_bytes(b"half")
    for name, said in (("other", "it is not CenterFace"), ("half", "no whole ONNX file")):
        options = CenterFaceEngine.Options(model=tmp_path / f"{name}.onnx")
        engine = CenterFaceEngine(options, EngineContext())
        with pytest.raises(EngineError, match=said):
            engine.load()
        engine.unload()


def maps(rows: int, columns: int) -> list[Any]:
    return [
        np.zeros(shape, dtype=np.float32)
        for shape in ((rows, columns), *((count, rows, columns) for count in (2, 2, 10)))
    ]


def test_a_cell_is_decoded_as_the_paper_says() -> None:
    """All that differs between rows and columns differs here, so that a mix-up shows."""
    heat, scale, offset, landmarks = maps(16, 16)
    heat[3, 5] = 0.8
    scale[:, 3, 5] = np.log([10, 6])
    offset[:, 3, 5] = [0.25, -0.25]
    landmarks[:, 3, 5] = [0.1, 0.2, 0.1, 0.8, 0.5, 0.5, 0.9, 0.3, 0.9, 0.7]
    (face,) = find_faces(heat, scale, offset, landmarks, 0.5)
    height, width = 10 * STRIDE, 6 * STRIDE
    top, left = 3.75 * STRIDE - height / 2, 5.25 * STRIDE - width / 2
    assert face["score"] == pytest.approx(0.8)
    np.testing.assert_allclose(face["box"], [left, top, width, height], rtol=1e-5)
    fractions = np.array([[0.2, 0.1], [0.8, 0.1], [0.5, 0.5], [0.3, 0.9], [0.7, 0.9]])
    np.testing.assert_allclose(
        face["landmarks"], fractions * [width, height] + [left, top], rtol=1e-5
    )


def test_of_overlapping_cells_the_surest_is_the_face() -> None:
    heat, scale, offset, landmarks = maps(16, 32)
    scale[:] = np.log(8)
    for column, score in ((5, 0.6), (6, 0.9), (7, 0.7), (25, 0.8)):
        heat[8, column] = score
    faces = find_faces(heat, scale, offset, landmarks, 0.5)
    assert [face["score"] for face in faces] == pytest.approx([0.9, 0.8])
    centres = [face["box"][0] + face["box"][2] / 2 for face in faces]
    assert centres == pytest.approx([6.5 * STRIDE, 25.5 * STRIDE])


def test_cells_at_the_threshold_are_no_faces() -> None:
    heat, scale, offset, landmarks = maps(4, 4)
    heat[1, 1] = 0.5
    assert find_faces(heat, scale, offset, landmarks, 0.5) == []


def test_boxes_are_cut_at_the_edges_of_the_image(engine: CenterFaceEngine) -> None:
    image = photograph("astronaut.png")
    for top, left in itertools.product((0, 70), (0, 195)):
        cut = image[top : top + 130, left : left + 300]
        for face in engine.infer([cut])[0]:
            x, y, width, height = face["box"]
            assert x >= 0
            assert y >= 0
            assert x + width <= 300 + 1e-6
            assert y + height <= 130 + 1e-6
