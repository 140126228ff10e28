"""How requests are ordered and bounded, as it is written."""

from typing import Literal

from scheduler.config.section import Section
from scheduler.config.units import Duration, Nanoseconds, PositiveDurationOrOff, SizeOrNone
from scheduler.core.model import SECOND_NS


class Scheduling(Section):
    """The order of requests, the limit of what waits, and the patience of a stop."""

    policy: Literal["rota", "fifo", "lock"] = "rota"
    ageing: PositiveDurationOrOff = Nanoseconds(10 * SECOND_NS)
    queue_bytes: SizeOrNone = None
    drain: Duration = Nanoseconds(5 * SECOND_NS)
