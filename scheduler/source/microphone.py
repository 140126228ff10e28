"""Live audio from a microphone, through PortAudio."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, ClassVar

import anyio
from anyio import to_thread

from scheduler.source.capture import Capture, find_device, lasting_name
from scheduler.source.resample import after_gap
from scheduler.source.source import Frame, Source, SourceError

_log = logging.getLogger(__name__)

SILENT_S = 1.0
"""A device whose callback has not come for this long is gone: PortAudio does not tell."""

RETRY_S = 1.0
"""How often to look whether the device has come back."""


class Microphone(Source):
    """Blocks of 512 mono float32 samples at 16 kHz from the device called `name`.

    The device is looked for by its exact name (or `name, host API`) each time it is opened, never
    by its number, which moves when something is plugged in. While it is absent the source waits
    for it. Without a name the system's default input is taken once, and from then on by its own
    name. A device that refuses 16 kHz runs at its own rate and is resampled.

    When PortAudio reports an overflow, or the device's clock jumps, the gap is filled with silence
    by that clock, the first frame after it has `gap` set, and `gaps` counts it. A device that
    brings nothing for a second is closed, PortAudio is started anew and the device looked for
    again. While another microphone of this process runs that cannot be done: what was plugged in
    since PortAudio started is then not seen.

    `devices` stands in for the module `sounddevice`, which is imported when first needed. Tried
    with such stand-ins only: no real microphone was at hand.
    """

    live: ClassVar[bool] = True

    def __init__(
        self,
        name: str | None = None,
        *,
        devices: Any = None,
        silent_s: float = SILENT_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self.name = name
        self._past_gaps = 0
        self._past_lost = 0
        self._devices = devices
        self._silent_s = silent_s
        self._retry_s = retry_s
        self._capture: Capture | None = None
        self._ready: deque[Frame] = deque()
        self._interrupted = False

    @property
    def gaps(self) -> int:
        """How often audio was missing."""
        return self._past_gaps + (self._capture.gaps if self._capture else 0)

    @property
    def lost(self) -> int:
        """How many of the device's blocks were thrown away because nobody fetched them."""
        return self._past_lost + (self._capture.lost if self._capture else 0)

    def marked(self, payload: Any) -> Any:
        """The block with its gap told."""
        return after_gap(payload)

    async def next_frame(self) -> Frame:
        """The next block, stamped with the monotonic time of its first sample.

        Raises:
            SourceError: PortAudio is missing, or several devices have this name.
        """
        while not self._ready:
            capture = self._capture or await self._wait_for_device()
            try:
                chunk = await to_thread.run_sync(
                    capture.take, self._silent_s, abandon_on_cancel=True
                )
            except Exception:  # noqa: BLE001 - whatever the callback raised
                _log.exception("microphone %s: the callback failed", self.name)
                chunk = None
            if chunk is None:
                await self._lose()
            else:
                self._ready.extend(capture.frames(chunk))
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Close the device."""
        capture, self._capture = self._capture, None
        if capture is not None:
            self._past_gaps, self._past_lost = (
                self._past_gaps + capture.gaps,
                self._past_lost + capture.lost,
            )
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(capture.close)

    async def _wait_for_device(self) -> Capture:
        said = False
        while (capture := await to_thread.run_sync(self._open)) is None:
            if not said:
                _log.warning("microphone %s is not there; waiting for it", self.name or "(default)")
            said = True
            await anyio.sleep(self._retry_s)
            await to_thread.run_sync(self._restart_portaudio)
        self._capture = capture
        return capture

    async def _lose(self) -> None:
        _log.warning("microphone %s is lost: no audio for %s s", self.name, self._silent_s)
        await self.aclose()
        self._interrupted = True
        await to_thread.run_sync(self._restart_portaudio)

    def _open(self) -> Capture | None:
        devices = self._module()
        found = find_device(devices, self.name)
        if found is None:
            return None
        self.name = self.name or lasting_name(found)
        try:
            return Capture(devices, found, interrupted=self._interrupted)
        except devices.PortAudioError as error:
            _log.warning("microphone %s cannot be opened: %s", self.name, error)
            return None

    def _module(self) -> Any:
        if self._devices is None:
            try:
                import sounddevice  # noqa: PLC0415 - fails at import without PortAudio
            except (ImportError, OSError) as error:
                raise SourceError(
                    f"microphone: {error}; install the extra rota[microphone] and PortAudio "
                    "(Debian: libportaudio2)"
                ) from error
            self._devices = sounddevice
        return self._devices

    def _restart_portaudio(self) -> None:
        """PortAudio lists devices once; only starting it anew shows what was plugged in since.

        sounddevice has no public call for this. It would close every other microphone of this
        process, so while one runs the list stays as it is.
        """
        if not Capture.any_running():
            devices = self._module()
            devices._terminate()  # noqa: SLF001
            devices._initialize()  # noqa: SLF001
