"""What each engine shows in one pass: one list call each, side by side, with a deadline."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

from orchestrator.engine.base import LABEL_INSTANCE, ContainerFact, Engine
from orchestrator.engine.errors import EngineError

log = logging.getLogger("skylark.reconciler")

LIST_DEADLINE_SECONDS = 20.0  # an engine that does not list by then counts as unreachable in this pass


@dataclass(frozen=True)
class Sight:
    """The containers of ours on one engine, by instance uuid; `trouble` when it did not answer."""

    engine: Engine
    facts: Mapping[str, ContainerFact] = field(default_factory=dict)
    trouble: str = ""


class Observer:
    """Lists every engine at once, so that a dead one does not hold up the others."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self.engines = engines
        self._pool = ThreadPoolExecutor(max(2, 2 * len(engines)), "observe")

    def look(self, urls: Iterable[str]) -> dict[str, Sight]:
        """One sight per engine URL."""
        asked = {url: self._pool.submit(self.engines[url].list_containers) for url in urls}
        sights = {}
        for url, future in asked.items():
            engine = self.engines[url]
            try:
                facts = future.result(LIST_DEADLINE_SECONDS)
                sights[url] = Sight(engine, {f.labels.get(LABEL_INSTANCE, f.id): f for f in facts})
            except EngineError as error:
                sights[url] = Sight(engine, trouble=f"engine does not answer: {error.message}")
            except FutureTimeout:
                sights[url] = Sight(engine, trouble=f"engine did not list within {LIST_DEADLINE_SECONDS:.0f} s")
            except Exception as bug:  # an answer that nobody understands: act on no guess, and hold up no other engine
                log.exception("the list of %s can't be read", url)
                sights[url] = Sight(engine, trouble=f"engine's list can't be read: {type(bug).__name__}: {bug}")
        return sights

    def close(self) -> None:
        """Stop asking."""
        self._pool.shutdown(wait=False, cancel_futures=True)
