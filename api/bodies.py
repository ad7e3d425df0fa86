"""Reading request bodies: JSON as the clients really send it, and the login's forms."""

from __future__ import annotations

import json
from typing import Any

from flask import request

from api.errors import ApiError
from orchestrator.spec_maps import check_depth
from orchestrator.spec_text import shown

# curl -d says "form" of JSON text, old clients say nothing at all
_JSON_TYPES = {"", "application/json", "text/json", "text/plain", "application/x-www-form-urlencoded"}
_JSON_TYPES |= {"application/octet-stream"}


def json_body(*, optional: bool = False) -> Any:
    """The body as JSON. With `optional` an empty one is None. Raises ApiError 400, 413, 415."""
    raw = request.get_data(cache=True)
    if not raw.strip():
        if optional:
            return None
        raise ApiError(400, "the body is empty; it must be a JSON object", code="malformed")
    kind = request.mimetype
    if kind not in _JSON_TYPES and not kind.endswith("+json"):
        raise ApiError(415, f"a body of type {shown(kind)} is not understood; send application/json")
    return _parse(raw)


def json_object(*, optional: bool = False) -> dict[str, Any] | None:
    """The body as a JSON object. Raises ApiError as `json_body` does, 400 for any other JSON value too."""
    body = json_body(optional=optional)
    if body is not None and not isinstance(body, dict):
        raise ApiError(400, f"{shown(body)} is not an object; the body must be a JSON object", code="malformed")
    if body is None and not optional:
        raise ApiError(400, "null is not an object; the body must be a JSON object", code="malformed")
    return body


def login_body() -> dict[str, Any]:
    """The login's fields, sent as JSON, as a form or as multipart form data."""
    if request.mimetype in ("application/x-www-form-urlencoded", "multipart/form-data"):
        fields = request.form.to_dict()
        raw = request.get_data(cache=True) if not fields else b""
        return fields if fields or not raw.strip().startswith(b"{") else _object(_parse(raw))
    return json_object() or {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _parse(raw: bytes) -> Any:
    try:
        value = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ApiError(400, f"the body is not UTF-8: byte {error.start} is wrong", code="malformed") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ApiError(400, f"the body is not JSON: {error.msg} at {where}", code="malformed") from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply", code="malformed") from None
    except ValueError as error:
        raise ApiError(400, f"the body is not JSON: {error}", code="malformed") from None
    try:
        check_depth(value)
    except ValueError as error:
        raise ApiError(400, f"the body {error}", code="malformed") from None
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")
