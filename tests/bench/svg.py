"""Line plots as SVG text, by hand: a panel on top of another, with a shared time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, GAP = 860, 220, 46, 44
TICKS = 4


@dataclass(frozen=True)
class Line:
    """A named line through (seconds, value); `steps`: it jumps from value to value."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    steps: bool = False


@dataclass(frozen=True)
class Panel:
    """A titled plot of some lines."""

    title: str
    lines: Sequence[Line]


def plot(panels: Sequence[Panel]) -> str:
    """The whole file."""
    seconds = max(t for panel in panels for line in panel.lines for t, _ in line.points)
    most = max(v for panel in panels for line in panel.lines for _, v in line.points) * 1.05
    height = len(panels) * (HEIGHT + GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>'
    ]
    for index, panel in enumerate(panels):
        parts += _panel(panel, 30 + index * (HEIGHT + GAP), seconds, most)
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel, top: int, seconds: float, most: float) -> list[str]:
    wide, high = WIDTH - LEFT - 16, HEIGHT - 20

    def at(t: float, value: float) -> tuple[float, float]:
        return LEFT + wide * t / seconds, top + high * (1 - value / most)

    parts = [f'<text x="{LEFT}" y="{top - 10}" font-weight="bold">{escape(panel.title)}</text>']
    for tick in range(TICKS + 1):
        x, y = at(seconds * tick / TICKS, most * tick / TICKS)
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + wide}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * tick / TICKS:.1f}</text>')
        parts.append(
            f'<text x="{x:.1f}" y="{top + high + 14}" text-anchor="middle">{seconds * tick / TICKS:.0f} s</text>'
        )
    for index, line in enumerate(panel.lines):
        path = [at(t, value) for t, value in (_corners(line.points) if line.steps else line.points)]
        told = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
        parts.append(f'<polyline points="{told}" fill="none" stroke="{line.colour}" stroke-width="1.6"/>')
        x = LEFT + wide - 110 * (len(panel.lines) - index)
        parts.append(f'<text x="{x}" y="{top - 10}" fill="{line.colour}">{escape(line.name)}</text>')
    return parts


def _corners(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where a line that jumps from value to value begins, turns and ends."""
    kept = [points[0]]
    for t, value in points[1:]:
        if value != kept[-1][1]:
            kept += [(t, kept[-1][1]), (t, value)]
    return [*kept, (points[-1][0], kept[-1][1])]
