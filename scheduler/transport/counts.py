"""What a node has turned away, dropped or had to do again since it started.

These are the `counts` of its status:

    requests_refused         answered with a refusal, whatever the reason
    requests_busy            of those, refused as too much was in hand
    requests_expired         their time ran out while they waited for a hand
    requests_repeated        seen before, and not run again
    requests_handed_over     given to another member of the fleet; only there
    messages_unreadable      malformed
    answers_lost             given up: no broker for too long, or they broke the connection
    events_lost              never published, as too many came at once
    connections_lost         broken, by whomever
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.transport.connection import Connection
    from scheduler.transport.fleet import Fleet
    from scheduler.transport.news import News
    from scheduler.transport.requests import RequestDesk


def counts(
    desks: Sequence[RequestDesk],
    connections: Sequence[Connection],
    news: News,
    fleet: Fleet | None,
) -> dict[str, int]:
    """Add up what the parts of a node have counted."""
    handed_over = {} if fleet is None else {"requests_handed_over": fleet.handed_over}
    return {
        "requests_refused": sum(desk.replies.refused for desk in desks),
        "requests_busy": sum(desk.inbox.busy for desk in desks),
        "requests_expired": sum(desk.inbox.stale for desk in desks),
        "requests_repeated": sum(desk.remembered.duplicates for desk in desks),
        **handed_over,
        "messages_unreadable": sum(line.unreadable for line in connections),
        "answers_lost": sum(line.outbox.lost for line in connections),
        "events_lost": news.lost_events,
        "connections_lost": sum(line.losses for line in connections),
    }
