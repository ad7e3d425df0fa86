"""Gives instances about to be launched their place on an engine, as long as there is room. Lives for one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from sqlalchemy.orm import Session

from orchestrator.capacity import MIB, Limits, Occupied, Tally, add_up
from orchestrator.settings import Settings
from orchestrator.store.occupancy import living_by_size

FreeMemory = Callable[[str], int | None]  # engine URL -> bytes its host has available, None: not known


def limits_of(settings: Settings) -> Limits:
    """The operator's limits in bytes."""
    memory = settings.capacity_memory_mb
    return Limits(
        settings.capacity_instances, None if memory is None else memory * MIB, settings.capacity_reserve_mb * MIB
    )


def occupied(session: Session, settings: Settings, region_engines: Mapping[str, str], url: str) -> Occupied:
    """What is taken on that engine, over all regions that it serves."""
    counts: Counter[str] = Counter()
    for region, sizes in living_by_size(session).items():
        if region_engines.get(region) == url:
            counts += sizes
    size_bytes = {name: size.memory_bytes for name, size in settings.sizes.items()}
    return add_up(size_bytes, counts, fallback_bytes=min(size_bytes.values()))


class Places:
    """The database and the host are asked when the first launch of a pass asks, so a pass at rest asks neither."""

    def __init__(
        self, session: Session, settings: Settings, region_engines: Mapping[str, str], free_memory: FreeMemory
    ) -> None:
        self._session = session
        self._settings = settings
        self._region_engines = region_engines
        self._free_memory = free_memory
        self._tallies: dict[str, Tally] = {}

    def refusal(self, region: str, size: str) -> str:
        """ "" when there is room for an instance of that size, which is taken; else why not, in words."""
        url = self._region_engines[region]
        if url not in self._tallies:
            taken = occupied(self._session, self._settings, self._region_engines, url)
            self._tallies[url] = Tally(limits_of(self._settings), taken, self._free_memory(url))
        known = self._settings.sizes.get(size)
        return self._tallies[url].grant(known.memory_bytes if known else 0)
