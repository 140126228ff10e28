"""Greedy decoding with a cache of keys and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rota_onnxruntime import OnnxSession
from scheduler.errors import EngineError

START_TOKEN = 1
END_TOKEN = 2
"""`MOONSHINE_DECODER_START_TOKEN_ID` and `MOONSHINE_EOS_TOKEN_ID` in moonshine-model.cpp."""

PAST = "past_key_values."
PRESENT = "present."
OTHER_INPUTS = {
    "encoder_attention_mask",
    "input_ids",
    "encoder_hidden_states",
    "use_cache_branch",
}


class Decoder:
    """A merged Moonshine decoder: one network with a branch that uses its cache and one that not.

    The cache holds, per layer, keys and values over the tokens so far ("decoder") and over the
    audio ("encoder"). The first step makes both; later steps add one token to the former, and their
    output for the latter is empty, so that of the first step is kept.
    """

    def __init__(self, session: OnnxSession) -> None:
        """Look at the network's inputs.

        Raises:
            EngineError: they are not those of a merged Moonshine decoder.
        """
        cached = [tensor for tensor in session.inputs if tensor.name.startswith(PAST)]
        others = {tensor.name for tensor in session.inputs} - {tensor.name for tensor in cached}
        if not cached or others != OTHER_INPUTS:
            raise EngineError(
                f"{session.model} is not Moonshine's merged decoder: beside {PAST}* its inputs "
                f"are {sorted(others)}, expected {sorted(OTHER_INPUTS)}"
            )
        self.session = session
        self._empty_cache = {
            tensor.name: np.zeros([1, tensor.shape[1] or 0, 0, tensor.shape[3] or 0], np.float32)
            for tensor in cached
        }
        self.vocabulary_size = session.outputs[0].shape[-1]

    def decode(
        self,
        hidden: NDArray[Any],
        mask: NDArray[np.int64],
        *,
        limit: int,
        stopped: Callable[[], bool],
    ) -> tuple[list[int], bool]:
        """The most likely token, and again, until the end token or `limit` tokens.

        Args:
            hidden: the encoder's output, (1, steps, width) float32.
            mask: ones, (1, samples): the *audio's* length, from which the network derives `steps`.
            limit: the most tokens to make.
            stopped: asked before each token whether nobody wants the rest.

        Returns:
            The tokens without start and end, and whether the end token came.

        Raises:
            EngineError: a run failed, or it was stopped.
        """
        fixed = {"encoder_hidden_states": hidden, "encoder_attention_mask": mask}
        cache, token, tokens = dict(self._empty_cache), START_TOKEN, list[int]()
        for step in range(limit):
            if stopped():
                raise EngineError("the transcription was cancelled")
            inputs = {
                **fixed,
                **cache,
                "input_ids": np.array([[token]], np.int64),
                "use_cache_branch": np.array([step > 0]),
            }
            outputs = self.session.run(inputs)
            token = int(outputs["logits"][0, -1].argmax())
            if token == END_TOKEN:
                return tokens, True
            tokens.append(token)
            _renew(cache, outputs, first=step == 0)
        return tokens, False


def _renew(
    cache: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]], *, first: bool
) -> None:
    for name in cache:
        if first or ".decoder." in name:
            cache[name] = outputs[PRESENT + name.removeprefix(PAST)]
