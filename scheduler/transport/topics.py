"""The topic tree of a node.

PREFIX/NODE/status                             retained: online, degraded, offline
PREFIX/NODE/memory                             retained: the books of each pool
PREFIX/NODE/events                             what happened, as it happens
PREFIX/NODE/models/MODEL/state                 retained
PREFIX/NODE/models/MODEL/infer                 takes requests; also infer/ID
PREFIX/NODE/models/MODEL/result/ID             answers that named no response topic
PREFIX/NODE/control/VERB                       takes control messages; also control/VERB/ID
PREFIX/NODE/leases/VERB                        acquire, renew, release; also leases/VERB/ID
PREFIX/NODE/results/control/VERB/ID            answers to these that named no response topic
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from scheduler.config.mqtt import FLEET
from scheduler.transport.refusal import bad_request

TOPIC_MAX_BYTES = 1024
"""MQTT allows 65535; nothing of ours needs more than this, and answers repeat it."""

ID_MAX = 64

_WRONG_IN_TOPIC = re.compile(r"[+#\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufeff\ufffe\uffff]")
"""Wildcards, and what MQTT 5 (1.5.4) forbids or brokers and clients close the connection for."""

_ID = re.compile(r"[^/+#\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufeff\ufffe\uffff]+")


def topic_fault(topic: str) -> str | None:
    """What makes `topic` one that cannot be published to, or None."""
    if not topic:
        return "is empty"
    if len(topic.encode("utf-8", "surrogatepass")) > TOPIC_MAX_BYTES:
        return f"is longer than {TOPIC_MAX_BYTES} bytes"
    if _WRONG_IN_TOPIC.search(topic):
        return "has a wildcard or a control character in it"
    if topic.startswith("$"):
        return "starts with $, which is the broker's own"
    return None


def read_id(text: str, what: str) -> str:
    """Return `text` if it can be part of a topic. Raises Refusal, naming `what`."""
    if len(text) > ID_MAX or not _ID.fullmatch(text):
        raise bad_request(f"{what} must be 1 to {ID_MAX} characters without / + # or controls")
    return text


@dataclass(frozen=True, slots=True)
class Address:
    """What a topic says: `kind` is infer, control or leases, `name` the model or the verb."""

    kind: str
    name: str
    id: str | None = None


class Tree(Protocol):
    """What is to be known of topics to answer the requests that come in by them."""

    def read(self, topic: str) -> Address | None:
        """What `topic` addresses, or None where it is no inbox of the tree."""

    def result(self, address: Address, answer_id: str) -> str:
        """Where an answer goes whose request named no response topic."""


class Topics:
    """The topics of one node."""

    def __init__(self, prefix: str, node: str) -> None:
        self.prefix = prefix
        self.root = f"{prefix}/{node}"
        self.status = f"{self.root}/status"
        self.memory = f"{self.root}/memory"
        self.events = f"{self.root}/events"

    def infer(self, model: str, request_id: str | None = None) -> str:
        """Where requests for a model go."""
        return f"{self.root}/models/{model}/infer" + (f"/{request_id}" if request_id else "")

    def state(self, model: str) -> str:
        """Where a model's state is retained."""
        return f"{self.root}/models/{model}/state"

    def control(self, verb: str) -> str:
        """Where control messages go."""
        return f"{self.root}/control/{verb}"

    def lease(self, verb: str) -> str:
        """Where lease messages go."""
        return f"{self.root}/leases/{verb}"

    def result(self, address: Address, answer_id: str) -> str:
        """Where an answer goes whose request named no response topic."""
        if address.kind == "infer":
            return f"{self.root}/models/{address.name}/result/{answer_id}"
        return f"{self.root}/results/{address.kind}/{address.name}/{answer_id}"

    @property
    def of_requests(self) -> tuple[str, ...]:
        """The filters that requests come in by."""
        models = f"{self.root}/models"
        return (f"{models}/+/infer", f"{models}/+/infer/+")

    @property
    def of_orders(self) -> tuple[str, ...]:
        """The filters that control and lease messages come in by."""
        return tuple(
            f"{self.root}/{kind}/{levels}"
            for kind in ("control", "leases")
            for levels in ("+", "+/+")
        )

    def read(self, topic: str) -> Address | None:
        """What `topic` addresses, or None where it is none of a node's inboxes."""
        if not topic.startswith(self.root + "/"):
            return None
        kind, *levels = topic[len(self.root) + 1 :].split("/")
        if kind == "models" and len(levels) in (2, 3) and levels[1] == "infer":
            return Address("infer", levels[0], *levels[2:])
        if kind in ("control", "leases") and len(levels) in (1, 2):
            return Address(kind, *levels)
        return None


class ReplyRule:
    """Which response topics a client may choose.

    Below the prefix of all nodes only result topics are open: an answer must not be able to pose
    as a request, an order or a state, of this node or another. With `allowed`, a topic must begin
    with one of these (whole levels).
    """

    def __init__(self, prefix: str, allowed: tuple[str, ...] | None = None) -> None:
        self._prefix = prefix
        self._allowed = allowed

    def check(self, topic: str) -> None:
        """Raises Refusal for a topic that is not open to answers."""
        fault = topic_fault(topic)
        if fault is not None:
            raise bad_request(f"the response topic {fault}; choose another")
        if _below(topic, self._prefix):
            if not self._is_result(topic):
                raise bad_request(
                    f"the response topic is below {self._prefix}/ and no result topic; choose one "
                    "elsewhere"
                )
        elif self._allowed is not None and not any(_below(topic, a) for a in self._allowed):
            known = ", ".join(self._allowed) or "none"
            raise bad_request(f"the response topic must begin with one of: {known}")

    def _is_result(self, topic: str) -> bool:
        levels = topic[len(self._prefix) + 1 :].split("/")
        if levels[0] == FLEET:
            del levels[0]  # the name of the fleet stands where that of a node does
            return len(levels) > 4 and levels[1] == "models" and levels[3] == "result"  # noqa: PLR2004 - FLEET/models/MODEL/result/ID
        is_of_model = len(levels) > 4 and levels[1] == "models" and levels[3] == "result"  # noqa: PLR2004 - NODE/models/MODEL/result/ID
        return is_of_model or (len(levels) > 2 and levels[1] == "results")  # noqa: PLR2004 - NODE/results/...


def _below(topic: str, prefix: str) -> bool:
    return topic == prefix or topic.startswith(prefix.rstrip("/") + "/")
