"""The book of reserved bytes, per memory pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from scheduler.core.settings import Settings

if TYPE_CHECKING:
    from scheduler.core.amounts import Amounts
    from scheduler.core.events import MemorySampled

BookingKey = tuple[Union[str, int], ...]
"""What an amount is booked for: ("engine", model), ("lease", id), ("residue", model) ..."""


@dataclass(slots=True)
class PoolBook:
    """One pool. `machine_bytes` is what may be reserved by what the machine said last.

    None means that it did not say, and never 0.
    """

    budget_bytes: int
    reserve_bytes: int
    overhead_bytes: int
    reserved_bytes: int = 0
    high_water_bytes: int = 0
    available_bytes: int | None = None
    used_bytes: int | None = None
    total_bytes: int | None = None
    machine_bytes: int | None = None

    def room_bytes(self) -> int:
        """What may still be reserved by the budget alone; negative when overdrawn."""
        return self.budget_bytes - self.reserved_bytes

    def machine_room_bytes(self) -> int | None:
        """What the machine has left for us beside the reserve, or None when it did not say."""
        return None if self.machine_bytes is None else self.machine_bytes - self.reserved_bytes

    def overdraft_bytes(self) -> int:
        """What is to be given back: to the budget, or to others who press. 0 or less: nothing."""
        over, machine = self.reserved_bytes - self.budget_bytes, self.machine_room_bytes()
        return over if machine is None else max(over, -machine)

    def free_bytes(self) -> int:
        """What may be reserved now: min(budget - ledger, available - reserve)."""
        most, machine = self.budget_bytes, self.machine_bytes
        return (most if machine is None or most < machine else machine) - self.reserved_bytes


class Ledger:
    """Every reserved byte has a booking; totals are kept beside the bookings for speed."""

    __slots__ = ("_bookings", "_totals", "pools")

    def __init__(self, settings: Settings) -> None:
        self.pools: dict[str, PoolBook] = {}
        self._bookings: dict[BookingKey, Amounts] = {}
        self._totals: dict[str, int] | None = None
        for name, pool in settings.pools.items():
            overhead_bytes = settings.overhead_bytes(name)
            self.pools[name] = PoolBook(pool.budget_bytes, pool.reserve_bytes, overhead_bytes)
            self.book(("overhead", name), {name: overhead_bytes})

    def book(self, key: BookingKey, amounts: Amounts) -> None:
        """Set what is booked under `key`, replacing what was."""
        self._totals = None
        before = self._bookings.get(key)
        if before is not None:
            for pool, amount in before.items():
                self.pools[pool].reserved_bytes -= amount
        for pool, amount in amounts.items():
            book = self.pools[pool]
            book.reserved_bytes += amount
            book.high_water_bytes = max(book.high_water_bytes, book.reserved_bytes)
        self._bookings[key] = amounts

    def release(self, key: BookingKey) -> None:
        """Take the booking away, if there is one."""
        self._totals = None
        for pool, amount in self._bookings.pop(key, {}).items():
            self.pools[pool].reserved_bytes -= amount

    def booked(self, key: BookingKey) -> Amounts:
        """What is booked under `key`, in bytes per pool."""
        booked = self._bookings.get(key)
        return {} if booked is None else booked

    def sample(self, said: MemorySampled, on_its_way: int) -> None:
        """Note what the machine says. `on_its_way` is booked for loads that it cannot show yet."""
        book = self.pools[said.pool]
        book.available_bytes = said.available_bytes
        book.used_bytes = said.used_bytes
        book.total_bytes = said.total_bytes
        if said.available_bytes is None:
            book.machine_bytes = None
        else:  # What is booked from now on is not in its figure, and comes on top of this.
            seen = book.reserved_bytes - on_its_way
            book.machine_bytes = said.available_bytes - book.reserve_bytes + seen

    def has(self, amounts: Amounts) -> bool:
        """Whether so much may be reserved now. Nothing can be even where a pool is overdrawn."""
        for pool, amount in amounts.items():
            if amount > 0 and amount > self.pools[pool].free_bytes():
                return False
        return True

    def is_overdrawn(self) -> bool:
        """Whether some pool has more reserved than its budget, or the machine has not the rest."""
        for book in self.pools.values():
            most, machine = book.budget_bytes, book.machine_bytes
            if book.reserved_bytes > (most if machine is None or most < machine else machine):
                return True
        return False

    def reserved_bytes(self) -> dict[str, int]:
        """The total per pool. The same object until something is booked: not to be changed."""
        if self._totals is None:
            self._totals = {name: book.reserved_bytes for name, book in self.pools.items()}
        return self._totals

    def check(self) -> None:
        """Assert that totals and bookings agree."""
        for name, book in self.pools.items():
            total = sum(amounts.get(name, 0) for amounts in self._bookings.values())
            assert book.reserved_bytes == total, f"{name}: {book.reserved_bytes} != {total}"
            assert book.high_water_bytes >= total
