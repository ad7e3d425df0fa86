"""From HAProxy's counters, which begin again with each of its workers, to what is new of each service. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from orchestrator.ingress.live import StatRow
from orchestrator.metrics.samples import ProxySample

_KEY = re.compile(r"[a-z]+_([0-9a-f-]{36})(_.*)?")


@dataclass(frozen=True)
class Tally:
    """What went through the proxy to a service. `requests`: connections, where the endpoint is no HTTP one.

    `sessions`: open at the moment of the reading; `response_ms`: of all requests together.
    """

    requests: int = 0
    errors_5xx: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    sessions: int = 0
    response_ms: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.requests + other.requests,
            self.errors_5xx + other.errors_5xx,
            self.bytes_in + other.bytes_in,
            self.bytes_out + other.bytes_out,
            self.sessions + other.sessions,
            self.response_ms + other.response_ms,
        )


# "pid backend" -> requests, 5xx, bytes in, bytes out as counted when last read; JSON as it stands
Readings = Mapping[str, list[int]]


def count(
    before: Readings, rows: Iterable[StatRow], ended: Iterable[StatRow] = ()
) -> tuple[dict[str, Tally], dict[str, list[int]]]:
    """(service uuid -> what is new since `before`, the readings to go on from next time).

    Each of HAProxy's workers counts from its own start, so readings are kept by worker. Worked example: worker 7 had
    100 requests when last read; now it says 120, and worker 9, new since a reload, 5: that makes 25. A worker that
    has less than before is another one of the same pid: all it has is new. Workers without rows have ended.
    `ended` are the last words of workers before a reload; they count where `rows` do not say more.
    """
    current = {(row.worker, row.proxy): (row, False) for row in rows if row.kind == "backend"}
    last_words = {(row.worker, row.proxy): (replace(row, sessions=0), True) for row in ended}
    found: dict[str, Tally] = {}
    after: dict[str, list[int]] = {}
    for row, is_over in (last_words | current).values():
        match = _KEY.fullmatch(row.proxy)
        if match is None:
            continue
        key = f"{row.worker} {row.proxy}"
        now = [_requests(row), row.responses.get("5xx", 0), row.bytes_in, row.bytes_out]
        last = before.get(key, [0] * len(now))
        grown = [new - old for new, old in zip(now, last, strict=True)]
        if min(grown) < 0:
            now, grown = (last, [0] * len(now)) if is_over else (now, now)
        requests, errors, bytes_in, bytes_out = grown
        tally = Tally(requests, errors, bytes_in, bytes_out, row.sessions, float(requests * row.response_ms))
        found[match[1]] = found.get(match[1], Tally()) + tally
        after[key] = now
    return {uuid: tally for uuid, tally in found.items() if tally != Tally()}, after


def served(rows: Iterable[StatRow]) -> set[str]:
    """The services (uuids) that have a backend in the proxy, with or without traffic."""
    matches = (_KEY.fullmatch(row.proxy) for row in rows if row.kind == "backend")
    return {match[1] for match in matches if match}


def proxy_samples(
    tallies: Mapping[str, Tally], services: Collection[str], at_ms: int, seconds: float
) -> list[ProxySample]:
    """What came in the `seconds` up to `at_ms`: a sample for each service that has traffic, and a zero for the others.

    So "no traffic" is known, and a missing sample says that nobody could look. HAProxy tells its average time to
    answer over the last 1024 requests, not over these alone: after a lull it still remembers what was before.
    """
    return [
        ProxySample(
            service_uuid=uuid,
            at_ms=at_ms,
            seconds=seconds,
            requests=tally.requests,
            errors_5xx=tally.errors_5xx,
            connections=tally.sessions,
            bytes_in=tally.bytes_in,
            bytes_out=tally.bytes_out,
            response_ms=tally.response_ms / tally.requests if tally.requests else None,
        )
        for uuid in sorted({*services, *tallies})
        for tally in (tallies.get(uuid, Tally()),)
    ]


def _requests(row: StatRow) -> int:
    return row.requests_total if row.proxy.startswith("http_") else row.sessions_total
