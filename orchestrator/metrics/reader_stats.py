"""Reads what containers use by asking the engine for each, several at once: the way that works from anywhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait

from orchestrator.engine.base import Engine
from orchestrator.engine.errors import EngineError
from orchestrator.metrics.deltas import Look

log = logging.getLogger("skylark.metrics")

_THREADS = 64  # engine 20.10 answers each call only at its next full second, and all that wait then together


class StatsReader:
    """`read` takes as long as the slowest answer, and at most the time it is given; safe for one thread."""

    def __init__(self, engine: Engine, threads: int = _THREADS) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(threads, "stats")
        self._late: dict[str, Future[Look | None]] = {}  # asked in a former round, and no answer by its end
        self._round = 0
        self._answered: dict[str, int] = {}  # in which round last

    def read(self, container_ids: Collection[str], seconds: float) -> dict[str, Look]:
        """By container id. Who does not answer within `seconds` is left out; its answer may come in the next round.

        Where they are too many for one round, those go first whose answer is the oldest: with 300 of a second each,
        64 at a time and 4 s, everybody answers in every second round at least.
        """
        self._round += 1
        self._answered = {i: self._answered.get(i, 0) for i in container_ids}
        asked = {i: future for i, future in self._late.items() if i in self._answered}
        for container_id in sorted(self._answered, key=self._answered.__getitem__):
            if container_id not in asked:
                asked[container_id] = self._pool.submit(self._ask, container_id)
        wait(asked.values(), timeout=seconds)
        found, self._late = {}, {}
        for container_id, future in asked.items():
            if future.done():
                look = future.result()
                if look is not None:
                    found[container_id] = look
                    self._answered[container_id] = self._round
            elif not future.cancel():
                self._late[container_id] = future
        return found

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, container_id: str) -> Look | None:
        try:
            reading = self._engine.stats(container_id)
        except EngineError as error:
            log.debug("no stats of %s: %s", container_id[:12], error.message)
            return None
        return Look(reading, time.monotonic())
