"""How many more instances of a service its host takes, for the autoscaler: asked for each service in each round."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from sqlalchemy.orm import Session, sessionmaker

from orchestrator.capacity import Occupied, room
from orchestrator.places import FreeMemory, limits_of, occupied
from orchestrator.settings import Settings
from orchestrator.store.database import session_scope
from orchestrator.store.records import ServiceRecord

_FRESH_SECONDS = 1.0  # what is taken is counted once for all services of a round
_LEAST_NEED_BYTES = 16 * 1024 * 1024  # an instance that shows less has only just begun


class Room:
    """Callable as the autoscaler's `room`. `memory_used`: bytes that an instance of a service uses on average."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        settings: Settings,
        free_memory: FreeMemory,
        memory_used: Callable[[str], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._settings = settings
        self._engines: Mapping[str, str] = {region.name: region.engine_url for region in settings.regions.values()}
        self._free_memory = free_memory
        self._memory_used = memory_used
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Occupied]] = {}

    def __call__(self, record: ServiceRecord) -> tuple[int | None, str]:
        """The number, and what limits it; none known for a service in a region that is not configured any more."""
        url = self._engines.get(record.spec.region_name)
        size = self._settings.sizes.get(record.spec.instance_size)
        if url is None or size is None:
            return None, ""
        need_bytes = min(size.memory_bytes, max(_LEAST_NEED_BYTES, self._memory_used(record.uuid)))
        limits = limits_of(self._settings)
        return room(limits, self._occupied(url), size.memory_bytes, self._free_memory(url), need_bytes)

    def _occupied(self, url: str) -> Occupied:
        with self._lock:
            at, taken = self._known.get(url, (float("-inf"), Occupied()))
            if self._monotonic() - at >= _FRESH_SECONDS:
                with session_scope(self._sessions) as session:
                    taken = occupied(session, self._settings, self._engines, url)
                self._known[url] = self._monotonic(), taken
            return taken
