"""The benchmark's numbers as text: medians in seconds, and how many times as long as Skylark the others take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from tests.bench.converged import Rest
from tests.bench.races import Sample

TITLES = {
    "up": "request to {count} running",
    "down": "request to {count} removed",
    "heal": "kill to replacement running",
}


def lines(samples: Sequence[Sample], rest: Rest | None, missing: Mapping[str, str]) -> Iterator[str]:
    """A table with a row for each race; in brackets Skylark's time as a multiple of that contestant's."""
    names = list(dict.fromkeys(s.contestant for s in samples))
    yield _row("median seconds (Skylark's time / its time)", names)
    for race in TITLES:
        for count in sorted({s.count for s in samples if s.race == race}):
            medians = {n: _median(samples, race, count, n) for n in names}
            yield _row(TITLES[race].format(count=count), [_cell(medians.get("Skylark"), medians[n], n) for n in names])
    if rest:
        yield ""
        yield (
            f"a full pass at rest over {rest.containers} containers: {rest.pass_seconds * 1000:.1f} ms, "
            f"engine calls {rest.engine_calls}, database writes {rest.database_writes}, actions {rest.actions}; "
            f"the worker at rest uses {rest.worker_cpu_percent:.1f} % of a core"
        )
    for name, reason in missing.items():
        yield f"{name} could not run: {reason}"


def _median(samples: Sequence[Sample], race: str, count: int, name: str) -> float | None:
    found = [s.seconds for s in samples if (s.race, s.count, s.contestant) == (race, count, name)]
    return median(found) if found else None


def _cell(skylark: float | None, other: float | None, name: str) -> str:
    if other is None:
        return "-"
    return f"{other:.2f}" if name == "Skylark" or skylark is None else f"{other:.2f} ({skylark / other:.2f})"


def _row(title: str, cells: Sequence[str]) -> str:
    return f"{title:<44}" + "".join(f"{cell:>18}" for cell in cells)
