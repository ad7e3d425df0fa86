"""The smallest values of a spec: numbers, names, paths and texts as old and new clients write them. Pure.

Every function takes the value as JSON gave it, answers it cleaned, and raises ValueError saying what is wrong and
what is allowed.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Callable
from typing import Any

DNS_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
LABEL_RULE = "lowercase letters, digits and dashes, no dash at the ends, at most 63 characters"
_DOMAIN_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_THRESHOLD = r"[0-9]{1,9}(\.[0-9]{1,12})?|\.[0-9]{1,12}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_IMAGE = re.compile(rf"({_HOST}/)?{_PART}(/{_PART})*(@{_DIGEST})?")
_TAG = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}|@?{_DIGEST}")


def shown(value: Any, limit: int = 60) -> str:
    """A value as an error message may repeat it: short, printable, never raw."""
    if isinstance(value, str):
        value = value[: limit + 1]
    said = repr(value) if isinstance(value, str) else json.dumps(value, default=repr)
    return said if len(said) <= limit else said[: limit - 3] + "..."


def text(value: Any, limit: int) -> str:
    """A text that every database can hold: no NUL, no lone surrogate, bounded."""
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not a text")
    if "\x00" in value:
        raise ValueError("contains a NUL character, which is not allowed")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("contains a lone surrogate, which is not valid text")
    if len(value) > limit:
        raise ValueError(f"is {len(value)} characters long; at most {limit} are allowed")
    return value


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A reader of integers from `low` to `high`, written as a number or as decimal text."""

    def read(value: Any) -> int:
        number = value
        as_text = isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value, re.ASCII)
        if as_text or (isinstance(value, float) and value.is_integer()):
            number = int(value)
        if isinstance(number, bool) or not isinstance(number, int):
            raise ValueError(f"{shown(value)} is not a whole number; allowed: {low} to {high}")
        if not low <= number <= high:
            raise ValueError(f"{shown(value)} is out of range; allowed: {low} to {high}")
        return number

    return read


def one_of(*allowed: str) -> Callable[[Any], str]:
    """A reader of one of the given words."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"{shown(value)} is not allowed; one of {', '.join(allowed)}")
        return value

    return read


def threshold(value: Any, *, fraction: bool) -> str:
    """A threshold as text, given as text or number; a text is kept as it is written.

    `fraction`: from 0 to 1 ("0.6" = 60 %); else any number from 0 on, as sums, counts, requests and connections are.
    """
    allowed = "0 to 1, 0.6 means 60 %" if fraction else "any number from 0 on, such as 1.5 or 100"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not re.fullmatch(_THRESHOLD, value.strip()):
        raise ValueError(f"{shown(value)} is not a {'fraction' if fraction else 'number'}; allowed: {allowed}")
    if fraction and float(value) > 1:
        raise ValueError(f"{shown(value)} is above 1; a threshold is a fraction from 0 to 1, 0.6 means 60 %")
    return value.strip()


def switch(value: Any) -> bool:
    """On or off: true, false, as JSON or as text, 1 or 0."""
    known = {"true": True, "1": True, "false": False, "0": False}
    word = str(value).lower() if isinstance(value, (bool, int, str)) else ""
    if word not in known:
        raise ValueError(f"{shown(value)} is not allowed; one of true, false, 1, 0")
    return known[word]


def dns_label(value: Any) -> str:
    """A name that can be one label of a domain name."""
    if not isinstance(value, str) or len(value) > 63 or not re.fullmatch(DNS_LABEL, value):
        raise ValueError(f"{shown(value)} is not a name; allowed: {LABEL_RULE}")
    return value


def domain_name(value: Any) -> str:
    """A full domain name of at least two labels, or "" for none."""
    if value is None or value == "":
        return ""
    if (
        not isinstance(value, str)
        or len(value) > 253
        or not re.fullmatch(rf"({_DOMAIN_LABEL}\.)+{_DOMAIN_LABEL}", value.lower(), re.ASCII)
        or value.rpartition(".")[2].isdigit()
    ):
        raise ValueError(
            f"{shown(value)} is not a domain name; allowed: one name such as www.example.com, no wildcard, "
            'no port, no trailing dot, or "" for none'
        )
    return value


def application(value: Any) -> str | None:
    """An application's name or None."""
    if value is None or value == "":
        return None
    name = text(value, 64)
    if not name.isprintable() or name != name.strip() or "/" in name:
        raise ValueError(f"{shown(name)} is not an application name; printable characters without '/', or null")
    return name


def image_name(value: Any) -> str:
    """A registry path without a tag, perhaps with a digest: host:5000/group/name@sha256:..."""
    name = text(value, 512)
    if _IMAGE.fullmatch(name):
        return name
    if ":" in name.rpartition("/")[2] and "@" not in name:
        raise ValueError(f"{shown(name)} carries a tag; write the tag into image_tag")
    raise ValueError(
        f"{shown(name)} is not an image name; allowed: [host[:port]/]path in lowercase letters, digits, '.', '_', "
        "'-' and '/', with @sha256:<64 hex digits> at the end if wanted"
    )


def image_tag(value: Any) -> str:
    """A tag, or a digest sha256:...; nothing means latest."""
    if value is None or value == "":
        return "latest"
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise ValueError(
            f"{shown(value)} is not an image tag; allowed: letters, digits, '_', '.', '-', at most 128, "
            "not starting with '.' or '-', or sha256:<64 hex digits>"
        )
    return value.removeprefix("@")


def command(value: Any) -> str:
    """A command line in shell words; "" means the image's own."""
    if value is None:
        return ""
    line = text(value, 32 * 1024)
    try:
        shlex.split(line)
    except ValueError as error:
        raise ValueError(f"cannot be split into words ({error}); quote as in a shell") from None
    return line


def volume_path(value: Any) -> str:
    """An absolute path inside the container, in its shortest form."""
    path = text(value, 255)
    if not path.startswith("/") or ":" in path or not path.isprintable() or ".." in path.split("/"):
        raise ValueError(f"{shown(path)} is not allowed; an absolute path such as /data, without ':' and '..'")
    path = "/" + posixpath.normpath(path).lstrip("/")
    if path in ("/", "/proc", "/sys", "/dev") or path.startswith(("/proc/", "/sys/", "/dev/")):
        raise ValueError(f"{shown(path)} cannot be a volume; choose another folder such as /data")
    return path


def word(limit: int) -> Callable[[Any], str]:
    """A reader of one bounded word."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(rf"[A-Za-z0-9_.:-]{{1,{limit}}}", value):
            raise ValueError(f"{shown(value)} is not allowed; letters, digits, '_', '.', ':', '-', at most {limit}")
        return value

    return read
