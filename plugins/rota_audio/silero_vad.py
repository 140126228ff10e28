"""Is somebody speaking: Silero VAD, 32 ms of audio at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rota_audio.samples import read_samples
from rota_onnxruntime import OnnxOptions, OnnxSession
from scheduler.config.resource import ResourcePath
from scheduler.errors import BadInput, EngineError
from scheduler.plugin.engine import EngineContext, EnginePlugin

FRAME_SAMPLES = 512
"""New samples in one run at 16 kHz; the model takes no other number (silero-vad's README)."""

CONTEXT_SAMPLES = 64
"""Samples before them that the model sees again (`context_size` in silero-vad's utils_vad.py)."""

SPEECH = 0.5
"""From this probability on silero-vad itself counts a frame as speech."""

STATE_SHAPE = (2, 1, 128)
INPUT_SHAPES = {"input": (1, CONTEXT_SAMPLES + FRAME_SAMPLES), "state": STATE_SHAPE}


class SileroVadOptions(OnnxOptions):
    """Options of `silero_vad`. `threads` above 1 gain nothing on so small a model."""

    model: ResourcePath = Field(
        default="silero-vad:silero_vad/data/silero_vad_openvino_16k.onnx", validate_default=True
    )


class SileroVadEngine(EnginePlugin):
    """Silero VAD out of the `silero-vad` distribution, without importing that package.

    Payload: 512 samples, mono at 16 kHz, float32 in -1..1 or int16; or a mapping
    `{"samples": ..., "gap": True}`. Result: `{"speech": p}` with p in 0..1; silero-vad itself
    counts 0.5 and above as speech, and speech as ended below 0.35.

    The engine listens to *one* stream: it carries the model's state and the last 64 samples from
    frame to frame, through batches too. `gap: True` says that samples are missing before this
    frame, so that it starts afresh. A refused frame changes nothing.
    """

    Options = SileroVadOptions
    LIBRARIES = ("onnxruntime",)
    options: SileroVadOptions

    def __init__(self, options: Any, context: EngineContext) -> None:
        super().__init__(options, context)
        self._session: OnnxSession | None = None
        self._forget()

    @classmethod
    def summary(cls, results: Sequence[Any]) -> str:
        """For how much of the time somebody spoke."""
        speaking = sum(result["speech"] >= SPEECH for result in results)
        return f"somebody spoke in {speaking} of {len(results)} frames"

    def load(self) -> None:
        """Open the model."""
        session = OnnxSession(self.options.model, self.options, self.context)
        shapes = {tensor.name: tensor.shape for tensor in session.inputs}
        if shapes != INPUT_SHAPES:
            raise EngineError(
                f"{self.options.model} is not Silero VAD for 16 kHz: its inputs are {shapes}, "
                f"expected {INPUT_SHAPES}"
            )
        self._session = session

    def warm_up(self) -> None:
        """Run once, and forget it."""
        self.infer([self.example()])
        self._forget()

    def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Answer frames in their order, as one stream. A bad frame fails alone."""
        return [self._answer(payload) for payload in batch]

    def unload(self) -> None:
        """Let go of the model and of what was heard."""
        self._session = None
        self._forget()

    def example(self) -> NDArray[np.float32]:
        """One frame of silence."""
        return np.zeros(FRAME_SAMPLES, np.float32)

    def _forget(self) -> None:
        self._state = np.zeros(STATE_SHAPE, np.float32)
        self._context = np.zeros(CONTEXT_SAMPLES, np.float32)

    def _answer(self, payload: Any) -> dict[str, float] | BadInput:
        if self._session is None:
            raise EngineError("the engine is not loaded; call load() first")
        try:
            samples, gap = _read_frame(payload)
        except BadInput as error:
            return error.with_traceback(None)
        if gap:
            self._forget()
        heard = np.concatenate([self._context, samples])[np.newaxis]
        outputs = self._session.run({"input": heard, "state": self._state})
        self._state = outputs["stateN"]
        self._context = samples[-CONTEXT_SAMPLES:].copy()
        return {"speech": float(outputs["output"][0, 0])}


def _read_frame(payload: Any) -> tuple[NDArray[np.float32], bool]:
    """Return a frame's 512 samples and whether a gap lies before it."""
    gap = False
    if isinstance(payload, Mapping):
        unknown = payload.keys() - {"samples", "gap"}
        if unknown or "samples" not in payload:
            raise BadInput(f"the payload has keys {sorted(map(str, payload))}; give samples, gap")
        gap, payload = payload.get("gap", False), payload["samples"]
        if not isinstance(gap, bool):
            raise BadInput(f"gap is {gap!r}; give true or false")
    samples = read_samples(payload)
    if samples.size != FRAME_SAMPLES:
        raise BadInput(f"the frame has {samples.size} samples; give {FRAME_SAMPLES} (32 ms)")
    return samples, gap
