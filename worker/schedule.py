"""The worker's clockwork: jobs at their intervals on an APScheduler that blocks until it is told to end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from apscheduler.events import EVENT_SCHEDULER_STARTED
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.blocking import BlockingScheduler

JobTable = Sequence[tuple[str, Callable[[], object], float]]  # name, what to do, every so many seconds


class Schedule:
    """Every job begins at once and never runs twice at a time; turns that a long one overran are left out."""

    def __init__(self, always: JobTable, while_leading: JobTable, may_act: Callable[[], bool]) -> None:
        self._may_act = may_act
        self._running = threading.Event()
        self._scheduler = BlockingScheduler(
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None}, timezone=UTC
        )
        self._scheduler.add_listener(lambda event: self._running.set(), EVENT_SCHEDULER_STARTED)
        for name, function, seconds in (*always, *((n, self._if_leading(f), s) for n, f, s in while_leading)):
            now = datetime.now(UTC)
            self._scheduler.add_job(function, "interval", seconds=seconds, id=name, next_run_time=now)

    def run(self) -> None:
        """Block until `stop`."""
        self._scheduler.start()

    def stop(self) -> None:
        """Let `run` end. Callable from a signal handler."""
        threading.Thread(target=self._shut_down, daemon=True).start()

    def _shut_down(self) -> None:
        self._running.wait()  # a signal may come before `run` is that far
        with suppress(SchedulerNotRunningError):  # a second signal
            self._scheduler.shutdown(wait=False)

    def _if_leading(self, function: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            if self._may_act():
                function()

        return run
