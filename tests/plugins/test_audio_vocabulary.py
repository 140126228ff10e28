"""Moonshine's vocabulary file: read back what was written, and refuse the rest in words."""

import contextlib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota_audio.vocabulary import join_tokens, read_vocabulary
from scheduler.errors import EngineError

LONG_TOKENS = st.integers(100, 400).map(lambda length: b"x" * length)
TOKENS = st.lists(st.binary(max_size=20) | LONG_TOKENS, min_size=1, max_size=20)


def write_vocabulary(tokens):
    data = b""
    for token in tokens:
        length = len(token)
        data += bytes([length] if length < 128 else [length % 128 + 128, length // 128])
        data += token
    return data


@given(TOKENS)
def test_what_is_written_is_read(tokens):
    assert read_vocabulary(write_vocabulary(tokens)) == tokens


@given(TOKENS.filter(lambda tokens: tokens[-1]))
def test_a_file_cut_off_inside_a_token_is_refused(tokens):
    data = write_vocabulary(tokens)
    for cut in range(1, len(tokens[-1]) + 1):
        with pytest.raises(EngineError, match="cut off"):
            read_vocabulary(data[:-cut])


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_vocabulary_or_refused(data):
    with contextlib.suppress(EngineError):
        tokens = read_vocabulary(data)
        assert sum(len(token) for token in tokens) < len(data)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 129, 255, 256, 16_383])
def test_the_length_of_a_token_takes_one_byte_or_two(length):
    assert read_vocabulary(write_vocabulary([b"x" * length, b"y"])) == [b"x" * length, b"y"]


def test_an_empty_file_is_refused():
    with pytest.raises(EngineError, match="empty"):
        read_vocabulary(b"")


@pytest.mark.parametrize("half", [b"\x80", b"\x85"])
def test_a_length_cut_in_half_is_refused(half):
    with pytest.raises(EngineError, match="token 1"):
        read_vocabulary(b"\x01a" + half)


def test_tokens_become_text():
    vocabulary = [
        b"<unk>",
        b"<s>",
        b"</s>",
        "▁Ever".encode(),
        b",",
        "▁tried".encode(),
        b"<",
        b"\xc3",
    ]
    assert join_tokens(vocabulary, [1, 3, 5, 4, 2]) == "Ever tried,"
    assert join_tokens(vocabulary, [6, 5]) == "< tried"
    assert join_tokens(vocabulary, [7]) == "\N{REPLACEMENT CHARACTER}"
    assert join_tokens(vocabulary, []) == ""


def test_the_real_file_is_read_whole():
    found = distribution("moonshine-voice").locate_file("moonshine_voice/assets/tiny-en")
    vocabulary = read_vocabulary(Path(str(found), "tokenizer.bin").read_bytes())
    assert len(vocabulary) == 32_768
    assert vocabulary[:3] == [b"<unk>", b"<s>", b"</s>"]
