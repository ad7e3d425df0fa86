"""Reading server-sent events in tests: as values, each as soon as it came."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Got:
    """An event or, with `name` "comment", a heartbeat."""

    id: str
    name: str
    data: Any


def events(pieces: Iterable[bytes]) -> Iterator[Got]:
    """The events of a body that comes piece by piece."""
    rest = b""
    for piece in pieces:
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            lines = [line.partition(":") for line in block.decode().split("\n")]
            fields = {name: value.strip() for name, _, value in lines}
            if "data" in fields:
                yield Got(fields.get("id", ""), fields.get("event", "message"), json.loads(fields["data"]))
            elif "" in fields:
                yield Got("", "comment", None)
