"""An engine whose calls are timed and whose faults are counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from orchestrator.engine.base import Engine

Called = Callable[[str, str, float, BaseException | None], None]

_STREAMS = frozenset({"events", "logs", "close"})  # they last as long as somebody listens


class _Timed:
    def __init__(self, engine: Engine, url: str, called: Called) -> None:
        self._engine = engine
        self._url = url
        self._called = called

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._engine, name)
        if name.startswith("_") or name in _STREAMS or not callable(attribute):
            return attribute

        def timed(*args: Any, **kwargs: Any) -> Any:
            began, error = time.monotonic(), None
            try:
                return attribute(*args, **kwargs)
            except BaseException as fault:
                error = fault
                raise
            finally:
                self._called(self._url, name, time.monotonic() - began, error)

        self.__dict__[name] = timed  # looked up once
        return timed


def timed_engine(engine: Engine, url: str, called: Called) -> Engine:
    """The same engine; `called(url, name of the call, seconds, error)` hears of every call but streams."""
    return cast(Engine, _Timed(engine, url, called))
