"""The engine `rapidocr`: text in images."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from rota_onnxruntime.options import OnnxOptions
from rota_onnxruntime.session import OnnxSession
from rota_vision.image import Image, fitting_scale, read_image
from rota_vision.reader import make_reader, plugin_error
from scheduler.config.resource import ResourcePath
from scheduler.errors import BadInput, EngineError
from scheduler.plugin.engine import EnginePlugin

SHOWN = 80
"""So many letters of a text fit a line of a summary."""


class RapidOcrOptions(OnnxOptions):
    """The options of the engine `rapidocr`.

    An image is scaled so that its longer side has `max_side` pixels, and enlarged at most `enlarge`
    times; memory and time grow with the square of that side. Raise it for small print. A line
    scores at least `threshold`. `upside_down` reads lines that stand on their heads too, with a
    third network.
    """

    detector: ResourcePath = Field(
        "rapidocr:rapidocr/models/PP-OCRv6_det_small.onnx", validate_default=True
    )
    recogniser: ResourcePath = Field(
        "rapidocr:rapidocr/models/PP-OCRv6_rec_small.onnx", validate_default=True
    )
    classifier: ResourcePath = Field(
        "rapidocr:rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx", validate_default=True
    )
    upside_down: bool = False
    threshold: float = Field(default=0.5, ge=0, lt=1)
    max_side: int = Field(default=736, ge=64, le=4096)
    enlarge: float = Field(default=2.0, ge=1, le=8)


class RapidOcrEngine(EnginePlugin):
    """Reads text with PP-OCR's networks and RapidOCR's pipeline around them.

    A payload is an image, uint8 of HxWx3 (RGB) or HxW. A result lists its lines from the top:
    `{"text": t, "score": s, "box": [[x, y], ...]}` with the four corners in pixels of the image,
    clockwise from the top left. The images of a batch run one after the other.
    """

    Options: ClassVar[type[RapidOcrOptions]] = RapidOcrOptions
    LIBRARIES = ("onnxruntime", "cv2", "rapidocr")
    _sessions: tuple[OnnxSession, ...] = ()
    _reader: Any = None

    @classmethod
    def summary(cls, results: Sequence[Any]) -> str:
        """How much was read, and the first words of the longest text."""
        texts = [" ".join(line["text"] for line in lines) for lines in results]
        longest = max(texts, key=len)
        begin = longest if len(longest) <= SHOWN else f"{longest[:SHOWN]}..."
        return f'read {sum(map(bool, texts))} images: "{begin}"'

    def load(self) -> None:
        """Make the sessions, from the files that the options name, and the pipeline."""
        options = self.options
        models = {"Det": options.detector, "Rec": options.recogniser}
        if options.upside_down:
            models["Cls"] = options.classifier
        sessions = {}
        for part, model in models.items():
            sessions[part] = OnnxSession(model, options, self.context)
            self._sessions = tuple(sessions.values())
        self._reader = make_reader(sessions, options.max_side, options.threshold)

    def warm_up(self) -> None:
        """Read the example: the pipeline builds its parts when it first needs them."""
        self.infer([self.example()])

    def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Read each image; one that is no image has a `BadInput` for its result."""
        return [self._answer(payload) for payload in batch]

    def example(self) -> Image:
        """Make a line of black text on white, 48x320."""
        import cv2  # noqa: PLC0415 - heavy: imported when the engine is loaded

        image = np.full((48, 320, 3), 255, dtype=np.uint8)
        cv2.putText(image, "one robot, many models", (8, 32), 0, 0.75, (0, 0, 0), 2)
        return image

    def cancel(self) -> None:
        """End the network that is running at its next operator."""
        for session in self._sessions:
            session.cancel()

    def unload(self) -> None:
        """Let go of the sessions and the pipeline."""
        for session in self._sessions:
            session.close()
        self._sessions = ()
        self._reader = None

    def _answer(self, payload: Any) -> list[dict[str, Any]] | BadInput:
        try:
            image = read_image(payload)
        except BadInput as error:
            return error
        return self._read(image)

    def _read(self, image: Image) -> list[dict[str, Any]]:
        import cv2  # noqa: PLC0415 - imported by load

        if self._reader is None:
            raise EngineError(f"{self.context.model} is not loaded; call load first")
        scale = fitting_scale(image, self.options.max_side, self.options.enlarge)
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        try:
            page = self._reader(cv2.resize(image, (width, height))[..., ::-1])
        except Exception as error:
            error.__traceback__ = None  # its frames hold the sessions for as long as it lives
            raise plugin_error(self.context.model, error) from error
        if page.txts is None:
            return []
        ratios = np.array([image.shape[1] / width, image.shape[0] / height])
        return [
            {"text": text, "score": float(score), "box": (box * ratios).tolist()}
            for text, score, box in zip(page.txts, page.scores, page.boxes, strict=True)
        ]
