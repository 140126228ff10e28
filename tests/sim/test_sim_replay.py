from __future__ import annotations

from scheduler.core.events import RequestArrived, TimerFired
from scheduler.core.request import NO_DEADLINE_NS, Request, RequestKind
from scheduler.sim.replay import Replay
from scheduler.sim.simulator import Simulator
from scheduler.trace.record import Record


def arrived(sequence: int, at_ns: int, request: Request) -> Record:
    return Record(sequence, at_ns, RequestArrived(request), (), {})


def replayed(records: list[Record]) -> list[tuple[int, Request]]:
    return [(r.at_ns, r.event.request) for r in records if isinstance(r.event, RequestArrived)]


def test_requests_come_as_long_after_the_start_as_they_did_then(
    simulator: Simulator, records: list[Record]
) -> None:
    then = [
        Record(1, 5000, TimerFired(), (), {}),
        arrived(2, 5007, Request(id=40, models=("a",), priority=70, deadline_ns=5900)),
        arrived(3, 5007, Request(id=41, models=("b",), stream="camera", items=2)),
        arrived(4, 5600, Request(id=42, models=("a",), kind=RequestKind.UNLOAD)),
        arrived(5, 5700, Request(id=43, models=("a",), deadline_ns=NO_DEADLINE_NS)),
    ]
    replay = Replay(simulator, then)
    replay.start()
    simulator.run(5000)
    assert replayed(records) == [
        (7, Request(id=1, models=("a",), priority=70, deadline_ns=900)),
        (7, Request(id=2, models=("b",), stream="camera", items=2)),
        (600, Request(id=3, models=("a",), kind=RequestKind.UNLOAD)),
        (700, Request(id=4, models=("a",), deadline_ns=NO_DEADLINE_NS)),
    ]
    assert simulator.open_requests == 0


def test_leases_are_left_out_and_what_ran_under_them_is_asked_without(
    simulator: Simulator, records: list[Record]
) -> None:
    then = [
        arrived(1, 0, Request(id=1, models=("a",), kind=RequestKind.HOLD, ttl_ns=10)),
        arrived(2, 5, Request(id=2, models=("a",), under_lease=1)),
    ]
    replay = Replay(simulator, then)
    replay.start()
    simulator.run(1000)
    assert replayed(records) == [(5, Request(id=1, models=("a",)))]
    assert replay.left_out == 1


def test_a_trace_is_read_only_as_far_as_the_simulation_goes(simulator: Simulator) -> None:
    read: list[int] = []

    def endless() -> object:
        at_ns = 0
        while True:
            at_ns += 10
            read.append(at_ns)
            yield arrived(at_ns, at_ns, Request(id=at_ns, models=("a",)))

    Replay(simulator, endless()).start()  # type: ignore[arg-type]
    simulator.run(100)
    assert len(read) == 11
