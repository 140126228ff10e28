"""Silero VAD on real speech, real silence and made-up noise."""

import subprocess
import sys
import wave
from importlib.metadata import distribution

import numpy as np
import pytest
from pydantic import ValidationError

from rota_audio import SileroVadEngine
from rota_audio.samples import LOUDEST
from rota_audio.silero_vad import FRAME_SAMPLES
from scheduler.errors import BadInput, EngineError
from scheduler.plugin.engine import EngineContext
from scheduler.testing import check_engine

SAMPLES_PER_SECOND = 16_000


@pytest.fixture(scope="module")
def engine():
    engine = SileroVadEngine(SileroVadEngine.Options(), EngineContext())
    engine.load()
    engine.warm_up()
    yield engine
    engine.unload()


@pytest.fixture(scope="module")
def beckett():
    path = distribution("moonshine-voice").locate_file("moonshine_voice/assets/beckett.wav")
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels()) == (SAMPLES_PER_SECOND, 1)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def frames(samples):
    whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
    return list(samples[:whole].reshape(-1, FRAME_SAMPLES))


def probabilities(engine, samples):
    """From a fresh start."""
    first, *others = frames(samples)
    results = engine.infer([{"samples": first, "gap": True}, *others])
    return np.array([result["speech"] for result in results])


def seconds(count):
    return np.arange(count * SAMPLES_PER_SECOND, dtype=np.float32) / SAMPLES_PER_SECOND


def test_it_conforms():
    assert check_engine(SileroVadEngine, {}) == ()


def test_speech_is_heard_and_the_pauses_in_it(engine, beckett):
    heard = probabilities(engine, beckett)
    assert heard.max() > 0.99
    assert 0.3 < (heard > 0.5).mean() < 0.7
    assert (heard < 0.1).mean() > 0.3


def test_silence_and_noise_are_not_speech(engine):
    generator = np.random.default_rng(seed=1)
    noise = generator.normal(0, 0.1, 4 * SAMPLES_PER_SECOND).astype(np.float32)
    assert probabilities(engine, np.zeros(4 * SAMPLES_PER_SECOND, np.float32)).max() < 0.1
    assert probabilities(engine, noise).max() < 0.1


@pytest.mark.parametrize("frequency_hz", [50, 440, 1000, 3000])
def test_tones_are_not_speech(engine, frequency_hz):
    tone = 0.5 * np.sin(2 * np.pi * frequency_hz * seconds(4)).astype(np.float32)
    assert probabilities(engine, tone).max() < 0.1


def test_the_state_and_the_context_are_those_of_the_models_own_loop(engine, beckett):
    """The wheel's other export of the same network, run as silero-vad's OnnxWrapper runs it."""
    import onnxruntime

    path = distribution("silero-vad").locate_file("silero_vad/data/silero_vad_16k_op15.onnx")
    session = onnxruntime.InferenceSession(str(path))
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32)
    expected = []
    for frame in frames(beckett[: 3 * SAMPLES_PER_SECOND]):
        samples = frame.astype(np.float32) / 32768
        heard = np.concatenate([context, samples])[None]
        inputs = {"input": heard, "state": state, "sr": np.array(16_000)}
        output, state = session.run(None, inputs)
        context = samples[-64:]
        expected.append(output[0, 0])
    given = probabilities(engine, beckett[: 3 * SAMPLES_PER_SECOND])
    np.testing.assert_allclose(given, expected, atol=1e-4)


def test_int16_and_float32_are_the_same(engine, beckett):
    as_float = beckett.astype(np.float32) / 32768
    np.testing.assert_array_equal(probabilities(engine, beckett), probabilities(engine, as_float))


def test_what_was_heard_is_carried_from_call_to_call(engine, beckett):
    """One batch and single calls agree, and a fresh start does not."""
    speech = beckett[SAMPLES_PER_SECOND : 2 * SAMPLES_PER_SECOND]
    together = probabilities(engine, speech)
    first, *others = frames(speech)
    single = [engine.infer([{"samples": first, "gap": True}])[0]["speech"]]
    single += [engine.infer([frame])[0]["speech"] for frame in others]
    np.testing.assert_array_equal(together, single)
    fresh = [engine.infer([{"samples": f, "gap": True}])[0]["speech"] for f in frames(speech)]
    assert np.abs(together - fresh).max() > 0.1


def test_a_gap_forgets_what_was_heard_before(engine, beckett):
    frame = frames(beckett)[20]
    probabilities(engine, np.zeros(FRAME_SAMPLES, np.float32))
    quiet_before = engine.infer([{"samples": frame, "gap": True}])[0]
    probabilities(engine, beckett[: 2 * SAMPLES_PER_SECOND])
    speech_before = engine.infer([{"samples": frame, "gap": True}])[0]
    assert quiet_before == speech_before


def test_a_refused_frame_changes_nothing(engine, beckett):
    speech = frames(beckett)[20:40]
    expected = probabilities(engine, np.concatenate(speech))
    nan = np.full(FRAME_SAMPLES, np.nan, np.float32)
    given = [engine.infer([{"samples": speech[0], "gap": True}])[0]["speech"]]
    for frame in speech[1:]:
        refused, result = engine.infer([{"samples": nan, "gap": True}, frame])
        assert isinstance(refused, BadInput)
        given.append(result["speech"])
    np.testing.assert_array_equal(given, expected)


def test_the_callers_buffer_may_be_used_again(engine, beckett):
    """A source that fills one buffer over and over must not change the remembered context."""
    speech = frames(beckett)[20:30]
    expected = probabilities(engine, np.concatenate(speech))
    buffer = (speech[0] / np.float32(32768)).astype(np.float32)
    given = [engine.infer([{"samples": buffer, "gap": True}])[0]["speech"]]
    for frame in speech[1:]:
        buffer[:] = frame / np.float32(32768)
        given.append(engine.infer([buffer])[0]["speech"])
    np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (None, "NoneType"),
        (b"", "bytes"),
        ([0.0] * 512, "list"),
        (np.zeros(511, np.float32), "511 samples"),
        (np.zeros(0, np.float32), "0 samples"),
        (np.zeros((1, 512), np.float32), "mono"),
        (np.zeros(512), "float64"),
        (np.zeros(512, np.uint8), "uint8"),
        (np.zeros(512, ">f4"), ">f4"),
        (np.full(512, np.inf, np.float32), "512 of 512"),
        (np.full(512, 3000, np.float32), "3000"),
        (np.full(512, LOUDEST * 1.01, np.float32), "-1..1"),
        ({"samples": np.zeros(512, np.float32), "gap": 1}, "gap"),
        ({"sample": np.zeros(512, np.float32)}, "sample"),
        ({"samples": np.zeros(512, np.float32), "gab": True}, "gab"),
        ({}, "give samples"),
    ],
)
def test_bad_frames_are_refused_in_words(engine, payload, words):
    (refusal,) = engine.infer([payload])
    assert isinstance(refusal, BadInput)
    assert words in str(refusal)


def test_another_model_is_refused_at_load():
    other = "silero-vad:silero_vad/data/silero_vad_16k_op15.onnx"
    engine = SileroVadEngine(SileroVadEngine.Options(model=other), EngineContext())
    with pytest.raises(EngineError, match="is not Silero VAD for 16 kHz"):
        engine.load()
    engine.unload()


def test_a_run_before_load_is_told():
    engine = SileroVadEngine(SileroVadEngine.Options(), EngineContext())
    with pytest.raises(EngineError, match=r"call load\(\) first"):
        engine.infer([engine.example()])


def test_a_missing_model_is_an_option_error():
    with pytest.raises(ValidationError, match="has no such file inside"):
        SileroVadEngine.Options(model="silero-vad:silero_vad/data/none.onnx")


def test_the_module_is_light_and_silero_vad_is_never_imported():
    code = """
import sys
import rota_audio, rota_slam
assert not {"onnxruntime", "kiss_icp"} & set(sys.modules), "heavy imports belong in load()"
from scheduler.plugin.engine import EngineContext
engine = rota_audio.SileroVadEngine(rota_audio.SileroVadEngine.Options(), EngineContext())
engine.load()
assert not {"silero_vad", "torch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
