"""Which forms fit at all: beside what is pinned, whatever else is in memory now.

A pinned engine stays in memory for good, so its form decides what is left to all others. It takes
the best with which every other model fits beside the pinned, one at a time; if there is none, the
best that fits beside the other pinned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from scheduler.core.amounts import Amounts, larger, plus, shortage, sized, total
from scheduler.core.figures import Figures
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.settings import Settings, Trust
from scheduler.core.units import with_units

if TYPE_CHECKING:
    from scheduler.core.model import ModelSpec

Forms = Mapping[str, Sequence[Figures]]
"""By model the forms it may take, the one that it is to take if it can first."""


class Fit:
    """Answers for one set of models and figures.

    `pinned` are the models that stay in memory, those first whose form is chosen first; `usable`
    is what engines can ever get, in bytes per pool. Nothing is left for what is `out_of_use`.
    """

    def __init__(
        self,
        forms: Forms,
        pinned: Sequence[str],
        usable: Amounts,
        out_of_use: Collection[str] = (),
    ) -> None:
        self._forms = forms
        self._out_of_use = out_of_use
        self._usable = usable
        self._possible: dict[tuple[str, int], tuple[Figures, ...]] = {}
        self.pinned: dict[str, Figures] = self._place(pinned)
        """The form of each pinned engine."""

    def together(
        self, models: Sequence[str], items: int, present: Mapping[str, Figures] | None = None
    ) -> tuple[Figures, ...] | None:
        """The best forms in which these models can serve a request of `items` together, or None.

        Those that are `present` in memory are tried first, and need not be loaded.
        """
        return self._first(models, items, (), present or {})

    def possible(self, model: str, items: int) -> tuple[Figures, ...]:
        """The forms in which a model can serve a request of `items`, the best first."""
        key = (model, items)
        if key not in self._possible:
            self._possible[key] = tuple(
                figures
                for figures in self.open_to(model)
                if self.refusal((model,), (figures,), items) is None
            )
        return self._possible[key]

    def why_not(self, models: Sequence[str], items: int) -> Reason | None:
        """Why these models can never serve a request of `items` together, or None if they can.

        Where there are several forms, it is that of the ones which are nearest to fitting.
        """
        if self.together(models, items) is not None:
            return None
        nearest = tuple(self._nearest(model) for model in models)
        return self.refusal(models, nearest, items, even=True)

    def open_to(self, model: str) -> Sequence[Figures]:
        """The forms that a model may take: a pinned one has its place."""
        return (self.pinned[model],) if model in self.pinned else self._forms[model]

    def _first(
        self,
        models: Sequence[str],
        items: int,
        chosen: tuple[Figures, ...],
        present: Mapping[str, Figures],
    ) -> tuple[Figures, ...] | None:
        """The first of all ways to go on from `chosen` that fits; what is chosen only grows."""
        loaded = tuple(present.values())
        if chosen and self.refusal(models, chosen, items, loaded) is not None:
            return None
        if len(chosen) == len(models):
            return chosen
        model = models[len(chosen)]
        for figures in sorted(self.open_to(model), key=lambda f: f is not present.get(model)):
            found = self._first(models, items, (*chosen, figures), present)
            if found is not None:
                return found
        return None

    def refusal(
        self,
        models: Sequence[str],
        chosen: tuple[Figures, ...],
        items: int,
        loaded: Sequence[Figures] = (),
        *,
        even: bool = False,
    ) -> Reason | None:
        """Why these models can never serve a request of `items` in these forms, or None.

        Those that are `loaded` need not be loaded. `even` says that other forms fit no better.
        """
        held = {name: one.resident_bytes() for name, one in self.pinned.items()}
        for model in models:
            held.pop(model, None)
        names = " and ".join(models)
        words = " and".join(one.form.words for one in chosen if one.form.words)
        words = f", not even{words}" if even and words else words
        need = most_bytes(chosen, items, loaded)
        return never_fits(names, need, held, self._usable, words)

    def _nearest(self, model: str) -> Figures:
        """The form of a model that lacks least; of those that lack nothing the smallest."""
        there = shortage(self._usable, total(f.resident_bytes() for f in self.pinned.values()))

        def lacks(one: Figures) -> tuple[int, int]:
            need = most_bytes((one,), 1)
            return sum(shortage(need, there).values()), sum(need.values())

        return min(self.open_to(model), key=lacks)

    # -- what is pinned ---------------------------------------------------------------------

    def _place(self, pinned: Sequence[str]) -> dict[str, Figures]:
        placed: dict[str, Figures] = {}
        for index, name in enumerate(pinned):
            forms = self._forms[name]
            placed[name] = forms[0]
            if len(forms) > 1:
                before = [[placed[other]] for other in pinned[:index]]
                later = [self._forms[other] for other in pinned[index + 1 :]]
                others = [*before, *later]
                placed[name] = (
                    self._best_beside(name, others, self._largest(pinned))
                    or self._best_beside(name, others, {})
                    or forms[0]
                )
        return placed

    def _largest(self, pinned: Sequence[str]) -> Amounts:
        """What the others need at least, one at a time."""
        largest: Amounts = {}
        for other, forms in self._forms.items():
            if other not in pinned and other not in self._out_of_use:
                largest = larger(largest, least_bytes(forms))
        return largest

    def _best_beside(
        self, name: str, others: Sequence[Sequence[Figures]], largest: Amounts
    ) -> Figures | None:
        """The best form with which all can stay, each can run, and `largest` can come and go.

        Of the `others` each takes the least that it may.
        """
        held = total(least_resident(forms) for forms in others)
        swing = largest
        for forms in others:
            swing = larger(swing, shortage(least_bytes(forms), least_resident(forms)))
        for figures in self._forms[name]:
            own = figures.resident_bytes()
            beyond = larger(swing, shortage(most_bytes((figures,), 1), own))
            if not shortage(total((held, own, beyond)), self._usable):
                return figures
        return None


def most_bytes(
    chosen: Sequence[Figures], items: int, loaded: Sequence[Figures] = ()
) -> dict[str, int]:
    """What it takes to load these, but those that are, and then to run `items` on all of them."""
    loading = total(
        one.resident_bytes() if one in loaded else one.loading_bytes() for one in chosen
    )
    steady = total(plus(one.resident_bytes(), one.running_bytes(items)) for one in chosen)
    return larger(loading, steady)


def least_bytes(forms: Sequence[Figures]) -> dict[str, int]:
    """What a model needs of each pool at least, whichever form it takes."""
    return _least([most_bytes((one,), 1) for one in forms])


def least_resident(forms: Sequence[Figures]) -> dict[str, int]:
    """What a model that is in memory takes of each pool at least."""
    return _least([one.resident_bytes() for one in forms])


def _least(parts: Sequence[Amounts]) -> dict[str, int]:
    return {pool: min(part.get(pool, 0) for part in parts) for pool in parts[0]}


def declared_fit(specs: Mapping[str, ModelSpec], settings: Settings) -> Fit:
    """What fits by what is declared, before anything was measured."""
    forms = {
        name: with_units([Figures(form, Trust.DECLARED) for form in spec.forms], settings.resources)
        for name, spec in specs.items()
    }
    usable = {
        name: pool.budget_bytes - settings.overhead_bytes(name)
        for name, pool in settings.pools.items()
    }
    pinned = sorted((spec for spec in specs.values() if spec.pinned), key=lambda s: -s.priority)
    return Fit(forms, [spec.name for spec in pinned], usable)


def never_fits(
    name: str, need: Amounts, pinned: Mapping[str, Amounts], usable: Amounts, words: str = ""
) -> Reason | None:
    """More memory than the budget has beside what is pinned. `usable` is budget less overhead.

    `words` say in which of several forms, see `in_form`.
    """
    taken = total(pinned.values())
    for pool, amount in need.items():
        if amount <= usable.get(pool, 0) - taken.get(pool, 0):
            continue
        holders = ", ".join(model for model, part in pinned.items() if part.get(pool, 0))
        less = f" less {sized(taken[pool])} pinned by {holders}" if holders else ""
        short = amount - usable.get(pool, 0) + taken.get(pool, 0)
        return Reason(
            ReasonCode.NEVER_FITS,
            f"{name} never fits{words}: needs {sized(amount)}, "
            f"budget of {pool} is {sized(usable.get(pool, 0))}{less}; short by {sized(short)}",
        )
    return None
