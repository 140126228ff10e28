"""Moonshine's `tokenizer.bin`: the bytes of each token, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scheduler.errors import EngineError

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""Stands for a space inside tokens (SentencePiece's mark)."""

LONG = 0x80
"""The lowest length that takes two bytes."""


def read_vocabulary(data: bytes) -> list[bytes]:
    """Read every token's bytes.

    Each token is its length and then its bytes. A length under 128 takes one byte; a longer one
    takes two, low seven bits first, the first with its high bit set (`bin-tokenizer.cpp` in the
    Moonshine repository; no Python library reads this).

    Raises:
        EngineError: the data is empty or ends inside a token.
    """
    tokens: list[bytes] = []
    at = 0
    while at < len(data):
        length, start = _read_length(data, at)
        if start + length > len(data):
            raise EngineError(
                f"the vocabulary ends inside token {len(tokens)}: {length} bytes announced at "
                f"{at}, {max(len(data) - start, 0)} are there; the file is cut off"
            )
        tokens.append(data[start : start + length])
        at = start + length
    if not tokens:
        raise EngineError("the vocabulary is empty; give Moonshine's tokenizer.bin")
    return tokens


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    """The length announced at `at`, and where the bytes begin."""
    first = data[at]
    if first < LONG:
        return first, at + 1
    second = data[at + 1] if at + 1 < len(data) else 0
    return second * LONG + first - LONG, at + 2


def join_tokens(vocabulary: Sequence[bytes], tokens: Iterable[int]) -> str:
    """The text of `tokens`, without special ones such as `</s>` and without space around it."""
    pieces = (vocabulary[token] for token in tokens)
    text = b"".join(piece for piece in pieces if not _is_special(piece))
    return text.decode(errors="replace").replace(SPACE, " ").strip()


def _is_special(piece: bytes) -> bool:
    return piece.startswith(b"<") and piece.endswith(b">") and piece != b"<>"
