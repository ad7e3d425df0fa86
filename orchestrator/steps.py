"""The engine calls behind each action, in their order. Every call asks first whether we still may act."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from orchestrator.actions import Launch, Pull, ReleaseVolumes, Remove, Resume, Stop
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.jobs import Job, Progress

Drain = Callable[[Job, str], None]  # collects a container's log to its end; (job, container id)
Unroute = Callable[[Job], None]  # takes an instance out of the proxy and waits until its requests are done


class Revoked(Exception):
    """The lease was lost in the middle: another worker goes on from here."""


class Steps:
    """Does a job. `permit` says whether we hold the lease; `drain` collects a log before its container goes."""

    def __init__(self, permit: Callable[[], bool], drain: Drain, unroute: Unroute = lambda job: None) -> None:
        self._permit = permit
        self._drain = drain
        self._unroute = unroute

    def do(self, job: Job, progress: Progress) -> None:
        """Raises EngineError or Revoked; `progress` keeps what was done until then."""
        match job.action:
            case Pull():
                self._pull(job, progress)
            case Launch() | Resume():
                self._launch(job, progress)
            case Stop():
                self._stop(job, progress)
            case Remove():
                self._remove(job, progress)
            case ReleaseVolumes():
                self._release_volumes(job)
            case _:
                pass  # Forget and Purge concern rows only

    def _may(self) -> None:
        if not self._permit():
            raise Revoked

    def _pull(self, job: Job, progress: Progress) -> None:
        self._may()
        progress.image = job.engine.pull(job.image_ref, job.auth)

    def _launch(self, job: Job, progress: Progress) -> None:
        assert job.config is not None, "a launch is made with its configuration"
        progress.container_id = job.container_id
        if progress.container_id is None:
            if job.network is not None:
                self._may()
                job.engine.ensure_network(job.network)
            for volume in job.volumes:
                self._may()
                progress.volumes.append(job.engine.ensure_volume(volume))
            self._may()
            progress.container_id = job.engine.create_container(job.config)
        try:
            self._may()
            job.engine.start_container(progress.container_id)
        except EngineError as error:
            # A container that can't be started is of no use: without it the next try begins anew.
            if error.fault is not Fault.UNREACHABLE:
                with suppress(EngineError):
                    job.engine.remove_container(progress.container_id)
            raise

    def _stop(self, job: Job, progress: Progress) -> None:
        assert job.container_id is not None, "only what has a container can be stopped"
        self._may()
        if job.routed:
            self._unroute(job)
            self._may()
        job.engine.stop_container(job.container_id, job.grace_seconds)

    def _remove(self, job: Job, progress: Progress) -> None:
        if job.container_id is None:
            return
        self._may()
        try:
            progress.detail = job.engine.inspect_container(job.container_id)
        except EngineError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            return
        if progress.detail.state not in ("running", "paused", "created"):
            self._drain(job, job.container_id)
        self._may()
        job.engine.remove_container(job.container_id)

    def _release_volumes(self, job: Job) -> None:
        for name in job.volume_names:
            self._may()
            job.engine.remove_volume(name)
