"""Readiness: what is probed, and what a row of answers means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.readiness import (
    NOT_ASKED,
    Probe,
    Verdict,
    judge,
    next_look_seconds,
    probe_for,
    target_of,
    with_readiness,
)
from orchestrator.state import Health, Instance, Phase

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PROBE = Probe((80,), failures=3)
BAD = "port 80: Connection refused"


def running(**changes: Any) -> Instance:
    return Instance("i", 0, "f", Phase.RUNNING, started_at=NOW, address="10.0.0.2", **changes)


@pytest.mark.parametrize(
    ("ports", "health", "probe"),
    [
        ([], {}, None),
        ([(53, "udp")], {}, None),
        ([(80, "tcp"), (22, "tcp"), (80, "tcp")], {}, Probe((80, 22))),
        ([(80, "tcp"), (22, "tcp")], {"path": "/up"}, Probe((80,), "/up")),
        ([(80, "tcp")], {"port": 8081, "path": "/up"}, Probe((8081,), "/up")),
        (
            [],
            {"port": 9000, "interval_seconds": 2, "timeout_seconds": 0.5, "failures": 1},
            Probe((9000,), "", 2, 0.5, 1),
        ),
    ],
)
def test_probe_follows_from_ports_and_preference(ports: Any, health: Any, probe: Probe | None) -> None:
    assert probe_for(ports, health) == probe


def test_it_takes_three_bad_answers_in_a_row_to_lose_readiness_and_one_good_to_gain_it() -> None:
    verdict, seen = Verdict(), []
    for fault in ("", BAD, BAD, "", BAD, BAD, BAD, BAD, ""):
        verdict = judge(verdict, fault, PROBE, NOW)
        seen.append(verdict.ready)

    assert seen == [True, True, True, True, True, True, False, False, True]


def test_instance_that_never_answered_is_unready_with_the_reason_and_asked_often() -> None:
    verdict = judge(Verdict(), BAD, PROBE, NOW)

    assert (verdict.ready, verdict.reason) == (False, BAD)
    assert next_look_seconds(verdict, PROBE) < 1
    assert next_look_seconds(judge(verdict, "", PROBE, NOW), PROBE) == PROBE.interval_seconds


def test_without_a_verdict_a_new_instance_is_unready_and_a_known_one_stays_as_it_was() -> None:
    assert with_readiness(running(), PROBE, None).unready == NOT_ASKED
    known = running(ready_at=NOW)
    assert with_readiness(known, PROBE, None) == known
    lost = running(unready=BAD)
    assert with_readiness(lost, PROBE, None) == lost


def test_verdict_is_taken_over() -> None:
    assert with_readiness(running(), PROBE, Verdict(True, NOW, 0, "")).ready_at == NOW
    bad = with_readiness(running(ready_at=NOW), PROBE, Verdict(False, None, 3, BAD))
    assert (bad.unready, bad.ready_at, bad.ready) == (BAD, None, False)


def test_images_own_health_check_goes_before_the_probe() -> None:
    healthy = running(health=Health.HEALTHY, unready=NOT_ASKED)

    assert with_readiness(healthy, PROBE, Verdict(False, None, 9, BAD)).ready
    assert target_of(healthy, "s", PROBE) is None


def test_service_without_ports_is_ready_as_soon_as_it_runs() -> None:
    assert with_readiness(running(), None, None).ready


def test_only_a_running_instance_with_an_address_is_asked() -> None:
    assert target_of(running(), "s", PROBE) is not None
    assert target_of(Instance("i", 0, "f", Phase.CREATED, address="10.0.0.2"), "s", PROBE) is None
    assert target_of(Instance("i", 0, "f", Phase.RUNNING), "s", PROBE) is None
