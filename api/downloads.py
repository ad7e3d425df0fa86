"""Addresses that need no token: signed, for one day of one service's log, and only for a while."""

from __future__ import annotations

import hashlib
import hmac
import zlib
from collections.abc import Iterable, Iterator
from urllib.parse import quote, urlencode

from api.errors import ApiError
from api.wire_history import line_text
from orchestrator.logs.lines import StoredLine

VALID_SECONDS = 15 * 60
PREFIX = "/v1/log-downloads"
_CHUNK_BYTES = 64 * 1024
_GZIP_WINDOW = 31  # zlib's word for a gzip header around the widest window


def signed_path(secret: str, service_uuid: str, file: str, now: int) -> str:
    """Path and query of the file, good for 15 minutes from `now` (epoch seconds)."""
    expires = now + VALID_SECONDS
    query = urlencode({"expires": expires, "signature": _signature(secret, service_uuid, file, expires)})
    return f"{PREFIX}/{service_uuid}/{quote(file)}?{query}"


def check_signature(secret: str, service_uuid: str, file: str, expires: int, signature: str, now: int) -> None:
    """Raise ApiError 403 unless we have signed it and it has not expired."""
    right = _signature(secret, service_uuid, file, expires)
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), right.encode()):
        raise ApiError(
            403, "the address is not one that this installation gave out; ask .../logs-download/DAY/ for one"
        )
    if now > expires:
        raise ApiError(403, "the address has expired; ask .../logs-download/DAY/ for a new one", code="expired")


def gzipped(lines: Iterable[StoredLine]) -> Iterator[bytes]:
    """The lines as text, compressed piece by piece."""
    packer = zlib.compressobj(wbits=_GZIP_WINDOW)
    text = bytearray()
    for line in lines:
        text += line_text(line).encode("utf-8", "replace")
        if len(text) >= _CHUNK_BYTES:
            packed = packer.compress(bytes(text))
            text.clear()
            if packed:
                yield packed
    yield packer.compress(bytes(text)) + packer.flush()


def _signature(secret: str, service_uuid: str, file: str, expires: int) -> str:
    """Keyed by the admin token (by way of a purpose of its own): a new token ends all addresses given out."""
    key = hmac.digest(secret.encode(), b"skylark log downloads", hashlib.sha256)
    return hmac.new(key, f"{service_uuid}\n{file}\n{expires}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()
