"""The small world with probes and deploys: revisions of every kind, their readiness, and the way back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator.actions import Action, Plan, Rollback
from orchestrator.planner import plan
from orchestrator.readiness import NOT_ASKED
from orchestrator.rollout import is_complete
from orchestrator.state import Desired, Instance, Observed, Phase, Revision
from tests.support.world import LEAVING, LIVING, World, later

GOOD, CRASHES, NEVER_READY, UNREADY_LATER = "good", "crashes at start", "never ready", "unready later"
KINDS = (GOOD, CRASHES, NEVER_READY, UNREADY_LATER)
REFUSED = "port 80: Connection refused"


def revision(number: int, kind: str) -> Revision:
    """A resolved revision; its kind stands in its image's name and in its fingerprint."""
    print_of = f"{number:04d}-{kind}"
    return Revision(number, f"registry.example/{print_of}", f"sha256:{number}", None, print_of)


def kind_of(fingerprint: str) -> str:
    """How instances of it behave."""
    return fingerprint.partition("-")[2]


class RolloutWorld(World):
    """A service that runs revision 1, a good one, as a whole. `deploy`, `scale` and `kill` are what happens to it."""

    def __init__(self, count: int, *, stateful: bool, seed: int) -> None:
        first = revision(1, GOOD)
        running = tuple(
            Instance(
                f"first{n}", n, first.fingerprint or "", Phase.RUNNING, container_id=f"c{n}", created_at=later(-61),
                started_at=later(-60), ready_at=later(-59),
            )
            for n in range(count)
        )  # fmt: skip
        wanted = Desired("s", "web", "ns", 1, True, False, count, stateful, first, resolved_at=later(-99))
        super().__init__(wanted, Observed(running), seed)
        self.revisions = [first]
        self.good = 1
        self.deployed = first.fingerprint  # what the user asked for last
        self.rollbacks = 0  # since then

    def deploy(self, kind: str) -> None:
        """A user's write: a revision of this kind, its image not pulled yet."""
        made = revision(len(self.revisions) + 1, kind)
        self.deployed, self.rollbacks, self.slots = made.fingerprint, 0, {}
        self._want(replace(made, image_id=None, fingerprint=None), rollout_failure="")

    def scale(self, count: int) -> None:
        """Another count: no revision."""
        self.desired = replace(self.desired, count=count, generation=self.desired.generation + 1)

    def step(self) -> Plan:
        """One pass, with what a real one notes before it: a rollout that is complete has a good revision."""
        if is_complete(self.desired, self.observed(), self.now):
            self.good = self.desired.revision.number
            self._want(self.desired.revision)
        return super().step()

    def at_once(self) -> RolloutWorld:
        """A copy of the instances' world in which this moment's plan has begun and no time has gone by."""
        copy = object.__new__(RolloutWorld)
        copy.__dict__ |= self.__dict__ | {"instances": dict(self.instances), "slots": dict(self.slots)}
        copy.revisions, copy._due = list(self.revisions), []
        for action in plan(self.desired, self.observed(), self.now).actions:
            copy._begin(action)
        return copy

    def ready_slots(self) -> int:
        """How many of the wanted slots have somebody who serves."""
        return len({i.slot for i in self.instances.values() if i.ready and i.slot < self.desired.count})

    def surplus(self) -> int:
        """Living instances of wanted slots beyond the count; launches in hand of a superseded deploy don't count."""
        wanted = self.desired.revision.fingerprint
        living = [i for i in self.instances.values() if i.phase in LIVING and i.slot < self.desired.count]
        return len([i for i in living if not i.busy or i.fingerprint == wanted]) - self.desired.count

    def holders(self, slot: int) -> int:
        """Instances that may have the slot's volume in hand."""
        return len([i for i in self.instances.values() if i.slot == slot and i.phase in LIVING | LEAVING])

    def wait(self, seconds: float) -> None:
        """Nothing happens for so long."""
        self.now += timedelta(seconds=seconds)

    def _want(
        self, wanted: Revision, *, resolved_at: datetime | None = None, rollout_failure: str | None = None
    ) -> None:
        """This revision from now on, with the way back as the store reads it."""
        if wanted.number > len(self.revisions):
            self.revisions.append(wanted)
        self.revisions[wanted.number - 1] = wanted
        good = next(r for r in self.revisions if r.number == self.good)
        back = good if good.number != wanted.number else None
        failure = self.desired.rollout_failure if rollout_failure is None else rollout_failure
        at = resolved_at or (self.desired.resolved_at if wanted.image_id else None)
        self.desired = replace(
            self.desired, revision=wanted, fallback=back, good=back, resolved_at=at, rollout_failure=failure
        )

    def _begin(self, action: Action) -> None:
        if not isinstance(action, Rollback):
            super()._begin(action)
            return
        self.rollbacks += 1
        self.slots = {}
        again = replace(self.revisions[action.to - 1], number=len(self.revisions) + 1)
        self.good = again.number
        self.revisions.append(again)
        self._want(again, resolved_at=self.now, rollout_failure=action.reason)

    def _pulled(self) -> None:
        self.pulling = False
        wanted = self.desired.revision
        if wanted.image_id is None:
            whole = revision(wanted.number, wanted.image_ref.partition("-")[2])
            self.slots = {}
            self._want(whole, resolved_at=self.now)

    def _started(self, uuid: str) -> None:
        super()._started(uuid)
        kind = kind_of(self.instances[uuid].fingerprint)
        if kind == CRASHES:
            self.kill(uuid)
            return
        self._set(uuid, unready=REFUSED if kind == NEVER_READY else NOT_ASKED)
        if kind != NEVER_READY:
            self._later(lambda: self._probed(uuid))

    def _probed(self, uuid: str) -> None:
        found = self.instances.get(uuid)
        if found is None or found.phase is not Phase.RUNNING:
            return
        self._set(uuid, unready="", ready_at=self.now)
        if kind_of(found.fingerprint) == UNREADY_LATER:
            self._due.append((self.now + timedelta(seconds=5), lambda: self._spoilt(uuid)))

    def _spoilt(self, uuid: str) -> None:
        found = self.instances.get(uuid)
        if found is not None and found.phase is Phase.RUNNING:
            self._set(uuid, unready="GET /health: status 404", ready_at=None)
