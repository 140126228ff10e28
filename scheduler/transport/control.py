"""Control messages: what an operator may ask of a node.

`PREFIX/NODE/control/VERB` with `{"model": "faces"}`, or the bare name, for

    load, unload, pin, unpin    the model's engine; answered when it is done
    priority                    `{"model": "faces", "priority": 80}`, or "default" (as with the
                                model alone) for its own again; answered with the one in force
    mode                        `{"mode": "docking"}`, or null for none; answered when it is reached
    drain                       `{"limit_s": 5}`: stop taking requests, let running ones end
    dump                        the last steps of the scheduler, as lines of a trace
    status                      the whole state
    cancel                      `{"request_id": "7"}`: nobody waits for this request any more. It is
                                answered `cancelled`, the order `{"cancelled": true}`. False
                                means that it is answered already, was handed over to another node
                                of the fleet, which does it, or has not come yet: then it will be
                                answered `cancelled` when it does. Only a request with the order's
                                own response topic is found (none, where the order has none)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from scheduler.config.mode import NO_MODE
from scheduler.config.units import quoted
from scheduler.sink.plain import Plain
from scheduler.transport.answer import Answer
from scheduler.transport.refusal import bad_request
from scheduler.transport.topics import read_id

if TYPE_CHECKING:
    from scheduler.runtime.runtime import Runtime
    from scheduler.trace.flight import FlightRecorder
    from scheduler.transport.orders import Carry, Order

TRACE = "application/x-ndjson"

OWN_PRIORITY = "default"


class Control:
    """The verbs of `control`. A dump is what `flight` has recorded.

    `cancel` calls off the request with an id and a response topic, and returns whether it was open.
    """

    def __init__(
        self,
        runtime: Runtime,
        flight: FlightRecorder,
        *,
        cancel: Callable[[str, str | None], bool],
    ) -> None:
        self._runtime = runtime
        self._flight = flight
        self._call_off = cancel

    @property
    def verbs(self) -> Mapping[str, Carry]:
        """What can be asked, by name."""
        return {
            "load": self._load,
            "unload": self._unload,
            "pin": self._pin,
            "unpin": self._unpin,
            "priority": self._priority,
            "mode": self._mode,
            "drain": self._drain,
            "dump": self._dump,
            "status": self._status,
            "cancel": self._cancel,
        }

    async def _load(self, order: Order) -> Mapping[str, Any]:
        order.only("model")
        await self._runtime.load(order.text("model"))
        return {"model": order.text("model"), "loaded": True}

    async def _unload(self, order: Order) -> Mapping[str, Any]:
        order.only("model")
        await self._runtime.unload(order.text("model"))
        return {"model": order.text("model"), "loaded": False}

    async def _pin(self, order: Order) -> Mapping[str, Any]:
        order.only("model")
        self._runtime.pin(order.text("model"))
        return {"model": order.text("model"), "pinned": True}

    async def _unpin(self, order: Order) -> Mapping[str, Any]:
        order.only("model")
        self._runtime.unpin(order.text("model"))
        return {"model": order.text("model"), "pinned": False}

    async def _priority(self, order: Order) -> Mapping[str, Any]:
        order.only("model", "priority")
        model, said = order.text("model"), order.said.get("priority")
        try:
            self._runtime.set_priority(model, None if said == OWN_PRIORITY else said)
        except ValueError as error:
            raise bad_request(f"priority: {error}, or {OWN_PRIORITY}") from None
        in_force = {e.model: e.priority for e in self._runtime.snapshot().engines}
        return {"model": model, "priority": in_force[model]}

    async def _mode(self, order: Order) -> Mapping[str, Any]:
        order.only("mode")
        if "mode" not in order.said:
            raise bad_request('mode needs {"mode": ...}, a name or null')
        mode = None if order.said["mode"] in (None, NO_MODE) else order.text("mode")
        told: Mapping[str, Any] = Plain().value(await self._runtime.switch(mode))
        return told

    async def _drain(self, order: Order) -> Mapping[str, Any]:
        order.only("limit_s")
        limit_s = order.said.get("limit_s")
        if limit_s is not None and not _is_seconds(limit_s):
            raise bad_request(f"limit_s is {quoted(limit_s)}; send a number of seconds")
        return {"drained": await self._runtime.drain(limit_s)}

    async def _dump(self, order: Order) -> Answer:
        order.only()
        return Answer(self._flight.to_bytes(), TRACE, (("outcome", "completed"),))

    async def _status(self, order: Order) -> Mapping[str, Any]:
        order.only()
        told: Mapping[str, Any] = Plain().value(self._runtime.snapshot())
        return told

    async def _cancel(self, order: Order) -> Mapping[str, Any]:
        order.only("request_id")
        request_id = read_id(order.text("request_id"), "request_id")
        topic = order.reply.topic if order.reply.is_asked_for else None
        return {"cancelled": self._call_off(request_id, topic)}


def _is_seconds(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0
