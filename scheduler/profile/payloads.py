"""What an engine is measured with: the first frames of its source, or its own example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from scheduler.source.feeds import open_source

if TYPE_CHECKING:
    from scheduler.config import Config
    from scheduler.source.source import Source

FRAMES = 8
"""So many frames of a recording: enough to tell a usual run from an odd one."""


def first_payloads(config: Config, model: str) -> list[Any]:
    """Return the first frames of the model's first source that is a file; empty without one.

    A microphone is not waited for, and an utterance is there only while another model runs.
    """
    for name, source in config.sources.items():
        if source.model == model and source.from_.path is not None:
            return anyio.run(_frames, open_source(name, source.from_, loop=False))
    return []


async def _frames(source: Source) -> list[Any]:
    payloads: list[Any] = []
    try:
        while len(payloads) < FRAMES:
            frame = await source.next_frame()
            if frame is None:
                break
            payloads.append(frame.payload)
    finally:
        await source.aclose()
    return payloads
