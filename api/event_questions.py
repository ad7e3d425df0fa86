"""From an event query's parameters to the answer: a list, or a stream of what comes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from flask import Response, request
from sqlalchemy.orm import Session, sessionmaker

from api.answers import answer
from api.context import Context
from api.errors import invalid
from api.following import Tail
from api.parameters import EventQuery
from api.query_keys import unknown_keys
from api.sse import Event, event_stream
from api.wire_history import event_json
from orchestrator.spec_text import shown
from orchestrator.store.database import session_scope
from orchestrator.store.events import Events
from orchestrator.store.records import EventRecord

DEFAULT_EVENTS = 100
_AT_A_TIME = 500
_EVENT_BYTES = 1000  # in memory, without its words


class _EventSource:
    """The events table as a tail follows it."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions

    def latest(self) -> int:
        with session_scope(self._sessions) as session:
            return Events(session).settled()

    def appended(self, after: int) -> tuple[int, Sequence[tuple[int, EventRecord]]]:
        with session_scope(self._sessions) as session:
            found = Events(session).list(None, after=after, limit=_AT_A_TIME)
        return (found[-1].id if found else after), [(event.id, event) for event in found]


def event_tail(sessions: sessionmaker[Session]) -> Tail[EventRecord]:
    """What all followers of events share."""
    return Tail(
        "event tail",
        _EventSource(sessions),
        key=lambda event: event.service_uuid or "",
        size=lambda event: _EVENT_BYTES + len(event.reason),
    )


def event_answer(ctx: Context, query: EventQuery, service_uuid: str | None) -> Response:
    """Events of a service, or of the whole installation with None."""
    headers = unknown_keys(query)
    kinds = tuple(query.kind.split(",")) if query.kind else ()
    if query.follow:
        return _followed(ctx, query, service_uuid, kinds)
    limit, newest = query.limit or DEFAULT_EVENTS, query.after is None
    events = Events(ctx.session())
    found = events.list(service_uuid, after=query.after or 0, limit=limit, newest_first=newest, kinds=kinds)
    found = found[::-1] if newest else found
    last = found[-1].id if found else query.after or 0
    return answer({"results": [event_json(event) for event in found], "last_id": last}, headers=headers)


def _followed(ctx: Context, query: EventQuery, service_uuid: str | None, kinds: Sequence[str]) -> Response:
    after = _after(query)
    if after is not None and query.limit is not None and not request.headers.get("Last-Event-ID"):
        raise invalid("limit", f"{query.limit} is not allowed with both follow=true and after; leave one of them out")

    def batches() -> Iterator[list[Event]]:
        start, latest = after, ctx.event_tail.source.latest()
        if start is None or start > latest:  # an id from a database that is no more begins anew
            start = latest
            found = Events(ctx.session()).list(
                service_uuid, limit=query.limit or DEFAULT_EVENTS, newest_first=True, kinds=kinds
            )
            yield [_event(event) for event in found[::-1] if event.id <= start]
        for items in ctx.event_tail.follow(start, service_uuid, lambda event: not kinds or event.kind in kinds):
            yield [_event(event) for _, event in items]

    return event_stream(ctx.followers, batches)


def _event(event: EventRecord) -> Event:
    return str(event.id), event_json(event)


def _after(query: EventQuery) -> int | None:
    """The id to go on behind: the browser's, which knows better, or the parameter's."""
    given = request.headers.get("Last-Event-ID")
    if not given:
        return query.after
    if not re.fullmatch(r"[0-9]{1,18}", given, re.ASCII):
        raise invalid("Last-Event-ID", f"{shown(given)} is not an event's id; allowed: the id of an event, a number")
    return int(given)
