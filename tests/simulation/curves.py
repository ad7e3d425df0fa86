"""The loads that autoscalers are tried on; the random ones from a seed, so that they are the same each time."""

from __future__ import annotations

from functools import cache
from math import pi, sin
from random import Random

from tests.simulation.world import Curve


@cache
def _random(seed: str) -> float:
    return Random(seed).random()


@cache
def _noise(second: int) -> float:
    return Random(f"noise {second}").gauss(0.0, 1.0)


def _step(t: float) -> float:
    return 2.0 if 60 <= t < 660 else 0.3


def _ramp(t: float) -> float:
    """Up for ten minutes, two minutes there, down for ten."""
    return 0.3 + 2.4 * max(0.0, min(1.0, (t - 60) / 600, (1380 - t) / 600))


def _spike(t: float) -> float:
    return 3.0 if t % 120 < 5 else 0.5


STEP = Curve("step", 1200, _step)
RAMP = Curve("ramp", 1800, _ramp)
SAWTOOTH = Curve("sawtooth", 1800, lambda t: 0.3 + 2.1 * (t % 360) / 360)
WAVE = Curve("wave", 3600, lambda t: 1.3 - 1.1 * sin(2 * pi * (t / 1200 + 0.25)))
SPIKE = Curve("spike", 1200, _spike)
NOISE = Curve("noise", 1800, lambda t: max(0.0, 0.8 + 0.25 * _noise(int(t))), first=2)
BORDER = Curve("border", 1200, lambda t: 0.62 + 0.1 * _noise(int(t)))
MISSING = Curve("missing", 1200, _step, lost=lambda t, slot: _random(f"{t} {slot}") < 0.3)
STALE = Curve("stale", 1200, _step, lost=lambda t, slot: 80 <= t < 400)
RESTART = Curve("restart", 1200, _step, down=((95, 120), (700, 760)))
SLOW_START = Curve("slow start", 1500, _step, start_seconds=60)
REQUESTS = Curve("uncapped step", 1200, _step, capped=False)

ALL = (STEP, RAMP, SAWTOOTH, WAVE, SPIKE, NOISE, BORDER, MISSING, STALE, RESTART, SLOW_START, REQUESTS)
