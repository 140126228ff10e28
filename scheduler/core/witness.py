"""Somebody who listens while room is made: what was weighed, and which rule spared an engine.

Nothing is made for a witness that is not there, and one that is there changes nothing: it is how a
recorded run is explained when it is decided again.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from scheduler.core.amounts import Amounts
    from scheduler.core.claim import Claimant
    from scheduler.core.engine import Engine
    from scheduler.core.policy import Candidate


class Rule(str, Enum):
    """Why an engine in memory is not asked to go for a claimant."""

    PINNED = "pinned"
    NEEDED = "needed"
    """Somebody earlier in the order wants it."""
    CONDEMNED = "condemned"
    LEAVING = "leaving"
    """The mode sends it away in any case."""
    JUST_LOADED = "just_loaded"
    WOULD_WIN_BACK = "would_win_back"
    HAS_CUSTOMERS = "has_customers"
    BETTER_LATER = "better_later"


class Witness(Protocol):
    """Told of each look for victims, in the order of looking: idle engines, running, held ones.

    A look that does not suffice is followed by the next, which tells everything again.
    """

    def spared(self, who: Claimant, engine: Engine, rule: Rule) -> None:
        """`rule` keeps `engine`, which is ready, from being unloaded for `who`."""

    def weighed(
        self,
        who: Claimant,
        candidates: Sequence[Candidate],
        deficits: Amounts,
        rivals: tuple[Engine, ...],
        chosen: tuple[str, ...] | None,
    ) -> None:
        """Of `candidates`, `chosen` are to go to cover `deficits` (bytes per pool).

        None: all of them together do not suffice. `rivals` have to go besides, for they share an
        exclusive group with what is to come; `deficits` are what is missing without them.
        """

    def deferred(self, who: Claimant, instead: tuple[str, ...]) -> None:
        """Nobody goes yet of those just chosen: `who` waits for `instead`, which cost less."""
