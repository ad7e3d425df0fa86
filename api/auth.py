"""Who may call: the admin token in `Authorization: Token <token>`."""

from __future__ import annotations

import hmac
import re

from flask import request

from api.context import context
from api.errors import ApiError

ADMIN = "admin"  # whoever holds the admin token
_OPEN = re.compile(r"/(healthz|readyz|openapi\.json|docs(/.*)?|v1/generate-api-token|v1/log-downloads/.+)/?")


def require_token() -> None:
    """Let a request pass whose token is right or that needs none; raise ApiError 401 otherwise."""
    if not needs_token(request.path):
        return
    given = request.headers.get("Authorization")
    if given is None:
        raise ApiError(401, "no token; send the header Authorization: Token <token>")
    match = re.fullmatch(r"\s*Token\s+(\S+)\s*", given, re.IGNORECASE)
    if match is None:
        raise ApiError(401, "the Authorization header is not understood; send Authorization: Token <token>")
    if not same_secret(match[1], context().settings.admin_token):
        raise ApiError(401, "the token is wrong")


def needs_token(path: str) -> bool:
    """Whether the path is only for those who hold the token."""
    return _OPEN.fullmatch(path) is None


def same_secret(given: str, kept: str) -> bool:
    """Compare in a time that tells nothing; an empty secret fits nobody."""
    return bool(kept) and hmac.compare_digest(given.encode("utf-8", "replace"), kept.encode())


def caller() -> str:
    """The name of the user behind the request."""
    return ADMIN
