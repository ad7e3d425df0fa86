"""What is new in HAProxy's counters, over reloads, restarts and workers that end."""

from __future__ import annotations

from typing import Any

from orchestrator.ingress.live import StatRow
from orchestrator.ingress.traffic import Tally, count

UUID = "0b0c5f1a-7f6e-4c62-9f3e-3a8d6f6a1c01"
WEB = f"http_{UUID}"


def row(requests: int, *, worker: int = 7, proxy: str = WEB, errors: int = 0, **values: Any) -> StatRow:
    given: dict[str, Any] = {
        "worker": worker,
        "proxy": proxy,
        "name": "BACKEND",
        "kind": "backend",
        "status": "UP",
        "sessions": 0,
        "sessions_total": requests,
        "requests_total": requests,
        "bytes_in": 10 * requests,
        "bytes_out": 100 * requests,
        "responses": {"2xx": requests - errors, "5xx": errors},
        "errors": {},
        "retries": 0,
        "redispatches": 0,
        "queue_ms": 0,
        "connect_ms": 0,
        "response_ms": 0,
        "total_ms": 0,
    }
    return StatRow(**(given | values))


def requests_of(tallies: dict[str, Tally]) -> int:
    return tallies[UUID].requests if UUID in tallies else 0


def test_growth_since_the_last_reading_is_counted_once() -> None:
    first, readings = count({}, [row(100, errors=2)])
    second, readings = count(readings, [row(120, errors=3, response_ms=5, sessions=4)])
    third, _ = count(readings, [row(120, errors=3, response_ms=5)])

    assert requests_of(first) == 100
    assert second == {UUID: Tally(20, 1, 200, 2000, 4, 100.0)}
    assert third == {}


def test_workers_before_and_after_a_reload_are_summed() -> None:
    _, readings = count({}, [row(100)])
    tallies, readings = count(readings, [row(120), row(5, worker=9)])
    assert requests_of(tallies) == 25

    tallies, readings = count(readings, [row(8, worker=9)])
    assert requests_of(tallies) == 3
    assert list(readings) == [f"9 {WEB}"]


def test_last_words_of_a_worker_that_ended_in_a_reload_count() -> None:
    _, readings = count({}, [row(100)])
    tallies, readings = count(readings, [row(1, worker=9)], [row(130, sessions=3)])
    assert tallies[UUID] == Tally(31, 0, 310, 3100)

    assert count(readings, [row(1, worker=9)])[0] == {}


def test_last_words_are_outdone_by_what_the_same_worker_says_now() -> None:
    _, readings = count({}, [row(100)])
    tallies, readings = count(readings, [row(140)], [row(130)])
    assert requests_of(tallies) == 40

    assert count(readings, [], [row(130)])[0] == {}, "older than the last reading: nothing is new"


def test_restarted_proxy_with_the_same_pid_counts_from_nothing() -> None:
    _, readings = count({}, [row(100)])
    tallies, readings = count(readings, [row(6)])

    assert requests_of(tallies) == 6
    assert requests_of(count(readings, [row(7)])[0]) == 1


def test_endpoints_of_a_service_are_summed_and_others_are_left_out() -> None:
    tcp = row(3, proxy=f"tcp_{UUID}_22", requests_total=0)
    strangers = [row(50, proxy="web", kind="frontend"), row(50, proxy="metrics"), row(9, kind="server")]

    assert requests_of(count({}, [row(4), tcp, *strangers])[0]) == 7
