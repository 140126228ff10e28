"""The microphone with a stand-in for the module `sounddevice`; no real device is at hand."""

import time
from types import SimpleNamespace

import anyio
import numpy as np
import pytest
from anyio import to_thread

from scheduler.source.capture import WAITING_CHUNKS, Capture
from scheduler.source.microphone import Microphone
from scheduler.source.resample import BLOCK_SAMPLES, RATE_HZ
from scheduler.source.source import SourceError


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(autouse=True)
def every_device_is_closed():
    Capture._running.clear()


class PortAudioError(Exception):
    pass


class Devices:
    """Looks like sounddevice: devices by index, frozen until it is started anew."""

    PortAudioError = PortAudioError

    def __init__(self, *names, refused_hz=()):
        self.plugged = [device(name) for name in names]
        self.default = 0
        self.refused_hz = refused_hz
        self.restarts = 0
        self.streams = []
        self._initialize()

    def query_devices(self, kind=None):
        if kind is None:
            return self.listed
        if self.default is None or not self.listed:
            raise PortAudioError("Error querying device -1")
        return self.listed[self.default]

    def query_hostapis(self, index):
        return {"name": ("ALSA", "JACK")[index]}

    def check_input_settings(self, *, device, channels, dtype, samplerate):  # noqa: ARG002
        if samplerate in self.refused_hz:
            raise PortAudioError("Invalid sample rate")

    def InputStream(self, **options):  # noqa: N802 - sounddevice's name
        self.streams.append(Stream(**options))
        return self.streams[-1]

    def _terminate(self):
        self.listed = []

    def _initialize(self):
        self.restarts += 1
        self.listed = [{**found, "index": n} for n, found in enumerate(self.plugged)]


def device(name, *, inputs=1, hostapi=0, rate=48_000.0):
    return {
        "name": name,
        "hostapi": hostapi,
        "max_input_channels": inputs,
        "default_samplerate": rate,
    }


class Stream:
    def __init__(self, *, device, channels, samplerate, dtype, blocksize, callback):
        self.device, self.rate, self.blocksize, self.callback = (
            device,
            samplerate,
            blocksize,
            callback,
        )
        assert (channels, dtype) == (1, "float32")
        self.at_s = 100.0
        self.open = False
        self.tells_time = True

    def start(self):
        self.open = True

    def close(self):
        self.open = False

    def play(self, samples, *, overflow=False, skip_s=0.0):
        """Bring samples as PortAudio's thread does, in blocks; `skip_s` of them went missing."""
        for start in range(0, len(samples), self.blocksize):
            self.at_s += skip_s if start == 0 else 0
            self.callback(
                samples[start : start + self.blocksize, np.newaxis],
                self.blocksize,
                SimpleNamespace(inputBufferAdcTime=self.at_s if self.tells_time else 0),
                SimpleNamespace(input_overflow=overflow and start == 0),
            )
            self.at_s += self.blocksize / self.rate


def ramp(blocks):
    return np.repeat(np.arange(1, blocks + 1, dtype=np.float32) / 1000, BLOCK_SAMPLES)


def capture_of(devices, **options):
    return Capture(devices, devices.listed[0], **options)


def frames_of(capture):
    frames = []
    while not capture._chunks.empty():
        frames += capture.frames(capture.take(1))
    return frames


def test_blocks_are_stamped_by_the_device_from_their_first_sample():
    devices = Devices("USB Mic")
    capture = capture_of(devices, now_ns=lambda: 10_000_000_000)
    devices.streams[0].play(ramp(3))
    frames = frames_of(capture)
    assert [frame.payload[0] for frame in frames] == pytest.approx([0.001, 0.002, 0.003])
    assert [frame.stamp_ns // 1_000_000 for frame in frames] == [9968, 10_000, 10_032]
    assert not any(frame.gap for frame in frames)
    assert capture.gaps == 0


def test_an_overflow_is_marked_counted_and_filled_by_the_devices_clock():
    devices = Devices("USB Mic")
    capture = capture_of(devices, now_ns=lambda: 0)
    stream = devices.streams[0]
    stream.play(ramp(4))
    stream.play(ramp(2), overflow=True, skip_s=BLOCK_SAMPLES / RATE_HZ)
    frames = frames_of(capture)
    assert [frame.gap for frame in frames] == [False] * 4 + [True, False, False]
    assert not frames[4].payload.any()
    assert frames[5].payload[0] == pytest.approx(0.001)
    assert [frame.stamp_ns // 1_000_000 for frame in frames] == [n * 32 - 32 for n in range(7)]
    assert capture.gaps == 1


def test_an_overflow_without_a_time_is_marked_all_the_same():
    devices = Devices("USB Mic")
    capture = capture_of(devices)
    devices.streams[0].play(ramp(1))
    devices.streams[0].play(ramp(1), overflow=True)
    assert [frame.gap for frame in frames_of(capture)] == [False, True]


def test_after_a_long_gap_the_stream_starts_afresh():
    devices = Devices("USB Mic")
    now = [0]
    capture = capture_of(devices, now_ns=lambda: now[0])
    devices.streams[0].play(ramp(1))
    now[0] = 60_000_000_000
    devices.streams[0].play(ramp(1), skip_s=60.0)
    frames = frames_of(capture)
    assert [frame.gap for frame in frames] == [False, True]
    assert frames[1].stamp_ns == 60_000_000_000 - 32_000_000


def test_when_nobody_reads_the_loss_is_counted_and_shows_as_a_gap():
    devices = Devices("USB Mic")
    capture = capture_of(devices)
    stream = devices.streams[0]
    stream.play(ramp(WAITING_CHUNKS + 3))
    assert len(frames_of(capture)) == WAITING_CHUNKS
    stream.play(ramp(1))
    *_, last = frames = frames_of(capture)
    assert capture.lost == 3
    assert capture.gaps == 1
    assert [frame.gap for frame in frames] == [True, False, False, False]
    assert last.payload[0] == pytest.approx(0.001)


def test_a_loss_shows_as_a_gap_even_when_the_device_tells_no_time():
    devices = Devices("USB Mic")
    capture = capture_of(devices)
    stream = devices.streams[0]
    stream.tells_time = False
    stream.play(ramp(WAITING_CHUNKS + 1))
    frames_of(capture)
    stream.play(ramp(2))
    assert [frame.gap for frame in frames_of(capture)] == [True, False]


@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_a_device_that_refuses_16_khz_is_resampled(rate):
    devices = Devices("USB Mic", refused_hz=[RATE_HZ])
    devices.listed[0]["default_samplerate"] = float(rate)
    capture = capture_of(devices)
    stream = devices.streams[0]
    assert stream.rate == rate
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    stream.play(tone[: len(tone) // stream.blocksize * stream.blocksize])
    heard = np.concatenate([frame.payload for frame in frames_of(capture)])[2000:10_000]
    assert np.argmax(np.abs(np.fft.rfft(heard))) * RATE_HZ / len(heard) == 1000


async def test_the_device_is_found_by_name_and_not_by_place():
    devices = Devices("HDMI", "Webcam", "USB Mic: Audio (hw:1,0)")
    microphone = Microphone("USB Mic: Audio", devices=devices, silent_s=0.3, retry_s=0.01)
    async with playing(devices) as opened:
        await microphone.next_frame()
        assert opened[-1].device == 2
        devices.plugged = [device("HDMI"), device("Bluetooth"), device("Webcam")]
        devices.plugged.append(device("USB Mic: Audio (hw:2,0)"))
        opened[-1].silent = True
        with anyio.fail_after(10):
            frame = await next_gap(microphone)
        assert opened[-1].device == 3
        assert frame.gap
        assert microphone.gaps == 1
        assert not opened[0].open
    await microphone.aclose()
    assert not opened[-1].open


async def test_an_absent_device_is_waited_for_and_never_replaced(caplog):
    devices = Devices("HDMI", "Webcam")
    microphone = Microphone("USB Mic", devices=devices, silent_s=0.3, retry_s=0.01)
    async with playing(devices) as opened:
        with anyio.move_on_after(0.2) as waited:
            await microphone.next_frame()
        assert waited.cancelled_caught
        assert opened == []
        assert caplog.text.count("not there") == 1
        devices.plugged.append(device("USB Mic"))
        with anyio.fail_after(10):
            await microphone.next_frame()
        assert opened[-1].device == 2
    await microphone.aclose()


async def test_equal_names_are_an_error_that_says_how_to_tell_them_apart():
    devices = Devices("USB Mic", "USB Mic")
    devices.plugged[1]["hostapi"] = 1
    devices._initialize()
    with pytest.raises(SourceError, match="USB Mic, ALSA; USB Mic, JACK"):
        await Microphone("USB Mic", devices=devices).next_frame()
    microphone = Microphone("USB Mic, JACK", devices=devices)
    async with playing(devices) as opened:
        await microphone.next_frame()
        assert opened[-1].device == 1
    await microphone.aclose()


async def test_an_output_of_that_name_is_no_microphone():
    devices = Devices("USB Audio", "USB Audio")
    devices.plugged[0]["max_input_channels"] = 0
    devices._initialize()
    microphone = Microphone("USB Audio", devices=devices)
    async with playing(devices) as opened:
        await microphone.next_frame()
        assert opened[-1].device == 1
    await microphone.aclose()


async def test_the_default_is_chosen_once_and_then_kept_by_name():
    devices = Devices("USB Mic (hw:1,0)", "HDMI")
    microphone = Microphone(devices=devices, silent_s=0.3, retry_s=0.01)
    async with playing(devices) as opened:
        await microphone.next_frame()
        assert microphone.name == "USB Mic"
        devices.plugged = [device("HDMI"), device("USB Mic (hw:0,0)")]
        opened[-1].silent = True
        with anyio.fail_after(10):
            await next_gap(microphone)
        assert opened[-1].device == 1
    await microphone.aclose()


async def test_silence_of_the_callback_is_noticed_in_time(caplog):
    devices = Devices("USB Mic")
    microphone = Microphone("USB Mic", devices=devices, silent_s=0.3, retry_s=0.01)
    started = time.monotonic()
    with anyio.move_on_after(0.7):
        await microphone.next_frame()
    assert "is lost" in caplog.text
    assert devices.restarts > 1
    assert time.monotonic() - started < 5
    await microphone.aclose()


async def test_a_lost_microphone_does_not_take_another_one_with_it():
    devices = Devices("Left", "Right")
    left, right = (
        Microphone(name, devices=devices, silent_s=0.3, retry_s=0.01) for name in ("Left", "Right")
    )
    async with playing(devices) as opened:
        await left.next_frame()
        await right.next_frame()
        opened[0].silent = True
        with anyio.fail_after(10):
            await next_gap(left)
        assert devices.restarts == 1
        assert [stream.open for stream in opened] == [False, True, True]
    await left.aclose()
    await right.aclose()


async def test_an_error_in_the_callback_is_seen_and_the_device_opened_again(caplog):
    devices = Devices("USB Mic")
    microphone = Microphone("USB Mic", devices=devices, silent_s=0.3, retry_s=0.01)
    async with playing(devices) as opened:
        await microphone.next_frame()
        opened[-1].callback(None, 0, None, None)
        with anyio.fail_after(10):
            await next_gap(microphone)
    assert "the callback failed" in caplog.text
    assert len(opened) == 2
    await microphone.aclose()


async def test_a_callback_after_the_close_harms_nobody():
    devices = Devices("USB Mic")
    microphone = Microphone("USB Mic", devices=devices)
    async with playing(devices) as opened:
        await microphone.next_frame()
    await microphone.aclose()
    opened[0].play(ramp(WAITING_CHUNKS * 2))
    assert microphone.gaps == 0


async def test_without_portaudio_the_error_says_what_to_install():
    try:
        import sounddevice  # noqa: F401
    except OSError:
        with pytest.raises(SourceError, match="libportaudio2"):
            await Microphone("USB Mic").next_frame()
    else:
        assert Microphone("USB Mic")._module().InputStream


def playing(devices):
    return Player(devices)


class Player:
    """Plays a block to the newest open stream each few milliseconds, from a worker thread."""

    def __init__(self, devices):
        self.devices = devices

    async def __aenter__(self):
        self.group = anyio.create_task_group()
        await self.group.__aenter__()
        self.group.start_soon(self.play)
        return self.devices.streams

    async def __aexit__(self, *error):
        self.group.cancel_scope.cancel()
        await self.group.__aexit__(None, None, None)

    async def play(self):
        while True:
            for stream in [s for s in self.devices.streams if s.open]:
                if not getattr(stream, "silent", False):
                    await to_thread.run_sync(stream.play, ramp(1))
            await anyio.sleep(0.005)


async def next_gap(microphone):
    while True:
        frame = await microphone.next_frame()
        if frame.gap:
            return frame
