"""RapidOCR's pipeline around sessions of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from scheduler.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rota_onnxruntime.session import OnnxSession

_FIXED: Final = {
    "Global.log_level": "critical",
    "Global.use_preprocess_img": False,
    "Det.limit_type": "max",
    "Rec.rec_batch_num": 1,
}
"""Quiet, no resizing but ours, and one line at a time: the recogniser's answer has 18,710 numbers
for every eight pixels of a line, so that six lines at once would be the largest thing there is."""


def make_reader(sessions: Mapping[str, OnnxSession], max_side: int, threshold: float) -> Any:
    """Make RapidOCR's pipeline.

    It is given its networks, so that it has no file to look for and nothing to download.

    Args:
        sessions: the networks by RapidOCR's names of its parts: Det, Rec and perhaps Cls.
        max_side: the side that the detector makes larger images smaller to.
        threshold: the least score of a line.
    """
    from omegaconf import OmegaConf  # noqa: PLC0415 - heavy, as all of RapidOCR
    from rapidocr import RapidOCR  # noqa: PLC0415

    given = {
        "Global.use_cls": "Cls" in sessions,
        "Global.text_score": threshold,
        "Det.limit_side_len": max_side,
    }
    reader = RapidOCR(params=_FIXED | given)
    for part, session in sessions.items():
        settings = dict(reader.cfg[part], session=_native(session))
        reader.cfg[part] = OmegaConf.create(settings, flags={"allow_objects": True})
    return reader


def _native(session: OnnxSession) -> Any:
    """Make an `InferenceSession`, as RapidOCR demands one, that runs `session`.

    RapidOCR would run the native one without the arena's setting and without a way to cancel.
    """
    from onnxruntime import InferenceSession  # noqa: PLC0415

    class Session(InferenceSession):  # type: ignore[misc] # onnxruntime has no types
        def __init__(self) -> None:
            """Make none of its own: every method that is called is below."""

        def run(self, names: Sequence[str], inputs: Mapping[str, Any]) -> list[Any]:
            return list(session.run(inputs, names).values())

        def get_inputs(self) -> Any:
            return session.inputs

        def get_outputs(self) -> Any:
            return session.outputs

        def get_modelmeta(self) -> Any:
            return session.native.get_modelmeta()

    return Session()


def plugin_error(model: str, error: Exception) -> EngineError:
    """Find our own error among the causes of RapidOCR's, or tell what happened."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, EngineError):
            return cause
        cause = cause.__cause__
    return EngineError(f"{model}: RapidOCR failed: {error!r}")
