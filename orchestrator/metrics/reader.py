"""Reads what the containers of one engine use, by the kernel's files where they are here, else by asking the engine."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Protocol

from orchestrator.engine.base import Engine
from orchestrator.metrics.deltas import Look
from orchestrator.metrics.reader_files import CgroupReader
from orchestrator.metrics.reader_stats import StatsReader

log = logging.getLogger("skylark.metrics")

FILES, STATS = "the kernel's files on this machine", "the engine's stats, one call a container"


class Reader(Protocol):
    """Whoever can tell what containers use."""

    def read(self, container_ids: Collection[str], seconds: float) -> dict[str, Look]:
        """By container id, within `seconds`; who does not answer is left out."""

    def close(self) -> None:
        """Read no more."""


class EngineReader:
    """Each engine decides on its own: a `unix://` one may still be on another machine, behind a forwarded socket.

    So the files are looked for in every round, which costs next to nothing, and the way is told when it changes.
    """

    def __init__(self, url: str, engine: Engine, files: CgroupReader | None = None) -> None:
        self._url = url
        self._files = (files or CgroupReader()) if url.startswith("unix://") else None
        self._stats = StatsReader(engine)
        self._told = ""

    def read(self, container_ids: Collection[str], seconds: float) -> dict[str, Look]:
        """By container id, within `seconds`; who does not answer is left out."""
        if not container_ids:
            return {}
        if self._files is not None:
            found = self._files.read(container_ids)
            if found:
                self._tell(FILES)
                return found
        found = self._stats.read(container_ids, seconds)
        if found:
            self._tell(STATS)
        return found

    def close(self) -> None:
        """Read no more."""
        self._stats.close()

    def _tell(self, way: str) -> None:
        if way != self._told:
            log.info("what instances on %s use is read from %s", self._url, way)
            self._told = way
