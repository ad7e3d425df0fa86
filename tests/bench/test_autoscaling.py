"""The comparison of autoscalers: its table, its plots, and the rules of the other one."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench.autoscaling import POLICY, main
from tests.bench.svg import Line, Panel, plot
from tests.simulation.hpa import Hpa
from tests.simulation.world import Curve, World

SVG = "{http://www.w3.org/2000/svg}"


def targets(load: float, first: int, seconds: int, before: float | None = None) -> list[int]:
    """What the HPA makes of a steady load, which was `before` in the first minute."""
    curve = Curve("steady", seconds, lambda t: before if before is not None and t < 60 else load, first=first)
    return [second.target for second in World(curve, POLICY).run(Hpa())]


def test_comparison_prints_a_row_for_each_set_of_rules_and_draws_the_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--curve", "step", "--folder", str(tmp_path)]) == 0

    rows = capsys.readouterr().out.splitlines()[2:4]
    assert [row.split(" | ")[:2] for row in rows] == [["| step", "Skylark"], ["| step", "HPA"]]
    drawing = ElementTree.parse(tmp_path / "step.svg")
    assert len(drawing.findall(f"{SVG}polyline")) == 6


def test_plot_of_steps_keeps_the_corners_only() -> None:
    text = plot([Panel("a < b", [Line("n", "red", [(t, 1.0 if t < 50 else 2.0) for t in range(101)], steps=True)])])

    line = ElementTree.fromstring(text).find(f"{SVG}polyline")
    assert line is not None
    assert len(line.attrib["points"].split()) == 4


@pytest.mark.parametrize(
    ("load", "first", "target"),
    [
        (1.6, 2, 3),  # 0.8 / 0.6 = 1.33 * 2 = 2.67
        (1.3, 2, 2),  # 0.65 / 0.6 = 1.08, within the tolerance
        (9.0, 2, 4),  # at its limit a CPU shows 1.0 / 0.6 = 1.67 * 2 = 3.3
    ],
)
def test_hpa_goes_to_the_ratio_beyond_its_tolerance(load: float, first: int, target: int) -> None:
    assert targets(load, first, 15)[-1] == target


def test_hpa_goes_down_to_the_highest_of_the_last_five_minutes() -> None:
    course = targets(0.5, 4, 420, before=2.3)

    assert set(course[:345]) == {4}
    assert course[-1] == 1
