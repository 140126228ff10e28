"""The one writer."""

from __future__ import annotations

from scheduler.core.events import ModelRemoved, TimerFired
from scheduler.runtime.pump import Pump


class Log:
    """A core and an actor in one, that note the order of things."""

    def __init__(self):
        self.lines = []
        self.fails_on = None

    def handle(self, event, now_ns):
        self.lines.append(f"handle {event.model}")
        if event.model == self.fails_on:
            raise KeyError(event.model)
        return [f"{event.model}{now_ns}", f"{event.model}{now_ns}'"]

    def act(self, decision, cause):
        self.lines.append(f"act {decision} {cause}")
        if decision == "a1":
            self.pump.tell(ModelRemoved("b"), ValueError("why"))
            self.lines.append("told")

    def settled(self):
        self.lines.append("settled")

    def broke(self, error):
        self.lines.append(f"broke {error}")
        self.pump.tell(TimerFired())


def pump_and_log():
    log = Log()
    log.pump = Pump(log, log, now_ns=lambda: 1)
    return log.pump, log


def test_what_happens_while_acting_waits_its_turn():
    pump, log = pump_and_log()
    pump.tell(ModelRemoved("a"))
    assert log.lines == [
        "handle a",
        "act a1 None",
        "told",
        "act a1' None",
        "handle b",
        "act b1 why",
        "act b1' why",
        "settled",
    ]


def test_after_a_mistake_of_ours_nothing_is_decided():
    pump, log = pump_and_log()
    log.fails_on = "b"
    pump.tell(ModelRemoved("a"))
    assert log.lines[-2:] == ["handle b", "broke 'b'"]
    pump.tell(ModelRemoved("c"))
    assert log.lines[-1] == "broke 'b'"
    assert isinstance(pump.broken, KeyError)


def test_a_closed_pump_hears_nothing():
    pump, log = pump_and_log()
    pump.is_closed = True
    pump.tell(ModelRemoved("a"))
    assert not log.lines
