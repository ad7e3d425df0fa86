"""Does jobs in bounded pools, so that no slow pull and no long stop delays another service."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from orchestrator.actions import Launch, Pull, Remove, Resume, Stop
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.jobs import Job, Outcome, Progress
from orchestrator.steps import Revoked, Steps

log = logging.getLogger("skylark.reconciler")

_STOP_THREADS = 64  # graceful stops only wait
_PULL_THREADS = 16  # of each registry: pulls only wait too, and one that hangs must not hold up another registry's


class Executor:
    """Runs jobs and keeps their outcomes until the next pass collects them.

    The engine is bound by its CPU: past 4 creates or removals at a time nothing gets faster (DESIGN, measured
    facts). `on_done(outcome, idle)` is called after each outcome; idle: nothing of that service is under way.
    """

    def __init__(
        self,
        steps: Steps,
        *,
        parallelism: int,
        clock: Callable[[], datetime],
        on_done: Callable[[Outcome, bool], None],
    ) -> None:
        self._steps = steps
        self._clock = clock
        self._on_done = on_done
        self._lock = threading.Lock()
        self._busy: dict[str, str] = {}  # key -> verb
        self._pending: Counter[str] = Counter()
        self._outcomes: list[Outcome] = []
        self._pulls: dict[tuple[int, str], list[Job]] = {}
        self._launches = ThreadPoolExecutor(parallelism, "launch")
        self._removals = ThreadPoolExecutor(parallelism, "remove")
        self._stops = ThreadPoolExecutor(_STOP_THREADS, "stop")
        self._pullers: dict[str, ThreadPoolExecutor] = {}  # by registry

    def busy(self) -> frozenset[str]:
        """Keys of all jobs whose outcome was not acknowledged yet."""
        with self._lock:
            return frozenset(self._busy)

    def queued(self) -> Counter[str]:
        """How many jobs there are by verb, waiting or under way."""
        with self._lock:
            return Counter(self._busy.values())

    def outcomes(self) -> list[Outcome]:
        """What came of jobs and was not acknowledged yet, oldest first."""
        with self._lock:
            return list(self._outcomes)

    def acknowledge(self, outcomes: list[Outcome]) -> None:
        """These are safely recorded: their keys are free again. Until then nothing new is done under them."""
        with self._lock:
            self._outcomes = self._outcomes[len(outcomes) :]
            for outcome in outcomes:
                self._busy.pop(outcome.job.key, None)

    def submit(self, job: Job) -> None:
        """Queue a job; a job whose key is busy is dropped, the next pass decides again."""
        with self._lock:
            if job.key in self._busy:
                return
            self._busy[job.key] = job.verb
            self._pending[job.service_uuid] += 1
            if isinstance(job.action, Pull):
                waiting = self._pulls.setdefault((id(job.engine), job.image_ref), [])
                waiting.append(job)
                if len(waiting) > 1:
                    return  # the same image is on its way: share the outcome
        self._pool(job).submit(self._run, job)

    def shutdown(self) -> None:
        """Take no more jobs and finish the launches and removals in hand.

        Pulls and graceful stops may take minutes, and only wait: the engine goes on with them, and the next worker
        sees what came of them.
        """
        for pool in (*self._pullers.values(), self._stops):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._launches, self._removals):
            pool.shutdown(wait=True, cancel_futures=True)

    def _pool(self, job: Job) -> ThreadPoolExecutor:
        match job.action:
            case Pull():
                registry = job.image_ref.partition("/")[0]
                if registry not in self._pullers:
                    self._pullers[registry] = ThreadPoolExecutor(_PULL_THREADS, f"pull {registry}")
                return self._pullers[registry]
            case Launch() | Resume():
                return self._launches
            case Stop():
                return self._stops
            case _:
                return self._removals

    def _run(self, job: Job) -> None:
        outcome = self._attempt(job)
        if isinstance(job.action, Pull):
            with self._lock:
                sharers = self._pulls.pop((id(job.engine), job.image_ref), [job])
            for sharer in sharers:
                self._finish(replace(outcome, job=sharer))
        elif isinstance(job.action, Stop) and outcome.error is None and not outcome.revoked:
            with suppress(RuntimeError):  # shut down meanwhile: the next worker removes it
                self._removals.submit(self._remove_stopped, outcome)
        else:
            self._finish(outcome)

    def _remove_stopped(self, stopped: Outcome) -> None:
        """The second half of a stop, in the pool for removals."""
        removal = replace(stopped.job, action=Remove(*_identity(stopped.job.action)))
        outcome = self._attempt(removal)
        self._finish(replace(outcome, job=stopped.job, seconds=stopped.seconds + outcome.seconds))

    def _attempt(self, job: Job) -> Outcome:
        began = time.monotonic()
        progress, error, revoked = Progress(), None, False
        try:
            self._steps.do(job, progress)
        except EngineError as fault:
            error = fault
        except Revoked:
            revoked = True
        except Exception as bug:  # one broken job must not end its thread without a word
            log.exception("job failed: %s %s", job.verb, job.service_name)
            error = EngineError(Fault.INVALID, f"{type(bug).__name__}: {bug}")
        return Outcome(
            job=job,
            at=self._clock(),
            seconds=time.monotonic() - began,
            error=error,
            revoked=revoked,
            container_id=progress.container_id,
            detail=progress.detail,
            image=progress.image,
            volumes=tuple(progress.volumes),
        )

    def _finish(self, outcome: Outcome) -> None:
        fields = outcome.log_fields()
        level = logging.WARNING if outcome.error or outcome.revoked else logging.INFO
        log.log(level, "action", extra={"fields": fields})
        service = outcome.job.service_uuid
        with self._lock:
            self._outcomes.append(outcome)
            self._pending[service] -= 1
            idle = self._pending[service] <= 0
            if idle:
                del self._pending[service]
        self._on_done(outcome, idle)


def _identity(action: object) -> tuple[str, int, str]:
    assert isinstance(action, Stop)
    return action.instance_uuid, action.slot, action.reason
