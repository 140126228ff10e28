"""Which requests were seen already: QoS 1 may deliver one twice, and clients send again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace

from scheduler.core.model import SECOND_NS
from scheduler.transport.answer import Answer
from scheduler.transport.refusal import Refusal, RefusalCode
from scheduler.transport.replies import Reply

KEEP_NS = 60 * SECOND_NS

LIMIT = 4096

LIMIT_BYTES = 16 * 1024 * 1024
"""Of the answers that are kept to be sent again."""

REPLIES_MAX = 8


class Seen:
    """One request: what it said, who wants its answer, and the answer once there is one.

    `digest` is None for one that was called off before it came.
    """

    __slots__ = ("answer", "digest", "replies", "since_ns")

    def __init__(self, digest: int | None, since_ns: int, *replies: Reply) -> None:
        self.digest = digest
        self.replies = [*replies]
        self.since_ns = since_ns
        self.answer: Answer | None = None

    def also_tell(self, reply: Reply) -> None:
        """Add to who wants the answer. Where one answer does for both, the newer receipt counts."""
        for at, known in enumerate(self.replies):
            if reply.reaches_the_same(known):
                known.is_done()
                self.replies[at] = replace(known, receipt=reply.receipt)
                return
        if len(self.replies) < REPLIES_MAX:
            self.replies.append(reply)
        else:
            reply.is_done()

    @property
    def answer_bytes(self) -> int:
        """What the kept answer takes."""
        return 0 if self.answer is None else len(self.answer.payload)


class Remembered:
    """Requests by key (their id or correlation data, and response topic), the oldest forgotten.

    Bounded by a minute, 4096 requests, and 16 MiB of answers.
    """

    def __init__(
        self, *, keep_ns: int = KEEP_NS, limit: int = LIMIT, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        self.duplicates = 0
        self._keep_ns = keep_ns
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._seen: OrderedDict[Hashable, Seen] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._seen)

    def find(self, key: Hashable, digest: int, reply: Reply, now_ns: int) -> Seen | None:
        """The request seen before under `key`, now with `reply` among those who wait; or None.

        Raises Refusal when another request was sent under the same key.
        """
        self._forget_old(now_ns)
        seen = self._seen.get(key)
        if seen is None:
            return None
        if seen.digest is None:
            return seen
        if seen.digest != digest:
            raise Refusal(
                RefusalCode.ID_CONFLICT,
                "another request had the same id or correlation data; give each its own",
            )
        self.duplicates += 1
        if seen.answer is None:
            seen.also_tell(reply)
        return seen

    def add(self, key: Hashable, digest: int, reply: Reply, now_ns: int) -> Seen:
        """Remember a request that is taken on."""
        seen = self._seen[key] = Seen(digest, now_ns, reply)
        self._forget_old(now_ns)
        return seen

    def call_off(self, key: Hashable, answer: Answer, now_ns: int) -> None:
        """Have a request that has not come yet find `answer`, whatever it will say."""
        if key not in self._seen:
            self._seen[key] = Seen(None, now_ns)
            self.answered(key, answer)
            self._forget_old(now_ns)

    def answered(self, key: Hashable, answer: Answer) -> list[Reply]:
        """Keep the answer of a request; returns all who wait for it, none if it is forgotten."""
        seen = self._seen.get(key)
        if seen is None or seen.answer is not None:
            return []
        seen.answer = answer
        self._bytes += seen.answer_bytes
        self._make_room()
        return seen.replies

    def waiting(self, key: Hashable) -> list[Reply]:
        """Those who wait for the answer of a request; none if it is forgotten."""
        seen = self._seen.get(key)
        return [] if seen is None or seen.answer is not None else seen.replies

    def forget(self, key: Hashable) -> None:
        """Forget a request that was refused for now: sent again, it is tried again."""
        seen = self._seen.pop(key, None)
        if seen is not None:
            self._bytes -= seen.answer_bytes

    def _forget_old(self, now_ns: int) -> None:
        while self._seen:
            first = next(iter(self._seen))
            if now_ns - self._seen[first].since_ns < self._keep_ns:
                break
            self.forget(first)
        self._make_room()

    def _make_room(self) -> None:
        while len(self._seen) > self._limit or self._bytes > self._limit_bytes:
            self.forget(next(iter(self._seen)))
