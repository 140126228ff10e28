"""Several requests in one run, where the model allows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from rota_onnxruntime.tensor import Array, TensorSpec, read_payload
from scheduler.errors import BadInput

Inputs = Mapping[str, Array]


class Session(Protocol):
    """A model in memory that runs one set of inputs at a time, on any library."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """What it takes."""

    def run(self, inputs: Inputs, *, items: int = 1) -> dict[str, Array]:
        """Answer one set, which is `items` requests. Raises `BadInput` for one it does not take."""


def run_alone(session: Session, payloads: Sequence[Inputs]) -> list[Any]:
    """Run one after the other; one that the model does not take has a `BadInput` for its result."""
    return [_run_one(session, payload) for payload in payloads]


def _run_one(session: Session, payload: Inputs) -> dict[str, Array] | BadInput:
    try:
        return session.run(read_payload(payload, session.inputs))
    except BadInput as error:
        return error


def run_stacked(session: Session, payloads: Sequence[Inputs]) -> list[dict[str, Array]] | None:
    """Run all at once and give each its rows, or return None where that cannot be done."""
    if len(payloads) < 2 or not _alike(payloads):  # noqa: PLR2004 - one alone needs no stack
        return None
    rows = [_rows(payload) for payload in payloads]
    if None in rows or not _takes(session, total := sum(row or 0 for row in rows)):
        return None
    stacked = {
        name: np.concatenate([payload[name] for payload in payloads]) for name in payloads[0]
    }
    try:
        outputs = session.run(stacked, items=len(payloads))
    except BadInput:
        return None
    if any(value.ndim == 0 or len(value) != total for value in outputs.values()):
        return None
    edges = np.cumsum([0, *rows])
    return [
        {name: value[start:end].copy() for name, value in outputs.items()}
        for start, end in pairwise(edges)
    ]


def _rows(payload: Inputs) -> int | None:
    """Return the number of rows that all inputs of a payload have, or None."""
    counts = {len(value) if value.ndim else None for value in payload.values()}
    return counts.pop() if len(counts) == 1 else None


def _alike(payloads: Sequence[Inputs]) -> bool:
    """Whether the payloads differ in their rows alone."""
    first = payloads[0]
    return all(
        value.ndim == first[name].ndim and value.shape[1:] == first[name].shape[1:]
        for payload in payloads
        for name, value in payload.items()
    )


def _takes(session: Session, rows: int) -> bool:
    return all(spec.shape and spec.rows in (None, rows) for spec in session.inputs)
