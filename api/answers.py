"""Answers as the clients of the time read them: JSON on one line with ", " and ": ", keys in the order given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from flask import Response, request

from api.context import context


def dump(value: Any) -> str:
    """JSON text on one line; non-ASCII stays readable."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    body = dump(value).encode("utf-8", "backslashreplace")  # of a lone surrogate this makes a JSON escape
    return Response(body, status, headers, content_type="application/json")


def stream(values: Iterable[Any], headers: dict[str, str] | None = None) -> Response:
    """A JSON array sent piece by piece. The first value is fetched here, so that an early fault is still an error."""
    values = iter(values)
    first = next(values, _NOTHING)

    def pieces() -> Iterator[bytes]:
        piece, separator = bytearray(b"["), ""
        for value in chain([first] if first is not _NOTHING else [], values):
            piece += (separator + dump(value)).encode("utf-8", "backslashreplace")
            separator = ", "
            if len(piece) >= _PIECE_BYTES:  # a write to the client costs more than a short value does
                yield bytes(piece)
                piece.clear()
        yield bytes(piece + b"]")

    return Response(pieces(), 200, headers, content_type="application/json")


_NOTHING = object()
_PIECE_BYTES = 32 * 1024


def empty(headers: dict[str, str] | None = None) -> Response:
    """204 without a body."""
    response = Response(b"", 204, headers)
    del response.headers["Content-Type"]
    return response


def wants_nothing() -> bool:
    """Whether a write is to be answered with 204 alone: the client prefers it, or the installation serves old SDKs."""
    preferred = re.search(r'(^|[,;])\s*return\s*=\s*"?minimal', request.headers.get("Prefer", ""), re.IGNORECASE)
    return bool(preferred) or context().settings.legacy_empty_answers


def written(value: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    """The answer of an accepted write: the object, or nothing when nothing is wanted."""
    return empty(headers) if wants_nothing() else answer(value, status, headers)
