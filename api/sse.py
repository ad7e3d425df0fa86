"""Server-sent events: the wire form, what is asked of the connection, and when a stream ends."""

from __future__ import annotations

import logging
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from flask import Response, request

from api.answers import dump
from api.errors import ApiError
from api.followers import Followers

log = logging.getLogger("skylark.follow")

_STALLED_SECONDS = 30.0  # a client that takes nothing for so long is let go; it comes again with its last id
_PIECE_BYTES = 16 * 1024
_RETRY_AFTER_SECONDS = "5"

Event = tuple[str, dict[str, Any]]  # id, data


def event_stream(followers: Followers, batches: Callable[[], Iterator[list[Event]]]) -> Response:
    """The answer to a follower: the events of all batches, a comment when it is quiet, an end when asked to end.

    `batches` is called once the follower has a place; each of its batches comes within about a second.
    """
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if request.method == "HEAD":
        return Response(b"", 200, headers, content_type="text/event-stream")
    give_back = followers.take()
    if give_back is None:
        raise ApiError(
            503,
            f"{followers.most} clients follow logs or events through this process, and no more are let in, so that "
            "other requests are served; try again, or ask without follow",
            code="too_many_followers",
            headers={"Retry-After": _RETRY_AFTER_SECONDS},
        )
    client = Client(request.environ.get("gunicorn.socket"))
    try:
        all_ = batches()
        first = next(all_)  # here, so that an early fault is still an error
    except BaseException:
        give_back()
        raise
    pieces = _pieces(followers, client, _whole(chain([first], all_)))
    response = Response(pieces, 200, headers, content_type="text/event-stream")
    response.call_on_close(give_back)
    return response


def _whole(batches: Iterator[list[Event]]) -> Iterator[list[Event] | None]:
    """The batches, and None where reading them failed: the status is sent already."""
    try:
        yield from batches
    except Exception as error:
        log.warning("a follower is sent away, as what it follows can't be read: %s", error)
        yield None


def _pieces(followers: Followers, client: Client, batches: Iterator[list[Event] | None]) -> Iterator[bytes]:
    yield b"retry: 1000\n\n"
    sent_at = time.monotonic()
    for batch in batches:
        if batch is None:
            yield _reconnect("what you follow can't be read now")
            return
        for piece in _joined(batch):
            if not client.takes(followers.ended):
                return
            yield piece
            sent_at = time.monotonic()
        if client.gone():
            return
        if followers.ended():
            yield _reconnect("this server process ends")
            return
        if time.monotonic() - sent_at >= followers.heartbeat_seconds:
            if not client.takes(followers.ended):
                return
            yield b":\n\n"
            sent_at = time.monotonic()


def _reconnect(reason: str) -> bytes:
    """The last word of a stream; a browser's EventSource comes again by itself."""
    return f"event: reconnect\ndata: {dump({'reason': f'{reason}; connect again with Last-Event-ID'})}\n\n".encode()


def _joined(batch: list[Event]) -> Iterator[bytes]:
    """The batch's events in pieces of some 16 KB: one write for many short ones."""
    piece = bytearray()
    for id_, data in batch:
        piece += f"id: {id_}\ndata: {dump(data)}\n\n".encode("utf-8", "backslashreplace")
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


class Client:
    """The connection behind a request, as far as the server shows it (gunicorn does; None: nothing is known)."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection
        if connection is not None:
            with suppress(OSError):  # a write that got stuck all the same ends too, and not only with the process
                limit = struct.pack("ll", int(2 * _STALLED_SECONDS), 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def gone(self) -> bool:
        """Whether the client has hung up."""
        if self._connection is None or not self._ready(select.POLLIN, 0):
            return False
        try:
            return not self._connection.recv(1, socket.MSG_PEEK)
        except ValueError:  # TLS shows nothing ahead
            return False
        except OSError:
            return True

    def takes(self, ended: Callable[[], bool]) -> bool:
        """Wait until the connection has room for more; False when it stays full, or the process is about to end."""
        if self._connection is None:
            return True
        deadline = time.monotonic() + _STALLED_SECONDS
        while not self._ready(select.POLLOUT, 1.0):
            if ended() or time.monotonic() > deadline:
                return False
        return True

    def _ready(self, event: int, seconds: float) -> bool:
        assert self._connection is not None
        poll = select.poll()
        try:
            poll.register(self._connection, event)
            return bool(poll.poll(seconds * 1000))
        except (OSError, ValueError):  # closed already: reading or writing will tell
            return True
