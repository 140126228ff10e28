"""Which forms can ever have the units that a run of them holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scheduler.core.outcome import Reason, ReasonCode

if TYPE_CHECKING:
    from scheduler.core.figures import Figures
    from scheduler.core.model import Form


def lacking(form: Form, resources: Mapping[str, int]) -> str | None:
    """The resource of which a run in this form takes more units than there are, or None."""
    return next((name for name, count in form.uses.items() if count > resources.get(name, 0)), None)


def with_units(forms: Sequence[Figures], resources: Mapping[str, int]) -> Sequence[Figures]:
    """Those in which an engine can run at all; every form, if it can in none."""
    return tuple(one for one in forms if lacking(one.form, resources) is None) or forms


def never_units(name: str, forms: Sequence[Form], resources: Mapping[str, int]) -> Reason | None:
    """More units of a resource than there are, in whichever of these forms."""
    short = [lacking(form, resources) for form in forms]
    resource, form = short[-1], forms[-1]
    if resource is None or None in short:
        return None
    words = f", not even{form.words}" if len(forms) > 1 else form.words
    return Reason(
        ReasonCode.NEVER_ENOUGH_UNITS,
        f"{name} never runs{words}: it uses {resource}: {form.uses[resource]}, "
        f"and resources has {resource}: {resources.get(resource, 0)}",
    )
