"""Moonshine on a real recording."""

import math
import threading
import wave
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from rota_audio import MoonshineEngine
from rota_audio.moonshine import TINY_EN
from scheduler.errors import BadInput, EngineError
from scheduler.plugin.engine import EngineContext
from scheduler.testing import check_engine

BECKETT = "Ever tried, ever failed, no matter, try again, fail again, fail better."


@pytest.fixture(scope="module")
def engine():
    engine = MoonshineEngine(MoonshineEngine.Options(), EngineContext())
    engine.load()
    engine.warm_up()
    yield engine
    engine.unload()


@pytest.fixture(scope="module")
def beckett():
    path = distribution("moonshine-voice").locate_file("moonshine_voice/assets/beckett.wav")
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def text(engine, samples):
    (result,) = engine.infer([samples])
    return result["text"]


def test_it_conforms():
    assert check_engine(MoonshineEngine, {"max_seconds": 1.0}) == ()


def test_beckett_is_transcribed(engine, beckett):
    (result,) = engine.infer([beckett])
    assert result == {"text": BECKETT, "seconds": len(beckett) / 16_000, "complete": True}


def test_float32_is_the_same(engine, beckett):
    assert text(engine, beckett.astype(np.float32) / 32768) == BECKETT


@pytest.mark.parametrize("arena", ["off", "shrink"])
def test_the_arena_changes_memory_not_text(arena, beckett):
    engine = MoonshineEngine(MoonshineEngine.Options(arena=arena, threads=2), EngineContext())
    engine.load()
    assert text(engine, beckett) == BECKETT
    engine.unload()


def test_the_start_of_the_recording_gives_the_start_of_the_text(engine, beckett):
    assert text(engine, beckett[:56_000]) == "Ever tried, ever failed."


def test_utterances_of_a_batch_do_not_mix(engine, beckett):
    silence, short = np.zeros(8_000, np.float32), beckett[: 3 * 16_000]
    alone = [text(engine, samples) for samples in (short, silence, beckett)]
    batch = engine.infer([short, silence, None, beckett])
    assert isinstance(batch.pop(2), BadInput)
    assert [result["text"] for result in batch] == alone


def test_the_text_stops_at_six_and_a_half_tokens_a_second(engine, beckett, monkeypatch):
    """Speech at three times its speed sends the model round in circles."""
    decode, made = engine._decoder.decode, []

    def counting(*inputs, **limits):
        made.append(decode(*inputs, **limits))
        return made[0]

    monkeypatch.setattr(engine._decoder, "decode", counting)
    (result,) = engine.infer([beckett[::3].copy()])
    assert not result["complete"]
    assert len(made[0][0]) == math.ceil(result["seconds"] * 6.5)


def test_a_recording_is_taken_from_the_first_to_the_last_length(engine):
    shortest, longest = engine.infer([np.zeros(1_600, np.float32), np.zeros(480_000, np.float32)])
    assert (shortest["seconds"], longest["seconds"]) == (0.1, 30.0)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (None, "NoneType"),
        (b"", "bytes"),
        (np.zeros(0, np.float32), "0.1 to 30 s"),
        (np.zeros(1_599, np.float32), "0.1 to 30 s"),
        (np.zeros(480_001, np.int16), "0.1 to 30 s"),
        (np.full(16_000, np.nan, np.float32), "NaN"),
        (np.append(np.zeros(16_000), np.inf).astype(np.float32), "1 of 16001"),
        (np.zeros((16_000, 2), np.float32), "mono"),
        (np.zeros(16_000), "float64"),
        (np.full(16_000, 12_000, np.float32), "12000"),
    ],
)
def test_bad_utterances_are_refused_in_words(engine, payload, words):
    (refusal,) = engine.infer([payload])
    assert isinstance(refusal, BadInput)
    assert words in str(refusal)


def test_the_longest_utterance_is_an_option(beckett):
    engine = MoonshineEngine(MoonshineEngine.Options(max_seconds=5), EngineContext())
    engine.load()
    (refusal,) = engine.infer([beckett])
    assert "9.96 s" in str(refusal)
    assert "0.1 to 5 s" in str(refusal)
    assert engine.example().size == 5 * 16_000


@pytest.mark.parametrize("max_seconds", [0.05, 65, float("nan"), "long"])
def test_max_seconds_has_limits(max_seconds):
    with pytest.raises(ValidationError, match="max_seconds"):
        MoonshineEngine.Options(max_seconds=max_seconds)


def test_mapped_weights_are_refused_before_they_fail():
    with pytest.raises(ValidationError, match="write weights: copied"):
        MoonshineEngine.Options(weights="mapped")


def test_a_cancel_ends_the_transcription_between_two_tokens(engine, beckett, monkeypatch):
    """Cancelled while the third token is made: there is no fourth, and the next run is whole."""
    session = engine._decoder.session
    run, calls = session.run, []

    def cancelling(inputs):
        calls.append(inputs)
        if len(calls) == 3:
            canceller = threading.Thread(target=engine.cancel)
            canceller.start()
            canceller.join()
        return run(inputs)

    monkeypatch.setattr(session, "run", cancelling)
    with pytest.raises(EngineError, match="cancelled"):
        engine.infer([beckett])
    assert len(calls) == 3
    monkeypatch.undo()
    assert text(engine, beckett) == BECKETT


def test_files_that_do_not_belong_together_are_told(tmp_path):
    cut_off = tmp_path / "tokenizer.bin"
    whole = distribution("moonshine-voice").locate_file("moonshine_voice/assets/tiny-en")
    data = Path(str(whole), "tokenizer.bin").read_bytes()
    cut_off.write_bytes(data[:-1])
    cases = {
        "is not Moonshine's encoder": {"encoder": TINY_EN + "decoder_model_merged.ort"},
        "is not Moonshine's merged decoder": {"decoder": TINY_EN + "encoder_model.ort"},
        "the file is cut off": {"tokenizer": str(cut_off)},
    }
    for words, options in cases.items():
        engine = MoonshineEngine(MoonshineEngine.Options(**options), EngineContext())
        with pytest.raises(EngineError, match=words):
            engine.load()
        engine.unload()
    cut_off.write_bytes(data[:259])
    engine = MoonshineEngine(MoonshineEngine.Options(tokenizer=str(cut_off)), EngineContext())
    with pytest.raises(EngineError, match="tokens, the decoder 32768"):
        engine.load()


def test_a_run_before_load_is_told(beckett):
    engine = MoonshineEngine(MoonshineEngine.Options(), EngineContext())
    with pytest.raises(EngineError, match=r"call load\(\) first"):
        engine.infer([beckett])
    engine.cancel()
