"""What was said: Moonshine, English speech to text for one utterance at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rota_audio.decoder import Decoder
from rota_audio.samples import SAMPLE_RATE_HZ, read_samples
from rota_audio.vocabulary import join_tokens, read_vocabulary
from rota_onnxruntime import OnnxOptions, OnnxSession, Weights
from scheduler.config.resource import ResourcePath
from scheduler.errors import BadInput, EngineError
from scheduler.plugin.engine import EngineContext, EnginePlugin

MIN_SECONDS = 0.1
MAX_SECONDS = 64.0
"""The model takes 0.1 to 64 s at once (`assert_audio_size` in Moonshine's transcribe.py)."""

TRAINED_SECONDS = 30.0
"""The longest utterance it was trained on (Moonshine's model card and configuration)."""

TOKENS_PER_SECOND = 6.5
"""More tokens than this are not English speech but the model going round in circles; Moonshine's
own runtime stops there (`max_tokens_per_second` in moonshine-model.h, and the model card)."""

ENCODER_INPUTS = {"input_values", "attention_mask"}
TINY_EN = "moonshine-voice:moonshine_voice/assets/tiny-en/"


class MoonshineOptions(OnnxOptions):
    """Options of `moonshine`. `max_seconds` bounds an utterance, and so the memory of a run."""

    encoder: ResourcePath = Field(default=TINY_EN + "encoder_model.ort", validate_default=True)
    decoder: ResourcePath = Field(
        default=TINY_EN + "decoder_model_merged.ort", validate_default=True
    )
    tokenizer: ResourcePath = Field(default=TINY_EN + "tokenizer.bin", validate_default=True)
    max_seconds: float = Field(default=TRAINED_SECONDS, ge=MIN_SECONDS, le=MAX_SECONDS)

    @model_validator(mode="after")
    def _check_weights(self) -> MoonshineOptions:
        """The decoder's two branches have no names, so onnxruntime cannot write them out again."""
        if self.weights is Weights.MAPPED:
            raise ValueError("weights: mapped is not for this model; write weights: copied")
        return self


class MoonshineEngine(EnginePlugin):
    """Moonshine tiny-en out of the `moonshine-voice` distribution, run by onnxruntime.

    Payload: one utterance, mono at 16 kHz, float32 in -1..1 or int16, from 0.1 s to `max_seconds`.
    Result: `{"text": str, "seconds": float, "complete": bool}`; `complete` is false where the text
    was cut off at 6.5 tokens a second. A batch is answered one utterance after the other.
    """

    Options = MoonshineOptions
    LIBRARIES = ("onnxruntime",)
    options: MoonshineOptions

    def __init__(self, options: Any, context: EngineContext) -> None:
        super().__init__(options, context)
        self._encoder: OnnxSession | None = None
        self._decoder: Decoder | None = None
        self._vocabulary: list[bytes] = []
        self._cancelled = False

    @classmethod
    def summary(cls, results: Sequence[Any]) -> str:
        """What was said, each sentence once."""
        said = dict.fromkeys(result["text"] for result in results if result["text"])
        return "heard " + " / ".join(f'"{text}"' for text in said) if said else "heard nothing"

    def load(self) -> None:
        """Open encoder, decoder and vocabulary, and see that they belong together."""
        options = self.options
        self._encoder = self._open(options.encoder)
        names = {tensor.name for tensor in self._encoder.inputs}
        if names != ENCODER_INPUTS:
            raise EngineError(
                f"{options.encoder} is not Moonshine's encoder: its inputs are {sorted(names)}, "
                f"expected {sorted(ENCODER_INPUTS)}"
            )
        self._decoder = Decoder(self._open(options.decoder))
        self._vocabulary = _open_vocabulary(options.tokenizer, self._decoder.vocabulary_size)

    def warm_up(self) -> None:
        """Transcribe a second of silence, or what `max_seconds` allows."""
        seconds = min(1.0, self.options.max_seconds)
        self.infer([np.zeros(math.ceil(seconds * SAMPLE_RATE_HZ), np.float32)])

    def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Answer utterances one by one. A bad one fails alone."""
        self._cancelled = False
        return [self._answer(payload) for payload in batch]

    def cancel(self) -> None:
        """Stop the batch that is running, at the next operator of the network."""
        self._cancelled = True
        encoder, decoder = self._encoder, self._decoder
        if encoder is not None:
            encoder.cancel()
        if decoder is not None:
            decoder.session.cancel()

    def unload(self) -> None:
        """Let go of both networks and the vocabulary."""
        self._encoder = self._decoder = None
        self._vocabulary = []

    def example(self) -> NDArray[np.float32]:
        """Faint noise of `max_seconds`: what costs the most time and memory."""
        generator = np.random.default_rng(seed=0)
        samples = generator.normal(0, 0.01, round(self.options.max_seconds * SAMPLE_RATE_HZ))
        return samples.astype(np.float32)

    def _open(self, path: Path) -> OnnxSession:
        return OnnxSession(path, self.options, self.context)

    def _answer(self, payload: Any) -> dict[str, Any] | BadInput:
        try:
            samples = self._read_utterance(payload)
        except BadInput as error:
            return error.with_traceback(None)
        seconds = samples.size / SAMPLE_RATE_HZ
        tokens, complete = self._transcribe(samples, math.ceil(seconds * TOKENS_PER_SECOND))
        text = join_tokens(self._vocabulary, tokens)
        return {"text": text, "seconds": seconds, "complete": complete}

    def _read_utterance(self, payload: Any) -> NDArray[np.float32]:
        samples = read_samples(payload)
        seconds = samples.size / SAMPLE_RATE_HZ
        if not MIN_SECONDS <= seconds <= self.options.max_seconds:
            raise BadInput(
                f"the utterance is {seconds:.2f} s long; give {MIN_SECONDS:g} to "
                f"{self.options.max_seconds:g} s (option max_seconds, at most {MAX_SECONDS:g})"
            )
        return samples

    def _transcribe(self, samples: NDArray[np.float32], limit: int) -> tuple[list[int], bool]:
        if self._encoder is None or self._decoder is None:
            raise EngineError("the engine is not loaded; call load() first")
        mask = np.ones((1, samples.size), np.int64)
        encoded = self._encoder.run({"input_values": samples[np.newaxis], "attention_mask": mask})
        return self._decoder.decode(
            encoded["last_hidden_state"], mask, limit=limit, stopped=lambda: self._cancelled
        )


def _open_vocabulary(path: Path, size: int | None) -> list[bytes]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineError(f"cannot read {path}: {error.strerror}") from error
    try:
        vocabulary = read_vocabulary(data)
    except EngineError as error:
        raise EngineError(f"{path}: {error}") from error
    if len(vocabulary) != size:
        raise EngineError(f"{path} has {len(vocabulary)} tokens, the decoder {size}; give its own")
    return vocabulary
