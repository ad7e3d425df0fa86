"""How long to wait before trying again. Pure: the time and the jitter are arguments."""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.state import Retry

RESTART_FIRST_SECONDS = 10.0
RESTART_LIMIT_SECONDS = 300.0
GOOD_AFTER_SECONDS = 600.0  # an instance that lived this long has proved itself: its failures are forgotten
TRANSIENT_LIMIT_SECONDS = 30.0


def restart_delay_seconds(failures: int) -> float:
    """Seconds to wait after the n-th failure in a row.

    The first death is healed at once, since most are one-offs (a kill, a host's memory); from the second on
    it is 10 s doubling to 300 s:  1 -> 0, 2 -> 10, 3 -> 20, 4 -> 40, 5 -> 80, 6 -> 160, 7 and more -> 300.
    """
    if failures <= 1:
        return 0.0
    return float(min(RESTART_FIRST_SECONDS * 2 ** min(failures - 2, 30), RESTART_LIMIT_SECONDS))


def transient_delay_seconds(failures: int, jitter: float) -> float:
    """Seconds to wait after the n-th passing fault in a row: 1 s doubling to 30 s, times 0.75 to 1.25.

    `jitter` in [0, 1) spreads services that failed together, so that they do not come back together.
    """
    return float(min(2 ** min(failures - 1, 30), TRANSIENT_LIMIT_SECONDS)) * (0.75 + 0.5 * jitter)


def after_death(before: Retry, ran_seconds: float, now: datetime, reason: str) -> Retry:
    """The slot's state after its instance ended by itself, having run for `ran_seconds`."""
    failures = 1 if ran_seconds >= GOOD_AFTER_SECONDS else before.failures + 1
    return Retry(failures, now + timedelta(seconds=restart_delay_seconds(failures)), reason)


def after_fault(before: Retry, *, transient: bool, jitter: float, now: datetime, reason: str) -> Retry:
    """The state after a pull or a launch that failed; a fault that needs a person waits longer (from 10 s)."""
    failures = before.failures + 1
    delay = transient_delay_seconds(failures, jitter) if transient else restart_delay_seconds(failures + 1)
    return Retry(failures, now + timedelta(seconds=delay), reason)
