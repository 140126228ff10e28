"""The engine `rapidocr` on a scanned page and on lines drawn here."""

import logging
import socket
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from rota_vision import RapidOcrEngine
from scheduler.errors import BadInput, EngineError, EngineOutOfMemory
from scheduler.plugin.engine import EngineContext
from scheduler.testing import check_engine


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("an engine must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module", params=["copied", "mapped"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RapidOcrEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        engine = RapidOcrEngine(
            RapidOcrEngine.Options(weights=request.param, threads=2), EngineContext()
        )
        engine.load()
        yield engine
        engine.unload()


def page() -> Any:
    file = distribution("scikit-image").locate_file("skimage/data/page.png")
    return cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)


def drawn(*lines: str, size: int = 28, angle: int = 0) -> Any:
    image = Image.new("RGB", (480, 24 + len(lines) * 2 * size), "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((20, 12 + number * 2 * size), line, "black", ImageFont.load_default(size))
    return np.array(image.rotate(angle))


def text_of(lines: Any) -> list[str]:
    return [line["text"] for line in lines]


def test_it_keeps_every_rule_of_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    check_engine(RapidOcrEngine, {"arena": "off"})


def test_it_reads_a_scanned_page(engine: RapidOcrEngine) -> None:
    (lines,) = engine.infer([page()])
    assert text_of(lines)[:5] == [
        "Region-based segmentation",
        "Let us first determine markers of the coins and the",
        "background. These markers are pixels that we can label",
        "unambiguously as either object or background. Here,",
        "the markers are found at the two extreme parts of the",
    ]
    assert "markers = np.zeros_like(coins)" in text_of(lines)[-1]
    assert all(0.5 <= line["score"] <= 1 for line in lines)


def test_it_reads_drawn_lines_exactly_and_from_the_top(engine: RapidOcrEngine) -> None:
    (lines,) = engine.infer([drawn("Charging station 7", "Battery 81 percent")])
    assert text_of(lines) == ["Charging station 7", "Battery 81 percent"]


@pytest.mark.parametrize("scale", [0.6, 1.0, 4.0])
def test_corners_are_in_pixels_of_the_image_whatever_its_size(
    engine: RapidOcrEngine, scale: float
) -> None:
    image = cv2.resize(drawn("Charging station 7"), None, fx=scale, fy=scale)
    ((line,),) = engine.infer([image])
    ink = np.argwhere(image.min(axis=2) < 128)[:, ::-1]
    top_left, top_right, bottom_right, bottom_left = np.array(line["box"])
    np.testing.assert_allclose(top_left, ink.min(axis=0), atol=12 * scale)
    np.testing.assert_allclose(bottom_right, ink.max(axis=0), atol=12 * scale)
    assert top_right[0] > top_left[0]
    assert bottom_left[1] > top_left[1]


def test_red_comes_first(engine: RapidOcrEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks want blue first; a mix-up costs accuracy, silently."""
    seen: list[Any] = []
    reader = engine._reader

    def look(image: Any) -> Any:
        seen.append(image)
        return reader(image)

    monkeypatch.setattr(engine, "_reader", look)
    engine.infer([np.full((64, 64, 3), (200, 100, 50), dtype=np.uint8)])
    assert seen[0][0, 0].tolist() == [50, 100, 200]


def test_an_image_without_text_has_no_lines(engine: RapidOcrEngine) -> None:
    assert engine.infer([np.full((300, 400, 3), 255, dtype=np.uint8)]) == [[]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000, 3), (5000, 2, 3), (33, 31, 3), (3000, 4000)])
def test_images_of_any_size_are_taken(engine: RapidOcrEngine, shape: Any) -> None:
    assert engine.infer([np.zeros(shape, dtype=np.uint8)]) == [[]]


def test_what_is_no_image_is_refused_alone(engine: RapidOcrEngine) -> None:
    bad, lines = engine.infer([np.zeros((8, 8)), drawn("Charging station 7")])
    assert isinstance(bad, BadInput)
    assert text_of(lines) == ["Charging station 7"]


def test_a_line_on_its_head_is_read_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    image = drawn("Charging station 7", angle=180)
    for upside_down in (False, True):
        options = RapidOcrEngine.Options(upside_down=upside_down)
        engine = RapidOcrEngine(options, EngineContext())
        engine.load()
        found = text_of(engine.infer([image])[0])
        assert (found == ["Charging station 7"]) is upside_down
        engine.unload()


def test_it_logs_nothing(engine: RapidOcrEngine, capfd: pytest.CaptureFixture[str]) -> None:
    engine.infer([np.full((300, 400, 3), 255, dtype=np.uint8), drawn("Charging station 7")])
    assert logging.getLogger("RapidOCR").level == logging.CRITICAL
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_networks_comes_through_as_it_is(
    engine: RapidOcrEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(engine._sessions[0].native, "run", fail)
        with pytest.raises(EngineOutOfMemory, match="PP-OCRv6_det_small"):
            engine.infer([page()])
    assert text_of(engine.infer([drawn("Charging station 7")])[0]) == ["Charging station 7"]


def test_a_load_that_fails_half_way_is_undone(tmp_path: Path) -> None:
    (tmp_path / "half.onnx").write_bytes(b"half")
    options = RapidOcrEngine.Options(recogniser=tmp_path / "half.onnx")
    engine = RapidOcrEngine(options, EngineContext())
    with pytest.raises(EngineError, match=r"half\.onnx: it is no whole ONNX file"):
        engine.load()
    (detector,) = engine._sessions
    engine.unload()
    assert detector.native is None
    assert engine._sessions == ()
