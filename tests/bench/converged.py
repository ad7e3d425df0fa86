"""What a system at rest costs: full passes over hundreds of running containers, counted call by call."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from threading import Event
from typing import Any

from sqlalchemy import Engine as Database
from sqlalchemy import event

from orchestrator.engine.base import Engine
from orchestrator.settings import Settings, read_settings
from tests.bench.skylark import Skylark
from worker.compose import Worker, docker_engine

SERVICES = 10
READS = ("SELECT", "PRAGMA", "BEGIN", "WITH")


@dataclass(frozen=True)
class Rest:
    """`pass_seconds`: median; calls, writes and actions are of one pass (the largest seen)."""

    containers: int
    pass_seconds: float
    engine_calls: int
    database_writes: int
    actions: int
    worker_cpu_percent: float  # of one core, of the real process at rest


class Counting:
    """An engine that counts the calls it passes on."""

    def __init__(self, engine: Engine, calls: Counter[str]) -> None:
        self._engine, self._calls = engine, calls

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._engine, name)
        if not callable(attribute) or name == "close":
            return attribute

        def counted(*arguments: Any, **named: Any) -> Any:
            self._calls[name] += 1
            return attribute(*arguments, **named)

        return counted


@contextmanager
def counting_writes() -> Iterator[Counter[str]]:
    """Counts all SQL statements of this process that are no reads, by their first word."""
    writes: Counter[str] = Counter()

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        word = statement.split(None, 1)[0].upper()
        if word not in READS:
            writes[word] += 1

    event.listen(Database, "before_cursor_execute", note)
    try:
        yield writes
    finally:
        event.remove(Database, "before_cursor_execute", note)


def measure_rest(make: Callable[[], Skylark], containers: int, idle_seconds: float, passes: int) -> Rest:
    """Bring `containers` up through the API, look at the real worker at rest, then count passes of one in here."""
    skylark = make()
    try:
        each = [containers // SERVICES + (number < containers % SERVICES) for number in range(SERVICES)]
        names = {f"rest-{number}": count for number, count in enumerate(each) if count}
        for name, count in names.items():
            skylark.up(count, name)
        for name, count in names.items():
            skylark.wait_until_running(count, name)
        before, began = skylark.worker_cpu_seconds(), time.monotonic()
        Event().wait(idle_seconds)
        used = (skylark.worker_cpu_seconds() - before) / (time.monotonic() - began)
    finally:
        skylark.close()
    return _count_passes(read_settings(skylark.environ), containers, passes, used * 100)


def _count_passes(settings: Settings, containers: int, passes: int, cpu_percent: float) -> Rest:
    calls: Counter[str] = Counter()
    worker = Worker(settings, lambda settings, url: Counting(docker_engine(settings, url), calls))  # type: ignore[arg-type,return-value]
    worker.reconciler.run_pass()  # the first one connects
    seconds, most_calls, most_writes, actions = [], 0, 0, 0
    with counting_writes() as writes:
        for _ in range(passes):
            calls.clear()
            writes.clear()
            began = time.perf_counter()
            report = worker.reconciler.run_pass()
            seconds.append(time.perf_counter() - began)
            most_calls = max(most_calls, calls.total())
            most_writes = max(most_writes, writes.total())
            actions = max(actions, report.actions)
    for engine in worker.engines.values():
        engine.close()
    return Rest(containers, median(seconds), most_calls, most_writes, actions, cpu_percent)
