"""Sorting of the engine's answers into faults. Pure: status codes, texts and exceptions in, `EngineError` out.

The texts are those of a real engine (20.10) and registry; newer engines keep them or add a prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import requests
import urllib3.exceptions

from orchestrator.engine.errors import EngineError, Fault

_LONGEST = 400  # characters of a message that are kept

_START = (
    (Fault.NO_SPACE, ("no space left on device", "disk quota exceeded")),
    (Fault.PORT_IN_USE, ("port is already allocated", "address already in use")),
)
_COMMAND = ("executable file not found", "permission denied", "no such file or directory", "is a directory",
            "exec format error", "not a directory")  # fmt: skip
# The order counts: a missing name is said with the words of an unreachable host, a refusal with those of a missing tag
_PULL = (
    (Fault.NO_SPACE, ("no space left on device", "disk quota exceeded")),
    (Fault.REGISTRY_UNKNOWN_HOST, ("no such host", "name or service not known", "nxdomain")),
    (Fault.REGISTRY_UNREACHABLE, ("toomanyrequests", "too many requests", "server misbehaving",
                                  "temporary failure in name resolution")),
    (Fault.REGISTRY_DENIED, ("no basic auth credentials", "unauthorized", "authentication required", "access denied",
                             "access to the resource is denied", "denied:", "403 forbidden", "401 ",
                             "incorrect username or password")),
    (Fault.IMAGE_NOT_FOUND, ("manifest unknown", "name unknown", "not found", "repository does not exist",
                             "no matching manifest", "does not match the specified platform")),
    (Fault.INVALID, ("invalid reference format", "invalid tag format", "invalid repository name", "invalid checksum",
                     "unsupported digest")),
    (Fault.REGISTRY_UNREACHABLE, ("connection refused", "connection reset", "i/o timeout", "no route to host",
                                  "network is unreachable", "client.timeout", "deadline exceeded", "tls:", "x509:",
                                  "tls handshake", "server gave http response", "broken pipe", "proxyconnect",
                                  "bad gateway", "service unavailable", "gateway timeout", "internal server error",
                                  "malformed http", "received unexpected http status")),
)  # fmt: skip


def readable(message: str) -> str:
    """The engine's text on one line and not longer than a person reads."""
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def sort_answer(status: int, message: str) -> EngineError:
    """The fault behind an error answer of a call about containers, images or volumes."""
    text = message.lower()
    for fault, words in _START:
        if any(word in text for word in words):
            return EngineError(fault, readable(message))
    if status == 404:
        missing_image = "no such image" in text or ("image" in text and "not found" in text)
        return EngineError(Fault.IMAGE_MISSING if missing_image else Fault.NOT_FOUND, readable(message))
    if status == 409:
        return EngineError(Fault.CONFLICT, readable(message))
    if status == 400:
        return EngineError(Fault.INVALID, readable(message))
    return EngineError(Fault.ENGINE, readable(message))


def sort_start(status: int, message: str) -> EngineError:
    """Like `sort_answer`, for a start: the runtime's complaint about the command comes as 400 or 500."""
    text = message.lower()
    runtime = "oci runtime" in text or "runc" in text or "container_linux.go" in text or "exec:" in text
    if runtime and "exec" in text and any(word in text for word in _COMMAND):
        return EngineError(Fault.BAD_COMMAND, readable(_tail_of_runtime(message)))
    return sort_answer(status, message)


def sort_pull(status: int, message: str) -> EngineError:
    """The fault behind a failed pull; `status` is 200 when the text came inside the stream."""
    text = message.lower()
    for fault, words in _PULL:
        if any(word in text for word in words):
            return EngineError(fault, readable(message))
    if re.search(r"\beof\b", text):  # the registry broke off in the middle
        return EngineError(Fault.REGISTRY_UNREACHABLE, readable(message))
    if status in (400, 404):
        return EngineError(Fault.INVALID if status == 400 else Fault.IMAGE_NOT_FOUND, readable(message))
    return EngineError(Fault.ENGINE, readable(message))


def _tail_of_runtime(message: str) -> str:
    """The part a user understands: `exec: "nope": executable file not found in $PATH`."""
    found = re.search(r'exec: ".*', message, re.DOTALL)
    return re.sub(r":? unknown\s*$", "", found.group(0)) if found else message


def sort_connection(url: str, error: BaseException) -> EngineError:
    """The fault behind a call that got no answer from the engine at `url`."""
    causes = list(_causes(error))
    late = (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TimeoutError)
    if any(isinstance(cause, late) for cause in causes):
        return EngineError(Fault.TIMEOUT, f"the engine at {url} did not answer in time")
    system = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    return EngineError(Fault.UNREACHABLE, readable(f"no engine answers at {url}: {[*system, str(error)][0]}"))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and all it was made from: the SDK wraps them by cause, by context and as arguments."""
    todo, seen = [error], set[int]()
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        linked = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        todo += [other for other in linked if isinstance(other, BaseException)]
