"""What somebody says, cut out of the audio of another source."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

import anyio
import numpy as np

from scheduler.core.outcome import Outcome
from scheduler.source.answer import Answer
from scheduler.source.resample import RATE_HZ, Samples
from scheduler.source.source import Frame, Source

OPEN_AT = 0.5
CLOSE_BELOW = 0.35
"""Silero VAD's own thresholds: speech begins at 0.5 and ends 0.15 below it."""

LEAD_SAMPLES = RATE_HZ * 3 // 10
"""0.3 s before the detector was sure: the first consonant is quieter than the vowel after it."""

TAIL_SAMPLES = RATE_HZ * 6 // 10
"""0.6 s of quiet end an utterance; shorter ones are the pauses within it."""

LONGEST_SAMPLES = RATE_HZ * 15

WAITING = 4
"""As many utterances may wait to be fetched; the oldest is lost when there are more."""


class Utterance:
    """Audio in, whole utterances out. Knows nothing of models or time.

    `hear` takes the next samples (float32, 16 kHz) and the probability that they are speech, None
    where the detector did not answer: that counts as no change. It gives the samples of an
    utterance when one has ended, or has grown to 15 s, and otherwise None.
    """

    def __init__(self) -> None:
        self._lead: deque[Samples] = deque()
        self._spoken: list[Samples] = []
        self._quiet_samples = 0

    def hear(self, samples: Samples, speech: float | None) -> Samples | None:
        """Add samples; the utterance that they complete, or None."""
        if not self._spoken and not (speech is not None and speech >= OPEN_AT):
            self._remember(samples)
            return None
        if not self._spoken:
            self._spoken.extend(self._lead)
            self._lead.clear()
        self._spoken.append(samples)
        if speech is not None:
            self._quiet_samples = self._quiet_samples + len(samples) if speech < CLOSE_BELOW else 0
        over = self._quiet_samples >= TAIL_SAMPLES or _total(self._spoken) >= LONGEST_SAMPLES
        return self.finish() if over else None

    def finish(self) -> Samples | None:
        """What is open, closed now: the audio has come to its end."""
        spoken, self._spoken, self._quiet_samples = self._spoken, [], 0
        return np.concatenate(spoken) if spoken else None

    def _remember(self, samples: Samples) -> None:
        self._lead.append(samples)
        while _total(self._lead) - len(self._lead[0]) >= LEAD_SAMPLES:
            self._lead.popleft()


class UtteranceSource(Source):
    """Yields what somebody says, as the answers of another source's voice detector tell.

    Give `hear` to the feeder of that source as a listener, and `finish` to call at its end. Its
    model answers {"speech": probability}. Answers may come in any order; frames without one
    (dropped, failed) are kept as audio.
    """

    live: ClassVar[bool] = True

    def __init__(self) -> None:
        self._utterance = Utterance()
        self._early: dict[int, Answer] = {}
        self._next = 0
        self._ready: deque[Frame] = deque()
        self._lost = 0
        self._ended = False
        self._changed = anyio.Event()

    @property
    def lost(self) -> int:
        """How many utterances nobody fetched in time."""
        return self._lost

    def hear(self, answer: Answer) -> None:
        """Take one answer of the voice detector. Never raises for what is in it."""
        self._early[answer.sequence] = answer
        while (turn := self._early.pop(self._next, None)) is not None:
            self._next += 1
            if turn.frame.gap:
                self._close(self._utterance.finish(), turn.frame.stamp_ns)
            self._close(
                self._utterance.hear(turn.frame.payload, _speech(turn)), turn.frame.stamp_ns
            )

    def finish(self) -> None:
        """The other source has ended: what is open is closed, and then there is no more."""
        self._close(self._utterance.finish(), None)
        self._ended = True
        self._changed.set()

    async def next_frame(self) -> Frame | None:
        """The next utterance: float32 (samples,) at 16 kHz, stamped with its last frame's time."""
        while not self._ready:
            if self._ended:
                return None
            self._changed = anyio.Event()
            await self._changed.wait()
        return self._ready.popleft()

    def _close(self, samples: Samples | None, stamp_ns: int | None) -> None:
        if samples is None:
            return
        if len(self._ready) >= WAITING:
            self._ready.popleft()
            self._lost += 1
        self._ready.append(Frame(samples, stamp_ns))
        self._changed.set()


def _speech(answer: Answer) -> float | None:
    if answer.outcome is not Outcome.COMPLETED or not isinstance(answer.result, Mapping):
        return None
    speech: Any = answer.result.get("speech")
    try:
        probability = float(speech)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(probability) else probability


def _total(pieces: deque[Samples] | list[Samples]) -> int:
    return sum(len(piece) for piece in pieces)
