from __future__ import annotations

import sys
import wave
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from scheduler.config.source import Origin, OriginKind
from scheduler.sim.medium import Medium, medium
from scheduler.source.arrivals import Schedule
from scheduler.source.lidar import lidar_frames
from scheduler.source.recording import Recording
from scheduler.source.source import SourceError
from scheduler.source.wav import wav_frames

MS_NS = 1_000_000


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """1.03 s of silence at 44.1 kHz: 32.2 blocks."""
    path = tmp_path / "quiet.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(44_100)
        sound.writeframes(bytes(2 * 45_423))
    return path


@pytest.fixture
def lidar(tmp_path: Path) -> Path:
    """Four scans at uneven times."""
    path = tmp_path / "scans.npz"
    stamps = np.array([1_000, 1_700, 2_000, 2_900]) * 1000
    np.savez(path, ranges=np.ones((4, 8)), aperture=3.1, stamp=stamps)
    return path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """12 frames at 25 Hz."""
    import cv2

    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (32, 32))
    for _ in range(12):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.release()
    return path


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


@pytest.mark.parametrize(("passes", "count"), [("one", 4), ("many", 11)])
async def test_scans_come_at_the_times_of_the_real_recording(
    lidar: Path, passes: str, count: int
) -> None:
    loop = passes == "many"
    recording = Recording(partial(lidar_frames, lidar), name="scans", loop=loop)
    frames = [await recording.next_frame() for _ in range(count)]
    really = [frame.stamp_ns for frame in frames if frame is not None]
    assert loop or await recording.next_frame() is None
    await recording.aclose()
    scans = medium(Origin(OriginKind.LIDAR, path=lidar))
    assert list(islice(scans.due_times(None, loop=loop), 11)) == really
    assert len(really) == count


def test_sound_has_as_many_blocks_as_the_real_player_makes(wav: Path) -> None:
    really = [frame.stamp_ns for frame in wav_frames(wav)]
    sound = medium(Origin(OriginKind.WAV, path=wav))
    assert list(sound.due_times(None, loop=False)) == really
    assert len(really) == 33


def test_a_film_says_how_fast_and_how_long_it_is(film: Path) -> None:
    known = medium(Origin(OriginKind.VIDEO, path=film))
    assert (known.rate_hz, known.frames, known.assumed) == (25.0, 12, "")
    assert list(known.due_times(None, loop=False)) == [n * 40 * MS_NS for n in range(12)]


def test_a_rate_of_the_source_s_own_goes_before_the_recording_s(film: Path) -> None:
    known = medium(Origin(OriginKind.VIDEO, path=film))
    assert list(known.due_times(Schedule(10.0), loop=False)) == [n * 100 * MS_NS for n in range(12)]
    assert len(list(islice(known.due_times(Schedule(10.0), loop=True), 100))) == 100


def test_pictures_are_counted_and_need_a_rate(tmp_path: Path) -> None:
    for name in ("a.png", "b.JPG", "notes.txt"):
        (tmp_path / name).touch()
    folder = medium(Origin(OriginKind.IMAGES, path=tmp_path))
    assert list(folder.due_times(Schedule(1.0), loop=False)) == [0, 1000 * MS_NS]
    assert len(list(folder.count(loop=False))) == 2
    with pytest.raises(SourceError, match="give the source a rate"):
        folder.due_times(None, loop=False)


def test_one_picture_is_one_frame(tmp_path: Path) -> None:
    assert medium(Origin(OriginKind.IMAGES, path=tmp_path / "a.png")).frames == 1


@pytest.mark.parametrize(
    ("kind", "library", "rate_hz", "said"),
    [
        (OriginKind.VIDEO, "cv2", 30.0, "OpenCV is not installed: assuming x has 30 Hz, no end"),
        (OriginKind.WAV, "soundfile", 31.25, "soundfile is not installed: assuming x has no end"),
    ],
)
def test_without_the_library_usual_figures_are_assumed_and_said(
    kind: OriginKind, library: str, rate_hz: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert medium(Origin(kind, path=Path("x"))) == Medium(rate_hz, assumed=said)


@pytest.mark.parametrize("kind", [OriginKind.VIDEO, OriginKind.WAV, OriginKind.LIDAR])
def test_a_file_of_another_kind_is_an_error_that_names_it(kind: OriginKind, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no recording")
    with pytest.raises(SourceError, match=r"notes\.txt"):
        medium(Origin(kind, path=path))


def test_what_is_no_recording_is_refused() -> None:
    with pytest.raises(ValueError, match="microphone is no recording"):
        medium(Origin(OriginKind.MICROPHONE))
