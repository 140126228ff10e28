"""How many requests run together, as it is written."""

from scheduler.config.section import Count, Section
from scheduler.config.units import Duration, Nanoseconds


class Batch(Section):
    """How many requests may run in one go, and how long to wait for them to gather."""

    max: Count = 1
    wait: Duration = Nanoseconds(0)
