"""One open audio device: from PortAudio's thread to frames."""

from __future__ import annotations

import queue
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from scheduler.core.model import SECOND_NS
from scheduler.source.resample import BLOCK_SAMPLES, RATE_HZ, Blocks, Samples
from scheduler.source.source import Frame, SourceError

WAITING_CHUNKS = 64
"""2 s of audio may wait for the reader; what comes when there is more is lost, as a gap."""

LONGEST_FILL_S = 1.0
"""A gap up to this is filled with silence; after a longer one the stream starts afresh."""

_CARD_NUMBER = re.compile(r" \(hw:\d+,\d+\)$")


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one callback brought. `adc_s` is the device's time of the first sample, 0 if unknown."""

    samples: Samples
    adc_s: float
    heard_ns: int
    broken: bool


class Capture:
    """A device that is open and running. Made, read and closed in worker threads.

    `any_running` is true while there is one: starting PortAudio anew would close it.

    `interrupted` says that the same stream ran before and was lost: that is its first gap.
    """

    _running: ClassVar[set[Capture]] = set()

    def __init__(
        self,
        devices: Any,
        found: Any,
        *,
        interrupted: bool = False,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.gaps = int(interrupted)
        self.lost = 0
        self._chunks: queue.Queue[Chunk | None] = queue.Queue(WAITING_CHUNKS)
        self._error: Exception | None = None
        self._now_ns = now_ns
        self._overrun = False
        self._rate_hz = native_rate_hz(devices, found)
        self._blocks = Blocks(self._rate_hz)
        self._next_s = 0.0
        self._next_ns: int | None = None
        self._gap = interrupted
        self._stream = devices.InputStream(
            device=found["index"],
            channels=1,
            samplerate=self._rate_hz,
            dtype="float32",
            blocksize=round(BLOCK_SAMPLES * self._rate_hz / RATE_HZ),
            callback=self._heard,
        )
        self._stream.start()
        self._running.add(self)

    @classmethod
    def any_running(cls) -> bool:
        """Whether any device is open in this process."""
        return bool(cls._running)

    def take(self, timeout_s: float) -> Chunk | None:
        """The next chunk; None when none came in time.

        Raises:
            Exception: whatever the callback raised, which PortAudio would have swallowed.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._chunks.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def frames(self, chunk: Chunk) -> list[Frame]:
        """The blocks that are whole with this chunk, gaps filled and marked."""
        missing_s = chunk.adc_s - self._next_s if chunk.adc_s and self._next_s else 0.0
        length_s = len(chunk.samples) / self._rate_hz
        samples = chunk.samples
        if chunk.broken or missing_s > length_s / 2:
            self.gaps, self._gap = self.gaps + 1, True
            samples = self._bridge(samples, missing_s)
        if self._next_ns is None:
            self._next_ns = chunk.heard_ns - round(length_s * SECOND_NS)
        self._next_s = chunk.adc_s + length_s
        return [self._frame(block) for block in self._blocks.put(samples)]

    def close(self) -> None:
        """Stop the device and wake up whoever waits for a chunk."""
        self._running.discard(self)
        self._stream.close()
        if not self._chunks.full():
            self._chunks.put_nowait(None)

    def _bridge(self, samples: Samples, missing_s: float) -> Samples:
        if missing_s > LONGEST_FILL_S:
            self._blocks, self._next_ns = Blocks(self._rate_hz), None
            return samples
        silence = np.zeros(max(0, round(missing_s * self._rate_hz)), np.float32)
        return np.concatenate([silence, samples])

    def _frame(self, block: Samples) -> Frame:
        stamp_ns, gap = self._next_ns or 0, self._gap
        self._next_ns, self._gap = stamp_ns + BLOCK_SAMPLES * SECOND_NS // RATE_HZ, False
        return Frame(block, stamp_ns, gap=gap)

    def _heard(self, indata: Any, _frames: int, at: Any, status: Any) -> None:
        """Called by PortAudio: hand over, never wait, never touch the event loop."""
        try:
            chunk = Chunk(
                np.array(indata[:, 0], np.float32),
                float(at.inputBufferAdcTime),
                self._now_ns(),
                bool(status.input_overflow) or self._overrun,
            )
            self._overrun = self._chunks.full()
            if self._overrun:
                self.lost += 1
            else:
                self._chunks.put_nowait(chunk)
        except Exception as error:  # noqa: BLE001 - it would be lost in PortAudio's thread
            self._error = error


def find_device(devices: Any, name: str | None) -> Any | None:
    """The one input device of this name; without a name the system's default. None: not there.

    ALSA ends a name with the card's number, `(hw:1,0)`, which changes when it is plugged in again:
    it may be left out. `name, host API` tells devices apart that are on several host APIs.

    Raises:
        SourceError: more than one input device has this name.
    """
    if name is None:
        try:
            return devices.query_devices(kind="input")
        except (ValueError, devices.PortAudioError):
            return None
    inputs = [device for device in devices.query_devices() if device["max_input_channels"] > 0]
    found = [device for device in inputs if name in _names(devices, device)]
    if len(found) > 1:
        choices = "; ".join(max(_names(devices, device), key=len) for device in found)
        raise SourceError(
            f'microphone: {len(found)} devices are called "{name}"; name one: {choices}'
        )
    return found[0] if found else None


def lasting_name(device: Any) -> str:
    """The device's name without the card number that changes."""
    return _CARD_NUMBER.sub("", device["name"])


def native_rate_hz(devices: Any, found: Any) -> float:
    """16 kHz where the device takes it, or else its own rate."""
    try:
        devices.check_input_settings(
            device=found["index"], channels=1, dtype="float32", samplerate=RATE_HZ
        )
    except devices.PortAudioError:
        return float(found["default_samplerate"])
    return float(RATE_HZ)


def _names(devices: Any, device: Any) -> set[str]:
    api = devices.query_hostapis(device["hostapi"])["name"]
    plain = {device["name"], lasting_name(device)}
    return plain | {f"{name}, {api}" for name in plain}
