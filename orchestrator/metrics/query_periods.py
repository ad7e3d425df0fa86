"""Which periods points can be asked for, and how many of them a range gives. Pure."""

from __future__ import annotations

from dataclasses import dataclass

PERIODS = {  # word of the contract -> seconds
    "1s": 1,
    "1m": 60,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "4h": 14_400,
    "12h": 43_200,
    "1d": 86_400,
    "7d": 604_800,
    "30d": 2_592_000,
}
DEFAULT_PERIOD = "1m"
MOST_POINTS = 11_000


@dataclass(frozen=True)
class Span:
    """Points of `period` seconds each that lie in, or reach into, [start, end] (epoch seconds).

    A point stands at a multiple of its period and always holds the whole of it, whatever range is asked for.
    """

    start: int
    end: int
    period: int

    @property
    def first(self) -> int:
        """Time of the first point."""
        return self.start // self.period * self.period

    @property
    def last(self) -> int:
        """Time of the last point."""
        return self.end // self.period * self.period

    @property
    def points(self) -> int:
        """How many points it can have; 0 when it ends before it starts."""
        return max(0, (self.last - self.first) // self.period + 1) if self.start <= self.end else 0

    @property
    def raw(self) -> bool:
        """Whether the points are samples, not what samples add up to."""
        return self.period < PERIODS["1m"]


def choose_period(word: str | None, start: int, end: int) -> Span:
    """The span asked for; without a word that of one minute, or of the next longer period that is not too many points.

    Raises ValueError: not a period, or too many points, with what is allowed.
    """
    if word is not None and word not in PERIODS:
        raise ValueError(f"is not a period; one of {', '.join(PERIODS)}")
    spans = {name: Span(start, end, seconds) for name, seconds in PERIODS.items()}
    fitting = [name for name, span in spans.items() if span.points <= MOST_POINTS]
    if word is None:
        longer = [name for name in fitting if not spans[name].raw]
        return spans[longer[0] if longer else "30d"]
    if word not in fitting:
        raise ValueError(
            f"gives {spans[word].points} points over this range, at most {MOST_POINTS} are answered; "
            f"allowed: a shorter range, or one of {', '.join(fitting)}"
        )
    return spans[word]
