"""`python -m tests.bench.autoscaling`: Skylark's rules and Kubernetes' HPA on the same simulated loads.

Prints a Markdown table, and writes a plot of each curve to build/autoscaling/. No engine, no clock: the same each time.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from orchestrator.autoscaler import Policy
from tests.bench.svg import Line, Panel, plot
from tests.simulation.curves import ALL
from tests.simulation.hpa import Hpa
from tests.simulation.scalers import Skylark
from tests.simulation.world import Curve, Second, World, score

FOLDER = Path("build/autoscaling")
POLICY = Policy(
    metric="CPU_UTILIZATION",
    statistic="MEAN",
    lower=0.2,
    upper=0.6,
    decrease_delta=1,
    increase_delta=1,
    minimum=1,
    maximum=6,
    wait_seconds=30.0,
)
COLUMNS = ("short of 0.6, s", "saturated, s", "surplus, instance-s", "actions", "turns", "overshoot")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: it compares, it does not judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.autoscaling", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the plots go")
    parser.add_argument("--increase-delta", type=int, default=1, help="of Skylark's policy")
    parser.add_argument("--curve", choices=[curve.name for curve in ALL], help="this one only")
    asked = parser.parse_args(arguments)
    policy = Policy(**{**vars(POLICY), "increase_delta": asked.increase_delta})
    asked.folder.mkdir(parents=True, exist_ok=True)
    print(f"| curve | rules | {' | '.join(COLUMNS)} |\n|---|---|{'---|' * len(COLUMNS)}")
    for curve in [curve for curve in ALL if asked.curve in (None, curve.name)]:
        runs = {"Skylark": World(curve, policy).run(Skylark()), "HPA": World(curve, policy).run(Hpa())}
        for name, run in runs.items():
            print(row(curve.name, name, run))
        (asked.folder / f"{curve.name.replace(' ', '-')}.svg").write_text(drawn(curve, policy, runs))
    print(f"\nplots: {asked.folder}/*.svg")
    return 0


def row(curve: str, rules: str, run: Sequence[Second]) -> str:
    """A line of the table."""
    told = score(run)
    cells = (told.short, told.saturated, told.surplus, told.actions, told.turns, told.overshoot)
    return f"| {curve} | {rules} | {' | '.join(str(cell) for cell in cells)} |"


def drawn(curve: Curve, policy: Policy, runs: dict[str, list[Second]]) -> str:
    """The load, what it needs, and how many instances were ready for it, one panel for each set of rules."""
    panels = []
    for name, run in runs.items():
        lines = [
            Line("load", "#bbbbbb", [(s.t, s.load) for s in run]),
            Line("needed", "#2b7bba", [(s.t, s.needed) for s in run], steps=True),
            Line("ready", "#d9480f", [(s.t, s.ready) for s in run], steps=True),
        ]
        panels.append(Panel(f"{curve.name}: {name} (instances; needed to stay under {policy.upper:g})", lines))
    return plot(panels)


if __name__ == "__main__":
    raise SystemExit(main())
