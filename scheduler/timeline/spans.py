"""Stretches of time on one lane, merged where they are too close together to be told apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LIMIT = 20_000
"""So many are kept; beyond it neighbours are merged, which bounds the memory of a long run."""


@dataclass(frozen=True, slots=True)
class Span:
    """From `start_ns` to `end_ns`; `count` stretches in it were busy for `busy_ns` in all."""

    start_ns: int
    end_ns: int
    count: int = 1
    busy_ns: int = 0
    note: str = ""

    @property
    def busy_share(self) -> float:
        """How much of the span its stretches fill, 0..1."""
        length_ns = self.end_ns - self.start_ns
        return min(1.0, self.busy_ns / length_ns) if length_ns else 1.0

    def joined(self, other: Span) -> Span:
        """Both in one, with the gap between them."""
        return Span(
            min(self.start_ns, other.start_ns),
            max(self.end_ns, other.end_ns),
            self.count + other.count,
            self.busy_ns + other.busy_ns,
        )


class Spans:
    """Spans in the order in which they were added, at most `limit`."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._spans: list[Span] = []
        self._gap_ns = 0

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def copy(self) -> Spans:
        """Another of the same, to go on with."""
        twin = Spans(self._limit)
        twin._spans, twin._gap_ns = self._spans.copy(), self._gap_ns
        return twin

    def add(self, start_ns: int, end_ns: int, note: str = "") -> None:
        """Add a stretch that is busy all the time."""
        self._spans.append(Span(start_ns, end_ns, 1, end_ns - start_ns, note))
        while len(self._spans) > self._limit:
            self._gap_ns = max(1_000, self._gap_ns * 2)
            self._spans = list(merged(self._spans, self._gap_ns))


def merged(spans: Iterable[Span], gap_ns: float) -> Iterator[Span]:
    """The spans, with those joined that lie less than `gap_ns` apart."""
    held: Span | None = None
    for span in spans:
        if held is not None and span.start_ns - held.end_ns < gap_ns:
            held = held.joined(span)
            continue
        if held is not None:
            yield held
        held = span
    if held is not None:
        yield held
