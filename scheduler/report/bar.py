"""A bar of memory in text: reserved against the budget, with a mark where measuring found it."""

from __future__ import annotations

from rich.text import Text

NEARLY_FULL = 0.9


def memory_bar(
    reserved_bytes: int, budget_bytes: int, measured_bytes: int | None, width: int
) -> Text:
    """`width` cells: what is reserved in full blocks, the rest in dots, measured as a stroke.

    A figure beyond the budget ends the bar in red; the figures beside it say by how much.
    """
    bar = Text()
    filled = _cells(reserved_bytes, budget_bytes, width)
    bar.append("█" * filled, _colour(reserved_bytes, budget_bytes))
    bar.append("·" * (width - filled), "dim")
    if measured_bytes is None or not width:
        return bar
    at = max(0, min(width - 1, _cells(measured_bytes, budget_bytes, width) - 1))
    mark = Text("┃", "bold red" if measured_bytes > budget_bytes else "bold white")
    return bar[:at] + mark + bar[at + 1 :]


def _cells(amount: int, whole: int, width: int) -> int:
    return min(width, max(0, round(width * amount / whole))) if whole > 0 else width


def _colour(reserved_bytes: int, budget_bytes: int) -> str:
    if reserved_bytes > budget_bytes:
        return "red"
    return "yellow" if reserved_bytes > NEARLY_FULL * budget_bytes else "green"
