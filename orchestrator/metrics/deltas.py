"""From counters to rates: what two readings of one container say about the time between them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.metrics.samples import Reading


@dataclass(frozen=True, slots=True)
class Look:
    """A reading and when it was taken by a clock that never jumps. `at_seconds`: monotonic."""

    reading: Reading
    at_seconds: float


def cpu_cores(before: Look | None, now: Look, longest_seconds: float) -> float | None:
    """Cores used on average between two looks at the same container; None where that says nothing.

    Worked example: 1.5 s of CPU time in 5 s -> 0.3. Nothing is said of a first look, of a counter that went back
    (the container was started again), and after `longest_seconds`: an average over minutes is no news of now.
    """
    if before is None:
        return None
    seconds = now.at_seconds - before.at_seconds
    used_ns = now.reading.cpu_ns - before.reading.cpu_ns
    if used_ns < 0 or not 0 < seconds <= longest_seconds:
        return None
    return used_ns / 1e9 / seconds
