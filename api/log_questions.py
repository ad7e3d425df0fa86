"""From a log query's parameters to what the store is asked for; pages, and the events of a follower."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urlencode

from flask import Response, request

from api.answers import answer, stream
from api.context import Context
from api.errors import ApiError, invalid
from api.following import Tail
from api.parameters import LineQuery
from api.query_keys import unknown_keys
from api.sse import Event, event_stream
from api.wire_history import NANO, followed_line_json, log_json
from orchestrator.logs.lines import PAGE_BYTES, STREAM_NAMES, LogReader, StoredLine, Wanted, fits
from orchestrator.spec_text import shown

DEFAULT_SECONDS = 15 * 60
LAST_SECOND = 9_000_000_000  # as far as parameters go; in nanoseconds it still is a 64-bit number
_BATCH_LINES = 200
_LINE_BYTES = 400  # in memory, without its message
_STREAMS = {name: number for number, name in STREAM_NAMES.items()}


class _LogSource:
    """The log store as a tail follows it."""

    def __init__(self, store: LogReader) -> None:
        self._store = store

    def latest(self) -> int:
        return self._store.latest()

    def appended(self, after: int) -> tuple[int, Sequence[tuple[int, StoredLine]]]:
        position, lines = self._store.appended(after)
        return position, [(line.number, line) for line in lines]


def log_tail(store: LogReader) -> Tail[StoredLine]:
    """What all followers of logs share."""
    size = _LINE_BYTES
    return Tail(
        "log tail", _LogSource(store), key=lambda line: line.service_uuid, size=lambda line: size + len(line.message)
    )


def log_answer(ctx: Context, query: LineQuery, service_uuid: str, instance: str | None) -> Response:
    """The answer to a question for lines: an array, a page of it, or a stream of events.

    `[start_time, end_time]` in whole seconds: the second of end_time belongs to it until its last nanosecond.
    """
    headers = unknown_keys(query)
    if query.newest and query.limit is None:
        raise invalid("newest", "true is only allowed with limit, from 1 to 10000")
    if query.follow:
        return _followed(ctx, query, service_uuid, instance)
    wanted = _wanted(ctx, query, service_uuid, instance)
    try:
        if query.limit is not None:
            return _page(ctx, wanted, query.limit, headers)
        return stream((log_json(line) for line in ctx.log_store.read(wanted)), headers)
    except ValueError as error:
        raise _bad_cursor("after", wanted.after) from error


def _wanted(
    ctx: Context, query: LineQuery, service_uuid: str, instance: str | None, *, resumed: bool = False
) -> Wanted:
    """Whoever goes on behind a place has named his start by it: the default one moves on with the clock."""
    end = query.end_time if query.end_time is not None else int(ctx.now().timestamp())
    start = query.start_time if query.start_time is not None else max(0, end - DEFAULT_SECONDS)
    if query.start_time is None and (resumed or query.after):
        start = 0
    if query.follow:
        end = LAST_SECOND
    return Wanted(
        service_uuid=service_uuid,
        start_ns=start * NANO,
        end_ns=(end + 1) * NANO - 1,
        instance=instance.lower() if instance else None,
        stream=_STREAMS[query.stream] if query.stream else None,
        query=query.query or "",
        newest=bool(query.newest),
        after=query.after or "",
    )


def _page(ctx: Context, wanted: Wanted, limit: int, headers: dict[str, str]) -> Response:
    """At most `limit` lines; `X-Next-Cursor` goes on behind the last one, `Link` is there while there are more."""
    lines: list[StoredLine] = []
    size, more = 0, False
    if wanted.newest:
        newest = ctx.log_store.read(replace(wanted, limit=limit))
        return answer([log_json(line) for line in newest], headers=headers)
    for line in ctx.log_store.read(replace(wanted, limit=limit + 1)):
        if len(lines) == limit or size > PAGE_BYTES:
            more = True
            break
        lines.append(line)
        size += len(line.message)
    if lines:
        headers["X-Next-Cursor"] = lines[-1].cursor
    if more:
        # the range as it was now: the default one moves on with the clock
        fixed = {"start_time": wanted.start_ns // NANO, "end_time": wanted.end_ns // NANO, "after": lines[-1].cursor}
        address = f"{request.base_url}?{urlencode({**request.args.to_dict(), **fixed})}"
        headers["Link"] = f'<{address}>; rel="next"'
    return answer([log_json(line) for line in lines], headers=headers)


@dataclass(frozen=True)
class _Place:
    """Where a follower stands. `number`: all stored up to it was there at the start; `cursor`: how far of that he is.

    With `cursor` None he has it all, and goes on in the order of storing.
    """

    number: int
    cursor: str | None


def _followed(ctx: Context, query: LineQuery, service_uuid: str, instance: str | None) -> Response:
    """Two parts: the lines stored until now, in the order of time; then what is stored, in the order of storing.

    An event's id tells in which part it is (`s:NUMBER:CURSOR`, `n:NUMBER`), so that whoever comes again with it gets
    neither a line twice nor misses one that is stored late and bears an earlier time.
    """
    if query.end_time is not None:
        raise invalid("end_time", f"{query.end_time} is not allowed with follow=true; leave it out")
    name, given = "after", query.after or ""
    if request.headers.get("Last-Event-ID"):
        name, given = "Last-Event-ID", request.headers["Last-Event-ID"]
    place = _place(given, ctx.log_store.latest())
    wanted = _wanted(ctx, query, service_uuid, instance, resumed=place.cursor != "")
    wanted = replace(wanted, after=place.cursor or "")
    if place.cursor == "" and query.limit is not None:
        wanted = replace(wanted, limit=query.limit, newest=True)
    try:
        return event_stream(ctx.followers, lambda: _batches(ctx, wanted, place))
    except ValueError as error:
        raise _bad_cursor(name, given) from error


def _place(given: str, latest: int) -> _Place:
    """The place that an event's id, or a page's cursor, names. One from a store that is no more begins anew."""
    stored = re.fullmatch(r"s:([0-9]{1,18}):(.*)", given, re.ASCII)
    if stored is not None:
        number, cursor = int(stored[1]), stored[2]
        return _Place(number, cursor) if number <= latest else _Place(latest, "")
    numbered = re.fullmatch(r"n:([0-9]{1,18})", given, re.ASCII)
    if numbered is not None:
        number = int(numbered[1])
        return _Place(number, None) if number <= latest else _Place(latest, "")
    return _Place(latest, given)


def _batches(ctx: Context, wanted: Wanted, place: _Place) -> Iterator[list[Event]]:
    if place.cursor is not None:
        batch: list[Event] = []
        for line in ctx.log_store.read(wanted):
            if line.number > place.number:
                continue  # comes again in the order of storing
            batch.append((f"s:{place.number}:{line.cursor}", followed_line_json(line)))
            if len(batch) == _BATCH_LINES:
                yield batch
                batch = []
        yield batch
    for found in ctx.log_tail.follow(place.number, wanted.service_uuid, partial(fits, wanted)):
        yield [(f"n:{number}", followed_line_json(line)) for number, line in found]


def _bad_cursor(name: str, given: str) -> ApiError:
    return invalid(name, f"{shown(given)} is no cursor; allowed: X-Next-Cursor of a page, or the id of an event")
