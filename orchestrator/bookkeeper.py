"""From outcomes of jobs to rows and events: progress lives in the database, with its reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.orm import Session

from orchestrator.actions import Launch, Pull, ReleaseVolumes, Remove, Resume, Stop
from orchestrator.backoff import after_fault
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.jobs import Outcome
from orchestrator.readiness import NOT_ASKED
from orchestrator.state import Retry
from orchestrator.store.pass_writes import PassWrites
from orchestrator.store.schema import RevisionRow, ServiceRow, SlotRow

# The next list shows what really is there; counting these against a slot would punish it for the engine's trouble.
_LOOK_AGAIN = {Fault.CONFLICT, Fault.UNREACHABLE, Fault.TIMEOUT, Fault.NOT_FOUND}


def looks_again(error: EngineError) -> bool:
    """Whether a failed launch is left to the next look at the engine, with no back-off of its own."""
    return error.fault in _LOOK_AGAIN


class Bookkeeper:
    """Records outcomes inside one transaction.

    `random` in [0, 1) is the jitter of retries; `probing`: somebody probes, so that a launch is not ready at once.
    """

    def __init__(self, random: Callable[[], float], *, probing: bool = False) -> None:
        self._random = random
        self._probing = probing

    def record(self, session: Session, outcome: Outcome, now: datetime) -> None:
        """One outcome; a revoked one leaves the rows to whoever holds the lease now."""
        if outcome.revoked:
            return
        writes = PassWrites(session, now)
        match outcome.job.action:
            case Pull():
                self._pulled(session, writes, outcome, now)
            case Launch() | Resume():
                self._launched(session, writes, outcome, now)
            case Stop() | Remove():
                self._removed(session, writes, outcome)
            case ReleaseVolumes():
                self._released(writes, outcome)

    def _pulled(self, session: Session, writes: PassWrites, outcome: Outcome, now: datetime) -> None:
        job, image = outcome.job, outcome.image
        service = (job.service_uuid, job.service_name)
        if outcome.error or image is None:
            row = session.get(ServiceRow, job.service_uuid)
            before = Retry(row.pull_failures if row else 0)
            retry, error = self._after(before, outcome.error, now)
            writes.set_service(
                job.service_uuid,
                job.generation,
                pull_failures=retry.failures,
                pull_retry_at=retry.retry_at,
                pull_reason=retry.reason,
            )
            writes.event(
                "pull_failed", retry.reason, service=service, image=job.image_ref, failures=retry.failures, fault=error
            )
            return
        revision = session.get(RevisionRow, (job.service_uuid, job.revision))
        done: dict[str, object] = {"pull_failures": 0, "pull_retry_at": None, "pull_reason": ""}
        if revision is None or revision.image_ref == job.image_ref:  # a fetch by digest tells nothing of the tag
            done["recheck_image"] = False
        writes.set_service(job.service_uuid, job.generation, **done)
        writes.set_service(job.service_uuid, image_missing=False)
        if revision is None:
            return
        if revision.image_id is None:
            writes.resolve(job.service_uuid, job.revision, image.image_id, image.image_digest)
            reason = f"{job.image_ref} is {image.image_id[:19]}"
        elif revision.image_ref == job.image_ref and revision.image_id != image.image_id:
            moved = writes.move_tag(job.service_uuid, job.revision, image.image_id, image.image_digest)
            if moved is None:
                return
            reason = f"{job.image_ref} moved to {image.image_id[:19]}: revision {moved}"
        else:
            reason = f"{image.image_id[:19]} is there: {job.action.reason}"
            writes.event("image_fetched", reason, service=service, image=job.image_ref, digest=image.image_digest)
            return
        writes.clear_slots(job.service_uuid)
        writes.event("image_resolved", reason, service=service, image=job.image_ref, digest=image.image_digest)

    def _launched(self, session: Session, writes: PassWrites, outcome: Outcome, now: datetime) -> None:
        job = outcome.job
        assert job.instance_uuid is not None
        assert isinstance(job.action, Launch | Resume)
        service, slot = (job.service_uuid, job.service_name), job.action.slot
        writes.volumes_made(outcome.volumes)
        if outcome.error is None and outcome.container_id is not None:
            unready = NOT_ASKED if job.probed and self._probing else ""
            writes.instance_running(job.instance_uuid, outcome.container_id, outcome.at, unready)
            writes.event("instance_launched", job.action.reason, service=service, instance=job.instance_uuid, slot=slot)
            return
        if outcome.error is None or looks_again(outcome.error):
            return
        if outcome.error.fault is Fault.IMAGE_MISSING:
            writes.close_instance(job.instance_uuid, reason="the engine lost the image")
            writes.set_service(job.service_uuid, image_missing=True)
            image = job.config.image_id if job.config else ""
            writes.event("image_lost", f"the engine has no {image[:19]} any more", service=service, image=image)
            return
        if outcome.error.fault is Fault.SUBNET_TAKEN and job.network is not None:
            writes.close_instance(job.instance_uuid, reason=outcome.error.message, finished_at=now)
            writes.give_up_subnet(job.network.subnet)
            writes.event("subnet_given_up", outcome.error.message, service=service, subnet=job.network.subnet)
            return
        row = session.get(SlotRow, (job.service_uuid, slot))
        retry, fault = self._after(Retry(row.failures if row else 0), outcome.error, now)
        writes.close_instance(job.instance_uuid, reason=retry.reason, finished_at=now)
        writes.set_slot(job.service_uuid, slot, retry)
        writes.event(
            "launch_failed",
            retry.reason,
            service=service,
            instance=job.instance_uuid,
            slot=slot,
            fault=fault,
            failures=retry.failures,
        )

    def _removed(self, session: Session, writes: PassWrites, outcome: Outcome) -> None:
        job, detail = outcome.job, outcome.detail
        assert isinstance(job.action, Stop | Remove)
        if outcome.error is not None or job.instance_uuid is None:
            return  # it is still in the list, so the next pass orders it again
        service = (job.service_uuid, job.service_name)
        facts: dict[str, object] = {}
        if detail is not None:
            facts = {"exit_code": detail.exit_code, "oom_killed": detail.oom_killed}
            facts |= {"finished_at": detail.finished_at} if detail.finished_at else {}
        writes.close_instance(job.instance_uuid, **facts)
        if detail is not None and detail.oom_killed:
            self._tell_oom(session, writes, outcome)
        kind = "instance_stopped" if isinstance(job.action, Stop) else "instance_removed"
        code = detail.exit_code if detail else None
        writes.event(
            kind, job.action.reason, service=service, instance=job.instance_uuid, slot=job.action.slot, exit_code=code
        )

    def _tell_oom(self, session: Session, writes: PassWrites, outcome: Outcome) -> None:
        """Only the inspect tells that the kernel ended it for its memory: say so where its death is told."""
        job = outcome.job
        assert isinstance(job.action, Stop | Remove)
        row = session.get(SlotRow, (job.service_uuid, job.action.slot))
        if row is not None and "memory" not in row.reason:
            row.reason = f"{row.reason}, out of memory"
        writes.event(
            "instance_oom_killed",
            "it used more memory than its instance_size allows",
            service=(job.service_uuid, job.service_name),
            instance=job.instance_uuid,
            slot=job.action.slot,
            exit_code=outcome.detail.exit_code if outcome.detail else None,
        )

    def _released(self, writes: PassWrites, outcome: Outcome) -> None:
        if outcome.error is not None:
            return
        for name in outcome.job.volume_names:
            writes.drop_volume(name)
            service = (outcome.job.service_uuid, outcome.job.service_name)
            writes.event("volume_removed", outcome.job.action.reason, service=service, volume=name)

    def _after(self, before: Retry, error: EngineError | None, now: datetime) -> tuple[Retry, str]:
        fault = error.fault if error else Fault.ENGINE
        reason = f"{fault.value}: {error.message}" if error else "the engine gave no answer"
        transient = error.transient if error else True
        return after_fault(before, transient=transient, jitter=self._random(), now=now, reason=reason), fault.value
