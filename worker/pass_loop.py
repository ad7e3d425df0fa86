"""When to run a pass: ticks, wake-ups and finished jobs, gathered so that a burst costs one pass."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence

log = logging.getLogger("skylark.worker")

GATHER_SECONDS = 0.03  # passes are at least this far apart: what comes meanwhile shares one
RETRY_SECONDS = 1.0  # after a pass that failed as a whole (the database)

_ALL = ""  # the due entry of a full pass


class PassLoop:
    """One thread that runs passes; `request` is cheap and callable from every thread.

    `run_pass(uuids)` gets the due services, or None for all. Nothing runs while `may_run()` is false: requests
    wait, and are kept.
    """

    def __init__(
        self, run_pass: Callable[[Collection[str] | None], None], may_run: Callable[[], bool], name: str = "passes"
    ) -> None:
        self._run_pass = run_pass
        self._may_run = may_run
        self._due: dict[str, float] = {}
        self._again: dict[str, list[float]] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def request(self, uuid: str | None = None, delay_seconds: float = 0.0, again_seconds: Sequence[float] = ()) -> None:
        """Ask for a pass over one service (None: all) not later than in `delay_seconds`, and for more after it.

        `again_seconds`: from now, ascending; they take the place of those of an earlier request.
        """
        now = time.monotonic()
        at = now + max(0.0, delay_seconds)
        with self._changed:
            key = uuid or _ALL
            if again_seconds:
                self._again[key] = [now + seconds for seconds in again_seconds]
            if at < self._due.get(key, float("inf")):
                self._due[key] = at
                self._changed.notify()

    def stop(self, timeout_seconds: float = 60.0) -> None:
        """Finish the pass in hand and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def _loop(self) -> None:
        while (due := self._wait()) is not None:
            try:
                self._run_pass(None if _ALL in due else due)
            except Exception:
                log.exception("pass failed; the next one starts over")
                self.request(None, RETRY_SECONDS)
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, GATHER_SECONDS)

    def _wait(self) -> Collection[str] | None:
        """The services that are due, as soon as some are; None to end."""
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                due = [key for key, at in self._due.items() if at <= now]
                if due and self._may_run():
                    for key in due:
                        del self._due[key]
                        self._plan_again(key, now)
                    return due
                # without the lease, look again now and then: nobody notifies when it comes
                until = min(self._due.values(), default=now + 3600) if not due else now + 0.1
                self._changed.wait(max(0.001, until - now))
            return None

    def _plan_again(self, key: str, now: float) -> None:
        """The next of the further passes asked for becomes due; those whose time went by are done with this one."""
        times = [at for at in self._again.pop(key, ()) if at > now]
        if times:
            self._due[key] = times[0]
        if times[1:]:
            self._again[key] = times[1:]
