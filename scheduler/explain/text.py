"""A story in lines that a person reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.explain.remedy import remedies
from scheduler.explain.span import spoken
from scheduler.explain.wait import FOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.explain.moment import Moment
    from scheduler.explain.story import Story

COLUMN = 11


def lines(story: Story, started_ns: int) -> Iterator[str]:
    """The story: who asked for what, each moment since then, and what would have helped.

    `started_ns` is when the run began.
    """
    yield _title(story, started_ns)
    if story.note:
        yield f"told from the lines of the trace alone: {story.note}"
    moments = story.life.moments
    for moment in moments.first:
        yield from _moment(moment, story)
    if moments.left_out:
        yield f"{'...':>{COLUMN}}  {moments.left_out:,} more"
    for moment in moments.last:
        yield from _moment(moment, story)
    yield _sum(story)
    helpful = remedies(story)
    if helpful:
        yield "what would have had to be different:"
        yield from (f"  - {remedy}" for remedy in helpful)


def _title(story: Story, started_ns: int) -> str:
    request = story.life.request
    parts = [f"request {request.id}: {request.kind.value} {' and '.join(request.models)}"]
    if request.stream is not None:
        parts.append(f"stream {request.stream}")
    if request.under_lease is not None:
        parts.append(f"under lease {request.under_lease}")
    if request.items > 1:
        parts.append(f"{request.items} items")
    priority = request.priority
    if priority is None and request.under_lease is None and story.stays:
        priority = max(stay.spec.priority for stay in story.stays)
    if priority is not None:
        parts.append(f"priority {priority}")
    deadline_ns = story.deadline_ns
    parts.append("no deadline" if deadline_ns is None else f"deadline {spoken(deadline_ns)}")
    parts.append(f"came {spoken(story.life.arrived_ns - started_ns)} after the start")
    return ", ".join(parts)


def _moment(moment: Moment, story: Story) -> Iterator[str]:
    at = f"+{spoken(moment.at_ns - story.life.arrived_ns)}"
    yield f"{at:>{COLUMN}}  {moment.text}"
    for detail in moment.details:
        yield f"{'':>{COLUMN}}    {detail}"


def _sum(story: Story) -> str:
    life = story.life
    until_ns = story.until_ns if life.ended_ns is None else life.ended_ns
    took = spoken(until_ns - life.arrived_ns)
    end = (
        f"in all {took}"
        if life.ended_ns is not None
        else f"not ended when the trace ends, {took} later"
    )
    spent = sorted(story.spent_ns.items(), key=lambda item: -item[1])
    waits = [f"{spoken(ns)} for {FOR.get(code, code.value)}" for code, ns in spent if ns]
    ran = []
    if life.granted_ns is not None:
        ran = [f"had its lease for {spoken(until_ns - life.granted_ns)}"]
    waited = [f"waited {', '.join(waits)}"] if waits else []
    return "; ".join([end, *waited, *ran])
