"""What a reconcile pass reads of the database, as the values the planner takes. Writes are in pass_writes.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, defer

from orchestrator.endpoints import HTTP, TCP, Endpoint, service_endpoints
from orchestrator.ingress.holding import may_sleep
from orchestrator.readiness import Probe, probe_for
from orchestrator.rollout import PROGRESS_DEADLINE_SECONDS
from orchestrator.spec import ServiceSpec
from orchestrator.state import Desired, Health, Instance, Observed, Phase, Retry, Revision
from orchestrator.status import Status
from orchestrator.store.revision_ports import OtherRevision, other_revisions, own_probes, own_sizes
from orchestrator.store.schema import InstanceRow, PortRow, RevisionRow, ServiceRow, SlotRow, VolumeRow

_WITHOUT_SPEC = defer(RevisionRow.spec)  # the largest column, and only a launch needs it


@dataclass(frozen=True)
class Loaded:
    """One service as stored: what is wanted, what was last observed, what is shown to users."""

    desired: Desired
    observed: Observed
    region: str
    shown: Status
    observed_generation: int
    delete_volumes: bool
    good_revision: int | None = None
    volumes: tuple[str, ...] = ()  # names of the volumes a deleted service still holds
    probe: Probe | None = None  # how to learn whether an instance is ready
    own_probes: Mapping[str, Probe | None] = field(default_factory=dict)  # by fingerprint, where ports were others
    routed: bool = False  # has endpoints behind the proxy
    size: str = ""  # instance_size of the wanted revision
    own_sizes: Mapping[str, str] = field(default_factory=dict)  # by fingerprint, where it was another one
    slots_noted: bool = field(default=False)  # there are slot rows, which a stopped service drops

    @property
    def uuid(self) -> str:
        """The service's uuid."""
        return self.desired.service_uuid

    @property
    def full_name(self) -> str:
        """namespace/name."""
        return f"{self.desired.namespace}/{self.desired.name}"

    def probe_of(self, instance: Instance) -> Probe | None:
        """How to learn whether this one is ready: on the ports of its own revision."""
        return self.own_probes.get(instance.fingerprint, self.probe)


@dataclass(frozen=True)
class Unreadable:
    """A service whose rows make no sense: nothing is done to it, but its status says so."""

    uuid: str
    full_name: str
    generation: int
    observed_generation: int
    shown: Status
    error: str


R = TypeVar("R", bound=Any)


class PassReads:
    """Reads for passes and plans; a handful of queries however many services.

    `unreadable`: what the last `load` left out of its answer.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.unreadable: list[Unreadable] = []

    def load(self, uuids: Collection[str] | None = None) -> list[Loaded]:
        """These services (None: all), the deleted ones that are not purged yet included; oldest first."""
        rows = self._session.scalars(self._of(select(ServiceRow), ServiceRow.uuid, uuids)).all()
        rows = sorted(rows, key=lambda row: (row.created_at, row.uuid))
        revisions = self._wanted_revisions(uuids)
        # a service whose wanted revision has not run as a whole yet may need another one: the good, else the last known
        unproven = [row.uuid for row in rows if row.good_revision != row.revision]
        fallbacks = self._known_before(unproven) | self._good(uuids)
        instances = self._instances(uuids)
        slots = self._slots(uuids)
        volumes = self._volumes([row.uuid for row in rows if row.deleted_at])
        others = other_revisions(self._session, uuids)
        found, self.unreadable = [], []
        for row in rows:
            parts = fallbacks.get(row.uuid), instances[row.uuid], slots[row.uuid], volumes[row.uuid]
            try:
                found.append(_loaded(row, revisions[row.uuid], *parts, others.get(row.uuid, {}).values()))
            except (LookupError, ValueError, TypeError) as error:
                self.unreadable.append(_unreadable(row, error))
        return found

    def spec_of(self, service_uuid: str, revision: int) -> ServiceSpec:
        """The whole spec as of that revision. Raises LookupError when it is not kept any more."""
        row = self._session.get(RevisionRow, (service_uuid, revision))
        if row is None:
            raise LookupError(f"revision {revision} of service {service_uuid} is not kept")
        return ServiceSpec.model_validate(row.spec)

    def linked_endpoints(
        self, namespace: str, names: Collection[str], base_domain: str
    ) -> Mapping[str, tuple[Endpoint, ...]]:
        """The endpoints of these services of a namespace, by name, as far as they are there."""
        if not names:
            return {}
        query = select(ServiceRow).where(ServiceRow.name_key.in_([f"{namespace}/{name}" for name in names]))
        rows = self._session.scalars(query).all()
        given: dict[str, dict[tuple[int, str], int]] = defaultdict(dict)
        for port in self._session.scalars(select(PortRow).where(PortRow.service_uuid.in_([row.uuid for row in rows]))):
            given[port.service_uuid][port.container_port, port.endpoint_type] = port.service_port
        found = {}
        for row in rows:
            try:
                ports = ServiceSpec.model_validate(row.spec).instance_ports
            except ValueError:
                continue  # its own trouble, and its own status says so
            found[row.name] = service_endpoints(ports, given[row.uuid], row.name, namespace, base_domain)
        return found

    def revision_numbers(self, service_uuid: str) -> Mapping[str, int]:
        """Revision number by fingerprint, the newest where several share one."""
        query = (
            select(RevisionRow.fingerprint, RevisionRow.number)
            .where(RevisionRow.service_uuid == service_uuid, RevisionRow.fingerprint.is_not(None))
            .order_by(RevisionRow.number)
        )
        return {fingerprint: number for fingerprint, number in self._session.execute(query) if fingerprint}

    def was_known(self, instance_uuid: str) -> bool:
        """Whether there ever was a row of this instance."""
        return self._session.get(InstanceRow, instance_uuid) is not None

    def _of(self, query: Select[R], column: Any, uuids: Collection[str] | None) -> Select[R]:
        return query if uuids is None else query.where(column.in_(list(uuids)))

    def _wanted_revisions(self, uuids: Collection[str] | None) -> dict[str, RevisionRow]:
        wanted = (ServiceRow.uuid == RevisionRow.service_uuid) & (ServiceRow.revision == RevisionRow.number)
        query = select(RevisionRow).options(_WITHOUT_SPEC).join(ServiceRow, wanted)
        return {row.service_uuid: row for row in self._session.scalars(self._of(query, ServiceRow.uuid, uuids))}

    def _good(self, uuids: Collection[str] | None) -> dict[str, RevisionRow]:
        """The last revision that ran as a whole, of each service that is to run another one now."""
        good = (ServiceRow.uuid == RevisionRow.service_uuid) & (ServiceRow.good_revision == RevisionRow.number)
        good &= ServiceRow.good_revision != ServiceRow.revision
        query = select(RevisionRow).options(_WITHOUT_SPEC).join(ServiceRow, good)
        return {row.service_uuid: row for row in self._session.scalars(self._of(query, ServiceRow.uuid, uuids))}

    def _known_before(self, uuids: Sequence[str]) -> dict[str, RevisionRow]:
        """The newest resolved revision before the wanted one, of each of these services."""
        if not uuids:
            return {}
        before = (ServiceRow.uuid == RevisionRow.service_uuid) & (RevisionRow.number < ServiceRow.revision)
        query = (
            select(RevisionRow)
            .options(_WITHOUT_SPEC)
            .join(ServiceRow, before)
            .where(RevisionRow.service_uuid.in_(uuids), RevisionRow.image_id.is_not(None))
            .order_by(RevisionRow.number)
        )
        return {row.service_uuid: row for row in self._session.scalars(query)}

    def _instances(self, uuids: Collection[str] | None) -> dict[str, list[InstanceRow]]:
        query = select(InstanceRow).where(InstanceRow.gone_at.is_(None))
        found: dict[str, list[InstanceRow]] = defaultdict(list)
        for row in self._session.scalars(self._of(query, InstanceRow.service_uuid, uuids)):
            found[row.service_uuid].append(row)
        return found

    def _slots(self, uuids: Collection[str] | None) -> dict[str, dict[int, Retry]]:
        found: dict[str, dict[int, Retry]] = defaultdict(dict)
        for row in self._session.scalars(self._of(select(SlotRow), SlotRow.service_uuid, uuids)):
            found[row.service_uuid][row.slot] = Retry(row.failures, row.retry_at, row.reason)
        return found

    def _volumes(self, uuids: Sequence[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        if uuids:
            query = select(VolumeRow).where(VolumeRow.service_uuid.in_(uuids), VolumeRow.orphaned_at.is_(None))
            for row in self._session.scalars(query.order_by(VolumeRow.name)):
                found[row.service_uuid].append(row.name)
        return found


def _loaded(
    row: ServiceRow,
    wanted: RevisionRow,
    fallback: RevisionRow | None,
    instances: list[InstanceRow],
    slots: dict[int, Retry],
    volumes: list[str],
    others: Collection[OtherRevision],
) -> Loaded:
    spec = row.spec
    # after a rollout went back, what runs is made from the revision, not from what the user wished for
    made_from = wanted.spec if row.rollout_failure else spec
    ports = made_from.get("instance_ports", ())
    size = str(made_from.get("instance_size") or "")
    listening = [(int(p["container_port"]), str(p["protocol"])) for p in ports]
    preference = spec.get("deployment_preference", {})
    # and a probe wished for with other ports may name one that the revision does not have
    same_ports = ports == spec.get("instance_ports", ())
    health = (preference if same_ports else made_from.get("deployment_preference", {})).get("health", {})
    automatic = spec.get("scaling_mode") == "AUTO" and row.scale_target is not None
    desired = Desired(
        service_uuid=row.uuid,
        name=row.name,
        namespace=row.namespace,
        generation=row.generation,
        started=spec["target_state"] == "STARTED" and row.deleted_at is None,
        deleted=row.deleted_at is not None,
        count=int(row.scale_target or 0) if automatic else int(spec["target_num_instances"]),
        stateful=bool(spec.get("volumes")),
        revision=_revision(wanted),
        fallback=_revision(fallback) if fallback else None,
        good=_revision(fallback) if fallback else None,
        good_proven=fallback is not None and fallback.number == row.good_revision,
        resolved_at=wanted.resolved_at,
        progress_deadline_seconds=float(
            preference.get("rollout", {}).get("progress_deadline_seconds", PROGRESS_DEADLINE_SECONDS)
        ),
        rollout_failure=row.rollout_failure,
        recheck_image=row.recheck_image,
        image_missing=row.image_missing,
        may_sleep=may_sleep(spec),
        pull=Retry(row.pull_failures, row.pull_retry_at, row.pull_reason),
    )
    seen = tuple(_instance(instance) for instance in instances)
    observed = Observed(instances=seen, slots=slots, volumes_left=bool(volumes))
    shown = Status(row.current_status, row.is_deploying, row.status_reason)
    return Loaded(
        desired=desired,
        observed=observed,
        region=str(spec.get("region_name") or ""),
        shown=shown,
        observed_generation=row.observed_generation,
        delete_volumes=row.delete_volumes,
        good_revision=row.good_revision,
        volumes=tuple(volumes),
        probe=probe_for(listening, health),
        own_probes=own_probes(others, listening),
        routed=any(p["endpoint_type"] in (HTTP, TCP) for p in ports),
        size=size,
        own_sizes=own_sizes(others, size),
        slots_noted=bool(slots),
    )


def _unreadable(row: ServiceRow, error: Exception) -> Unreadable:
    return Unreadable(
        uuid=row.uuid,
        full_name=f"{row.namespace}/{row.name}",
        generation=row.generation,
        observed_generation=row.observed_generation,
        shown=Status(row.current_status, row.is_deploying, row.status_reason),
        error=f"{type(error).__name__}: {error}",
    )


def _revision(row: RevisionRow) -> Revision:
    return Revision(row.number, row.image_ref, row.image_id, row.image_digest, row.fingerprint)


def _instance(row: InstanceRow) -> Instance:
    return Instance(
        uuid=row.uuid,
        slot=row.slot,
        fingerprint=row.fingerprint,
        phase=Phase(row.phase),
        health=Health(row.health),
        container_id=row.container_id,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        exit_code=row.exit_code,
        oom_killed=row.oom_killed,
        ready_at=row.ready_at,
        unready=row.unready,
        reason=row.reason,
        address=row.address,
        ports=tuple((int(a), str(b), int(c)) for a, b, c in row.ports),
    )
