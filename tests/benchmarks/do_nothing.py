"""An engine that does nothing: what is left is what Rota itself takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scheduler import EnginePlugin


class Nothing(EnginePlugin):
    """Answers each payload with itself."""

    def load(self) -> None:
        pass

    def infer(self, batch: Sequence[Any]) -> Sequence[Any]:
        return batch

    def unload(self) -> None:
        pass
