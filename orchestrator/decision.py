"""One service in one pass: absorb what was seen, plan, and gather what to write and what to do. No effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from orchestrator.absorb import absorb, died, ran_seconds
from orchestrator.actions import Action, Forget, Launch, Plan, Pull, Purge, ReleaseVolumes, Rollback, Stop
from orchestrator.backoff import after_death
from orchestrator.engine.base import ContainerFact
from orchestrator.jobs import pull_key
from orchestrator.planner import plan
from orchestrator.readiness import Verdict, with_readiness
from orchestrator.rollout import is_complete
from orchestrator.state import Instance, Observed, Phase, Retry
from orchestrator.status import CAPACITY, Status, limited, status
from orchestrator.store.pass_writes import PassWrites
from orchestrator.store.passes import Loaded

Write = Callable[[PassWrites], None]


@dataclass
class Decision:
    """What a pass makes of one service: writes first, then the actions that need the engine."""

    loaded: Loaded
    observed: Observed
    status: Status
    plan: Plan = field(default_factory=Plan)
    writes: list[Write] = field(default_factory=list)
    actions: list[tuple[Action, Instance | None]] = field(default_factory=list)
    refused: int = 0  # actions that the host has no room for

    @property
    def service(self) -> tuple[str, str]:
        """(uuid, namespace/name), as events take it."""
        return self.loaded.uuid, self.loaded.full_name


def decide(
    loaded: Loaded,
    facts: Mapping[str, ContainerFact],
    trouble: str,
    busy: frozenset[str],
    now: datetime,
    new_uuid: Callable[[], str],
    verdicts: Mapping[str, Verdict] | None = None,
) -> Decision:
    """Absorb, plan, and turn the plan into writes and actions. `trouble`: why the engine showed nothing.

    `verdicts`: what probes say of instances; None when nobody probes, and running is ready.

    The status is decided here and told by `tell_status`, after the actions were made ready.
    """
    decision = Decision(loaded, loaded.observed, loaded.shown)
    if trouble:
        decision.observed = replace(loaded.observed, reachable=False, trouble=trouble)
    else:
        decision.observed = _absorbed(decision, facts, verdicts, busy, now)
    decision.plan = plan(loaded.desired, decision.observed, now)
    desired = loaded.desired
    if loaded.good_revision != desired.revision.number and is_complete(desired, decision.observed, now):
        good = partial(PassWrites.set_service, good_revision=desired.revision.number)
        decision.writes.append(partial(good, service_uuid=loaded.uuid, generation=desired.generation))
    decision.status = status(loaded.desired, decision.observed, decision.plan, now)
    for action in decision.plan.actions:
        _prepare(decision, action, now, new_uuid)
    if not loaded.desired.started and loaded.slots_noted and not decision.observed.instances:
        decision.writes.append(lambda w: w.clear_slots(loaded.uuid))
    return decision


def _absorbed(
    decision: Decision,
    facts: Mapping[str, ContainerFact],
    verdicts: Mapping[str, Verdict] | None,
    busy: frozenset[str],
    now: datetime,
) -> Observed:
    """The observation brought up to date; what changed becomes a write, a death also an event and a failure.

    An instance with a job under way is left as it is: the list may be older than what the job has done.
    """
    loaded, slots, instances = decision.loaded, dict(decision.loaded.observed.slots), []
    for before in loaded.observed.instances:
        if before.uuid in busy:
            instances.append(replace(before, busy=True))
            continue
        after = absorb(before, facts.get(before.uuid), now)
        if verdicts is not None:
            after = with_readiness(after, loaded.probe_of(after), verdicts.get(before.uuid))
        instances.append(after)
        if after != before:
            decision.writes.append(partial(PassWrites.observe_instance, instance=after))
        if died(before, after):
            retry = after_death(slots.get(after.slot, Retry()), ran_seconds(after, now), now, after.reason)
            slots[after.slot] = retry
            _tell_death(decision, after, retry)
    return replace(
        loaded.observed, instances=tuple(instances), slots=slots, pulling=_pulling(loaded, busy), reachable=True
    )


def _pulling(loaded: Loaded, busy: frozenset[str]) -> bool:
    """Whether what the planner may want pulled now is on its way."""
    wanted = loaded.desired.revision
    refs = (wanted.image_ref, wanted.image_digest)
    return any(pull_key(loaded.uuid, ref) in busy for ref in refs if ref)


def _tell_death(decision: Decision, instance: Instance, retry: Retry) -> None:
    def write(writes: PassWrites) -> None:
        writes.set_slot(decision.loaded.uuid, instance.slot, retry)
        writes.event(
            "instance_died",
            instance.reason,
            service=decision.service,
            instance=instance.uuid,
            slot=instance.slot,
            exit_code=instance.exit_code,
            failures=retry.failures,
        )

    decision.writes.append(write)


def refuse(decision: Decision, why: str) -> None:
    """A launch is not carried out: `why` becomes the status, and an event when it is news.

    The figures in `why` change from look to look; as long as the host stays full the first words stand.
    """
    decision.refused += 1
    if decision.refused > 1:
        return
    desired, before = decision.loaded.desired, decision.loaded.shown.reason
    known = before.startswith(CAPACITY)
    decision.status = limited(desired, decision.observed, before if known else why)
    if not known:
        told = partial(PassWrites.event, kind="limited_by_capacity", reason=why, wanted=desired.count)
        decision.writes.append(partial(told, service=decision.service))


def tell_status(decision: Decision, now_status: Status) -> bool:
    """A status that differs from the one shown is written; an unchanged one costs nothing. Whether it differs."""
    loaded, desired = decision.loaded, decision.loaded.desired
    if now_status == loaded.shown and loaded.observed_generation == desired.generation:
        return False
    decision.writes.append(lambda w: w.set_status(loaded.uuid, desired.generation, now_status))
    if now_status.current_status != loaded.shown.current_status:
        decision.writes.append(
            lambda w: w.event(
                "status_changed",
                now_status.reason,
                service=decision.service,
                before=loaded.shown.current_status,
                now=now_status.current_status,
            )
        )
    return True


def _prepare(decision: Decision, action: Action, now: datetime, new_uuid: Callable[[], str]) -> None:
    """The rows of an action that must stand before it is carried out."""
    loaded = decision.loaded
    match action:
        case Launch():
            instance = Instance(
                uuid=new_uuid(), slot=action.slot, fingerprint="", phase=Phase.PENDING, created_at=now, busy=True
            )
            decision.actions.append((action, instance))
        case Forget():
            decision.writes.append(lambda w: w.close_instance(action.instance_uuid, reason=action.reason))
        case Rollback():
            decision.writes.append(
                partial(
                    PassWrites.roll_back, service=decision.service, generation=loaded.desired.generation, action=action
                )
            )
        case Purge():
            decision.actions.append((action, None))
        case ReleaseVolumes() if not loaded.delete_volumes:
            decision.writes.append(lambda w: w.orphan_volumes(loaded.uuid))
            decision.writes.append(
                lambda w: w.event(
                    "volume_orphaned", "kept: its service is deleted", service=decision.service, volumes=loaded.volumes
                )
            )
        case Pull():
            decision.writes.append(
                lambda w: w.event("pull_started", action.reason, service=decision.service, image=action.image_ref)
            )
            decision.actions.append((action, None))
        case ReleaseVolumes():
            decision.actions.append((action, None))
        case _:
            instance = next(i for i in decision.observed.instances if i.uuid == action.instance_uuid)
            if isinstance(action, Stop):
                _note_stop(decision, action, instance, now)
            decision.actions.append((action, instance))


def _note_stop(decision: Decision, action: Stop, instance: Instance, now: datetime) -> None:
    decision.writes.append(lambda w: w.instance_stopping(action.instance_uuid, action.reason))
    if action.failed:
        before = decision.observed.slots.get(action.slot, Retry())
        retry = after_death(before, ran_seconds(instance, now), now, action.reason)
        _tell_death(decision, replace(instance, reason=action.reason), retry)
