"""The planner: from what is wanted and what was seen to the next bounded step of one service. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from orchestrator.actions import (
    Action,
    Forget,
    Launch,
    Plan,
    Pull,
    Purge,
    ReleaseVolumes,
    Remove,
    Resume,
    Rollback,
    Stop,
)
from orchestrator.rollout import Slot, is_settled, rollout_failure, settled_at, slots_to_replace
from orchestrator.state import Desired, Health, Instance, Observed, Phase, Retry, Revision

_LIVING = {Phase.PENDING, Phase.CREATED, Phase.RUNNING}
_LEAVING = {Phase.STOPPING, Phase.REMOVING, Phase.PAUSED}  # these may still hold the slot's volumes
_ORDER = {Phase.RUNNING: 0, Phase.CREATED: 1, Phase.PENDING: 2}


def plan(desired: Desired, observed: Observed, now: datetime) -> Plan:
    """The next step towards `desired`. Worked example: 2 wanted, slot 0 runs, slot 1 died of exit code 3.

    -> (Launch(slot=1, "replaces an instance that died: exit code 3"), Remove(<dead>, "died: exit code 3")).
    When all is as wanted the plan is empty; what must wait says why in `waiting` and until when in `wake_at`.
    """
    if not observed.reachable:
        return Plan(waiting=(observed.trouble,))
    if desired.started:
        return _Step(desired, observed, now).up()
    why = "service deleted" if desired.deleted else "service stopped"
    actions = [*_end_all(observed.instances, why), *_clear_dead(observed.instances)]
    if desired.deleted and not actions and not observed.instances:
        return Plan((ReleaseVolumes(why),) if observed.volumes_left else (Purge("nothing is left of it"),))
    return Plan(tuple(actions))


class _Step:
    """One step of a started service; gathers actions and reasons to wait."""

    def __init__(self, desired: Desired, observed: Observed, now: datetime) -> None:
        self.desired, self.observed, self.now = desired, observed, now
        self.revision = target_revision(desired)
        self.waiting: list[str] = []
        self.wake: list[datetime] = []

    def up(self) -> Plan:
        failure, look_again = rollout_failure(self.desired, self.observed, self.now)
        if failure and self.desired.good:
            return Plan((Rollback(self.desired.revision.number, self.desired.good.number, failure),))
        self.wake += [look_again] if look_again else []
        fetch = self._image()
        slots = self._slots()
        actions: list[Action] = [*fetch]
        actions += self._fill(slots)
        actions += self._trim(slots)
        actions += _clear_dead(self.observed.instances)
        return Plan(tuple(actions), min(self.wake, default=None), tuple(self.waiting))

    def _image(self) -> list[Action]:
        """The pull that resolves, rechecks or fetches again the image, when one is due."""
        wanted = self.desired.revision
        if wanted.image_id is None:
            ref, why = wanted.image_ref, f"deploy of revision {wanted.number}"
        elif self.desired.image_missing and self.revision:
            ref, why = self.revision.image_digest or self.revision.image_ref, "the engine lost the image"
        elif self.desired.recheck_image:
            ref, why = wanted.image_ref, "deploy names the tag again: it may have moved"
        else:
            return []
        if self.observed.pulling:
            self.waiting.append(f"pulling {ref}")
            return []
        if self._not_yet(self.desired.pull, f"pull of {ref}"):
            return []
        return [Pull(ref, why)]

    def _slots(self) -> dict[int, Slot]:
        """What lives in each wanted slot; of two instances of one revision in a slot the better stays current."""
        wanted = self.revision.fingerprint if self.revision else None
        found: dict[int, Slot] = {}
        for number in range(self.desired.count):
            here = [i for i in self.observed.instances if i.slot == number and i.phase in _LIVING]
            mine = sorted((i for i in here if i.fingerprint == wanted), key=_preference)
            found[number] = Slot(number, mine[0] if mine else None, tuple(i for i in here if i.fingerprint != wanted))
        return found

    def _fill(self, slots: dict[int, Slot]) -> list[Action]:
        """Launches for slots without the wanted instance, and launches that were cut off, gone on with."""
        if self.revision is None or (self.desired.image_missing and self.revision.image_id):
            if any(s.current is None for s in slots.values()) and not self.observed.pulling:
                self.waiting.append(f"image {self.desired.revision.image_ref} is not there yet")
            return []
        # what runs is not replaced by a revision that only stands in until the wanted one's image is there
        standing_in = self.desired.revision.image_id is None
        replace = [] if standing_in else slots_to_replace(slots, self.desired.stateful, self.now)
        actions: list[Action] = []
        for slot in slots.values():
            if slot.current is not None:
                actions += self._nurse(slot.current)
            elif not slot.outdated:
                actions += self._launch(slot.number, self._why_empty(slot.number))
            elif slot.number in replace and self.desired.stateful:
                running = [i for i in slot.outdated if i.phase is Phase.RUNNING]  # the others _trim ends
                actions += _end_all(running, self._why_replaced())
            elif slot.number in replace:
                actions += self._launch(slot.number, self._why_replaced())
            else:
                self.waiting.append(f"slot {slot.number} is replaced after those before it")
        return actions

    def _nurse(self, instance: Instance) -> list[Action]:
        """Go on with a cut-off launch, end an unhealthy one, note when a fresh one will count as good."""
        if instance.busy:
            return []
        if instance.phase is Phase.RUNNING and instance.health is Health.UNHEALTHY:
            return [Stop(instance.uuid, instance.slot, "its health check fails", failed=True)]
        if instance.phase is not Phase.RUNNING:
            return [Resume(instance.uuid, instance.slot, "its launch was cut off")]
        at = settled_at(instance)
        if at is not None and at > self.now:
            self.wake.append(at)
        return []

    def _launch(self, slot: int, why: str) -> list[Action]:
        revision = self.revision
        leaving = [i for i in self.observed.instances if i.slot == slot and i.phase in _LEAVING]
        if self.desired.stateful and leaving:
            self.waiting.append(f"slot {slot} starts again when its instance before has ended")
            return []
        retry = self.observed.slots.get(slot, Retry())
        if revision is None or self._not_yet(retry, f"slot {slot}"):
            return []
        return [Launch(slot, revision.number, why)]

    def _trim(self, slots: dict[int, Slot]) -> list[Action]:
        """Ends what is too much: slots past the count, doubles, and old instances whose successor is good.

        Of several outdated ones in a slot (a deploy superseded another in mid-rollout) only the best serves on.
        """
        actions: list[Action] = []
        kept = {s.current.uuid for s in slots.values() if s.current}
        serving = {min(s.outdated, key=_preference).uuid for s in slots.values() if s.outdated}
        for instance in sorted(self.observed.instances, key=lambda i: -i.slot):
            slot = slots.get(instance.slot)
            if instance.phase not in _LIVING | {Phase.STOPPING} or instance.uuid in kept:
                continue
            if slot is None:
                actions += _end(instance, f"scaled to {self.desired.count}")
            elif instance.phase is Phase.STOPPING:
                actions += _end(instance, instance.reason)
            elif slot.current and instance not in slot.outdated:
                actions += _end(instance, "its slot has another instance")
            elif self.revision is not None and (instance.phase is not Phase.RUNNING or instance.uuid not in serving):
                actions += _end(instance, "its revision is no longer wanted")
            elif slot.current and is_settled(slot.current, self.now):
                actions += _end(instance, self._why_replaced())
        return actions

    def _not_yet(self, retry: Retry, what: str) -> bool:
        if retry.retry_at is None or retry.retry_at <= self.now:
            return False
        self.wake.append(retry.retry_at)
        seconds = (retry.retry_at - self.now).total_seconds()
        self.waiting.append(f"{what}: next try in {seconds:.0f} s after {retry.failures} failures: {retry.reason}")
        return True

    def _why_empty(self, slot: int) -> str:
        before = self.observed.slots.get(slot)
        dead = [i for i in self.observed.instances if i.slot == slot and i.phase in (Phase.EXITED, Phase.VANISHED)]
        if dead:
            return f"replaces an instance that died: {dead[0].reason}"
        return f"tries again after: {before.reason}" if before and before.failures else f"slot {slot} has no instance"

    def _why_replaced(self) -> str:
        return f"replaced by revision {self.revision.number if self.revision else self.desired.revision.number}"


def target_revision(desired: Desired) -> Revision | None:
    """The revision instances should have now: the wanted one, or the newest known one until its image is there."""
    return desired.revision if desired.revision.image_id is not None else desired.fallback


def _preference(instance: Instance) -> tuple[int, int, str, str]:
    """Sort key: ready before not, running before created before pending, then the oldest."""
    born = instance.created_at.isoformat() if instance.created_at else ""
    return (not instance.ready, _ORDER.get(instance.phase, 3), born, instance.uuid)


def _end_all(instances: Iterable[Instance], why: str) -> list[Action]:
    return [action for i in instances if i.phase in _LIVING | {Phase.STOPPING} for action in _end(i, why)]


def _end(instance: Instance, why: str) -> list[Action]:
    """How an instance that is not wanted ends, by how far it came."""
    if instance.busy:
        return []
    if instance.phase is Phase.PENDING and instance.container_id is None:
        return [Forget(instance.uuid, instance.slot, why)]
    if instance.phase in (Phase.PENDING, Phase.CREATED):
        return [Remove(instance.uuid, instance.slot, why)]
    return [Stop(instance.uuid, instance.slot, why)]


def _clear_dead(instances: Iterable[Instance]) -> list[Action]:
    """Removal of what ended by itself, was paused by somebody, or was removed by somebody."""
    actions: list[Action] = []
    for instance in instances:
        if instance.busy:
            continue
        if instance.phase is Phase.EXITED:
            actions.append(Remove(instance.uuid, instance.slot, f"ended: {instance.reason}"))
        elif instance.phase is Phase.PAUSED:
            actions.append(Remove(instance.uuid, instance.slot, "paused by somebody: a paused instance serves nobody"))
        elif instance.phase is Phase.VANISHED:
            actions.append(Forget(instance.uuid, instance.slot, instance.reason or "its container is gone"))
    return actions
