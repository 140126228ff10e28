"""The memory of one pass over the queue: what is free, what is claimed, what comes back.

Whoever waits keeps a claim on what it waits for, so those who come later in the order can only use
what the earlier ones do not need, and never delay them (conservative backfill, as batch schedulers
do).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.amounts import Amounts, fits, plus
from scheduler.core.outlook import coming_bytes

if TYPE_CHECKING:
    from scheduler.core.claim import Need
    from scheduler.core.engine import Engine
    from scheduler.core.state import State


class Balance:
    """Bytes per pool. `free` is what nobody has, and nobody before has claimed."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.free = {name: book.free_bytes() for name, book in state.ledger.pools.items()}
        self._coming: dict[str, int] | None = None
        self._owed = dict.fromkeys(self.free, 0)

    def take(self, amounts: Amounts, returning: Amounts) -> None:
        """Bytes that were reserved just now, and what of them comes back by itself.

        That satisfies first the claims which had to be made on what was free.
        """
        for pool, amount in amounts.items():
            back = min(returning.get(pool, 0), self._owed[pool])
            self._owed[pool] -= back
            self.free[pool] += back - amount
            if self._coming is not None:
                more = returning.get(pool, 0) - back
                self._coming[pool] = self._coming.get(pool, 0) + more

    def claim(self, amounts: Amounts) -> None:
        """Keep bytes for whoever waits for them: first of what is coming, then of what is free."""
        if not any(amounts.values()):
            return
        coming = self.coming()
        for pool, amount in amounts.items():
            from_coming = min(max(coming.get(pool, 0), 0), amount)
            coming[pool] = coming.get(pool, 0) - from_coming
            self.free[pool] -= amount - from_coming
            self._owed[pool] += amount - from_coming

    def keep(self, amounts: Amounts) -> None:
        """Keep bytes for who waits for nothing but running work, all of them of what is free.

        Were they claimed of what that work gives back, others would start in its place with what is
        free, and so on: it would wait for ever.
        """
        for pool, amount in amounts.items():
            self.free[pool] -= amount

    def coming(self) -> dict[str, int]:
        """What comes back without another decision, and nobody has claimed yet."""
        if self._coming is None:
            self._coming = coming_bytes(self.state)
        return self._coming

    def returns(self, engine: Engine) -> None:
        """An engine will go: what it takes comes back."""
        self._coming = plus(self.coming(), self.booked(engine))

    def has(self, need: Need) -> bool:
        """Whether one may start now and will be able to run."""
        return fits(need.now, self.free) and (
            fits(need.later, self.free) or fits(need.later, plus(self.free, self.coming()))
        )

    def booked(self, engine: Engine) -> Amounts:
        """What an engine takes now, without its runs."""
        return self.state.ledger.booked(engine.booking)
