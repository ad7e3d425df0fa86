"""Skylark's autoscaler in the simulated world, with what its caller keeps between two looks."""

from __future__ import annotations

from datetime import datetime

from orchestrator.autoscaler import Recommendation, Samples, ScaleState, past, recommend
from tests.simulation.world import World


class Skylark:
    """Asks `recommend` at each look. `acted_at` is kept as a store would: the last action's end, when all was settled.

    `told`: every recommendation with its second.
    """

    def __init__(self) -> None:
        self.acted_at: datetime | None = None
        self.acting = False
        self.told: list[tuple[float, Recommendation]] = []

    def target(self, world: World) -> int:
        """The recommendation's target."""
        unsettled = world.unsettled()
        if self.acting and not unsettled:
            self.acting, self.acted_at = False, world.now
        if self.acted_at is not None:
            self.acted_at = past(self.acted_at, world.now)
        samples = Samples(world.points(world.policy.window_seconds), demand_at=world.now)
        told = recommend(world.policy, samples, ScaleState(world.target, unsettled, self.acted_at), world.now)
        self.acting = self.acting or told.target != world.target
        self.told.append((world.t, told))
        return told.target
