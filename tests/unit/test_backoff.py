"""How long Skylark waits before it tries again."""

from __future__ import annotations

import pytest

from orchestrator.backoff import after_death, after_fault, restart_delay_seconds, transient_delay_seconds
from orchestrator.state import Retry
from tests.support.world import NOW, later


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (1, 0), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 300), (10_000, 300)]
)
def test_restarts_wait_ten_seconds_doubling_to_five_minutes(failures: int, seconds: float) -> None:
    assert restart_delay_seconds(failures) == seconds


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (10_000, 30)])
def test_passing_faults_wait_a_second_doubling_to_thirty(failures: int, seconds: float) -> None:
    assert transient_delay_seconds(failures, 0.5) == seconds


def test_jitter_spreads_by_a_quarter_to_both_sides() -> None:
    assert transient_delay_seconds(3, 0.0) == 3.0
    assert transient_delay_seconds(3, 0.999) == pytest.approx(5.0, abs=0.01)


def test_first_death_is_healed_at_once() -> None:
    assert after_death(Retry(), 5, NOW, "exit code 1") == Retry(1, NOW, "exit code 1")


def test_second_death_in_a_row_waits() -> None:
    assert after_death(Retry(1, NOW, "exit code 1"), 5, NOW, "exit code 2") == Retry(2, later(10), "exit code 2")


def test_ten_good_minutes_forget_what_was_before() -> None:
    assert after_death(Retry(9, NOW, "x"), 600, NOW, "exit code 1") == Retry(1, NOW, "exit code 1")
    assert after_death(Retry(9, NOW, "x"), 599.9, NOW, "exit code 1").failures == 10


def test_fault_that_needs_a_person_waits_ten_seconds_from_the_first() -> None:
    first = after_fault(Retry(), transient=False, jitter=0.5, now=NOW, reason="no such tag")
    second = after_fault(first, transient=False, jitter=0.5, now=NOW, reason="no such tag")

    assert (first.retry_at, second.retry_at) == (later(10), later(20))


def test_passing_fault_waits_a_second_from_the_first() -> None:
    assert after_fault(Retry(), transient=True, jitter=0.5, now=NOW, reason="timeout") == Retry(1, later(1), "timeout")
