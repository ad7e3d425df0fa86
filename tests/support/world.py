"""Values to plan with, and a small world in which plans take effect: for tests of the deciders."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from orchestrator.actions import Action, Forget, Launch, Plan, Pull, Purge, ReleaseVolumes, Remove, Resume, Stop
from orchestrator.backoff import after_death, after_fault
from orchestrator.planner import plan, target_revision
from orchestrator.state import Desired, Instance, Observed, Phase, Retry, Revision

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SERVICE = "5e5e5e5e-0000-4000-8000-000000000000"
WANTED = Revision(2, "registry.example/web:2", "sha256:22", "registry.example/web@sha256:d2", "222222222222")
OLD = Revision(1, "registry.example/web:1", "sha256:11", "registry.example/web@sha256:d1", "111111111111")
UNRESOLVED = Revision(2, "registry.example/web:2")
LIVING = {Phase.PENDING, Phase.CREATED, Phase.RUNNING}
LEAVING = {Phase.STOPPING, Phase.REMOVING, Phase.PAUSED}


def later(seconds: float) -> datetime:
    """So many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def desired(**changes: Any) -> Desired:
    """A started, stateless service of two instances whose image is resolved, with `changes`."""
    fields: dict[str, Any] = {
        "service_uuid": SERVICE,
        "name": "web",
        "namespace": "ns",
        "generation": 3,
        "started": True,
        "deleted": False,
        "count": 2,
        "stateful": False,
        "revision": WANTED,
    }
    return Desired(**(fields | changes))


def instance(slot: int, phase: Phase = Phase.RUNNING, *, revision: Revision = WANTED, **changes: Any) -> Instance:
    """An instance that has run for a minute, named after its slot: `i0`; one of OLD: `old0`."""
    fields: dict[str, Any] = {
        "uuid": f"{'old' if revision is OLD else 'i'}{slot}",
        "slot": slot,
        "fingerprint": revision.fingerprint,
        "phase": phase,
        "created_at": later(-61),
    }
    if phase not in (Phase.PENDING, Phase.VANISHED):
        fields["container_id"] = f"c-{fields['uuid']}"
    if phase not in LIVING or phase is Phase.RUNNING:
        fields["started_at"] = later(-60)
    if phase in (Phase.EXITED, Phase.VANISHED):
        fields |= {"finished_at": later(-1), "reason": "exit code 3"}
    return Instance(**(fields | changes))


def observed(*instances: Instance, **changes: Any) -> Observed:
    """These instances, and nothing else that matters."""
    return Observed(instances=instances, **changes)


class World:
    """Where planned actions take effect after a while, deaths happen and time goes on. Deterministic by its seed.

    `crashes` counts how many more launches end at once, `pull_faults` how many more pulls fail.
    """

    def __init__(self, wanted: Desired, seen: Observed, seed: int = 0) -> None:
        self.desired = wanted
        self.now = NOW
        self.instances = {i.uuid: i for i in seen.instances}
        self.slots = dict(seen.slots)
        self.pulling = seen.pulling
        self.volumes_left = seen.volumes_left
        self.purged = False
        self.crashes = 0
        self.pull_faults = 0
        self._random = Random(seed)
        self._numbers = itertools.count()
        self._due: list[tuple[datetime, Callable[[], None]]] = []
        for busy in [i for i in seen.instances if i.busy]:  # what was under way comes to its end by itself
            self._later(lambda busy=busy: self._set(busy.uuid, busy=False))
        if self.pulling:
            self._later(self._pulled)

    def observed(self) -> Observed:
        """What a look shows now."""
        return Observed(
            tuple(self.instances.values()), dict(self.slots), pulling=self.pulling, volumes_left=self.volumes_left
        )

    def step(self) -> Plan:
        """Plan, begin what was planned, let time go on to the next thing that happens. The answer is the plan."""
        planned = plan(self.desired, self.observed(), self.now)
        for action in planned.actions:
            self._begin(action)
        ends = [at for at, _ in self._due] + ([planned.wake_at] if planned.wake_at else [])
        self.now = max(self.now + timedelta(milliseconds=10), min(ends, default=self.now))
        for at, end in list(self._due):
            if at <= self.now:
                self._due.remove((at, end))
                end()
        return planned

    def quiet(self) -> bool:
        """Nothing is under way and nothing waits for its time."""
        planned = plan(self.desired, self.observed(), self.now)
        return not self._due and not planned.actions and planned.wake_at is None

    def settle(self, steps: int = 2000) -> int:
        """Step until all is quiet; the answer is how many steps that took. AssertionError when it never is."""
        for taken in range(steps):
            if self.quiet():
                return taken
            self.step()
        raise AssertionError(f"not quiet after {steps} steps: {self.observed()} {self.step()}")

    def kill(self, uuid: str, phase: Phase = Phase.EXITED) -> None:
        """A running instance ends by itself, or somebody removes its container."""
        before = self.instances[uuid]
        if before.phase is Phase.RUNNING and not before.busy:
            gone = {"container_id": None} if phase is Phase.VANISHED else {}
            self._set(uuid, phase=phase, finished_at=self.now, reason="exit code 1", **gone)
            ran = (self.now - (before.started_at or self.now)).total_seconds()
            retry = after_death(self.slots.get(before.slot, Retry()), ran, self.now, "exit code 1")
            self.slots[before.slot] = retry

    def _begin(self, action: Action) -> None:
        match action:
            case Pull():
                self.pulling = True
                self._later(self._pulled)
            case Launch():
                self._launch(action)
            case Resume():
                self._set(action.instance_uuid, busy=True)
                self._later(lambda: self._started(action.instance_uuid))
            case Stop():
                if action.failed:
                    before = self.instances[action.instance_uuid]
                    ran = (self.now - (before.started_at or self.now)).total_seconds()
                    known = self.slots.get(before.slot, Retry())
                    self.slots[before.slot] = after_death(known, ran, self.now, action.reason)
                self._set(action.instance_uuid, busy=True, phase=Phase.STOPPING, reason=action.reason)
                self._later(lambda: self._gone(action.instance_uuid))
            case Remove():
                self._set(action.instance_uuid, busy=True)
                self._later(lambda: self._gone(action.instance_uuid))
            case Forget():
                del self.instances[action.instance_uuid]
            case ReleaseVolumes():
                self.volumes_left = False
            case Purge():
                self.purged = True

    def _launch(self, action: Launch) -> None:
        revision = target_revision(self.desired)
        assert revision is not None
        assert revision.number == action.revision
        uuid = f"new{next(self._numbers)}"
        self.instances[uuid] = Instance(
            uuid, action.slot, revision.fingerprint or "", Phase.PENDING, created_at=self.now, busy=True
        )
        self._later(lambda: self._started(uuid))

    def _started(self, uuid: str) -> None:
        self._set(uuid, busy=False, phase=Phase.RUNNING, started_at=self.now, container_id=f"c-{uuid}")
        if self.crashes:
            self.crashes -= 1
            self.kill(uuid)

    def _pulled(self) -> None:
        self.pulling = False
        if self.pull_faults:
            self.pull_faults -= 1
            retry = after_fault(self.desired.pull, transient=True, jitter=0.5, now=self.now, reason="no answer")
            self.desired = replace(self.desired, pull=retry)
            return
        revision = self.desired.revision
        if revision.image_id is None:
            revision = replace(WANTED, number=revision.number)
            self.slots = {}
        self.desired = replace(self.desired, revision=revision, pull=Retry(), recheck_image=False, image_missing=False)

    def _gone(self, uuid: str) -> None:
        del self.instances[uuid]

    def _set(self, uuid: str, **changes: Any) -> None:
        self.instances[uuid] = replace(self.instances[uuid], **changes)

    def _later(self, end: Callable[[], None]) -> None:
        self._due.append((self.now + timedelta(milliseconds=self._random.choice((10, 100, 500, 3000))), end))
