"""The reconcile pass: observe, plan, record, do. Level-triggered, idempotent, and nothing in it waits for Docker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from sqlalchemy.orm import Session, sessionmaker

from orchestrator.actions import Action, Launch, Purge, Resume
from orchestrator.addresses import Place
from orchestrator.bookkeeper import Bookkeeper
from orchestrator.decision import Decision, Write, decide, refuse, tell_status
from orchestrator.endpoints import INTERNAL
from orchestrator.executor import Executor
from orchestrator.job_maker import JobMaker
from orchestrator.jobs import Job
from orchestrator.links import link_hosts, link_variables
from orchestrator.metrics.subjects import Subject, subjects
from orchestrator.orphans import removal_jobs
from orchestrator.places import FreeMemory, Places
from orchestrator.planner import target_revision
from orchestrator.readiness import Target, Verdict, known_verdict, target_of
from orchestrator.shares import Share, describe, internal_error, unplanned, write_apart
from orchestrator.sight import Observer, Sight
from orchestrator.spec import ServiceSpec
from orchestrator.state import Instance, Phase
from orchestrator.status import when_reached, with_route_fault
from orchestrator.store.addresses import AddressBook, Given
from orchestrator.store.database import session_scope
from orchestrator.store.orphans import Orphans
from orchestrator.store.pass_writes import PassWrites
from orchestrator.store.passes import Loaded, PassReads, Unreadable
from orchestrator.strays import StrayFinder

log = logging.getLogger("skylark.reconciler")


@dataclass(frozen=True)
class Following:
    """A container whose log is to be collected."""

    engine_url: str
    service_uuid: str
    instance_uuid: str
    container_id: str


@dataclass
class PassReport:
    """When to look again at whom, and whom to follow, probe and measure. `wrote`: the pass changed the database."""

    services: int = 0
    actions: int = 0
    wrote: bool = False
    wake: dict[str, datetime] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)
    following: list[Following] = field(default_factory=list)
    probing: list[tuple[Target, Verdict]] = field(default_factory=list)
    measuring: list[Subject] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)  # engine URL -> its trouble, "" when it answered


@dataclass
class Hooks:
    """What the pass tells others, and asks them. `purged`: a service is gone for good, before its rows go.

    `route_faults`: service uuid -> why some of its routes are not made. `reached`: instances (uuids) that the proxy was
    told of, None: not known. `free_memory`: of an engine's host.
    """

    purged: Callable[[str], None] = lambda service_uuid: None
    route_faults: Callable[[], Mapping[str, str]] = dict
    free_memory: FreeMemory = lambda url: None
    reached: Callable[[], Collection[str] | None] = lambda: None


@dataclass(frozen=True)
class _Sources:
    """What a pass reads from, beside the engines."""

    reads: PassReads
    book: AddressBook
    places: Places


class Reconciler:
    """Runs passes. Everything it needs is given; it keeps nothing that matters between two passes."""

    def __init__(
        self,
        *,
        sessions: sessionmaker[Session],
        observer: Observer,
        region_engines: dict[str, str],
        executor: Executor,
        job_maker: JobMaker,
        bookkeeper: Bookkeeper,
        clock: Callable[[], datetime],
        new_uuid: Callable[[], str],
        hooks: Hooks,
        verdicts: Callable[[], Mapping[str, Verdict]] | None = None,
    ) -> None:
        self._sessions = sessions
        self._observer = observer
        self._region_engines = region_engines
        self._executor = executor
        self._job_maker = job_maker
        self._bookkeeper = bookkeeper
        self._clock = clock
        self._new_uuid = new_uuid
        self._hooks = hooks
        self._verdicts = verdicts
        self._strays = StrayFinder(job_maker.settings, clock)
        self._troubles: dict[str, str] = {}

    def run_pass(self, uuids: Collection[str] | None = None) -> PassReport:
        """One pass over these services, or all (and strays) with None. Raises only when the database fails."""
        now = self._clock()
        report = PassReport()
        touched = self._record_outcomes(now, report)
        full = uuids is None
        wanted = None if uuids is None else set(uuids) | touched
        if wanted is not None and not wanted:
            return report
        # Busy is asked before the list: what was under way then may not show in it yet, and is left alone.
        busy = self._executor.busy()
        sights = self._observer.look(sorted(set(self._region_engines.values())))
        shares = [Share("engines", self._tell_engines(sights))]
        with session_scope(self._sessions) as session:
            reads = PassReads(session)
            settings = self._job_maker.settings
            places = Places(session, settings, self._region_engines, self._hooks.free_memory)
            sources = _Sources(reads, AddressBook(session, settings), places)
            loaded = reads.load(wanted)
            services, adopted = self._strays.adopt(reads, loaded, sights, self._region_engines, busy)
            for service in services:
                share = self._service(sources, service, sights, busy, now, report)
                share.writes[:0] = adopted.get(service.uuid, [])
                shares.append(share)
            shares += [self._unreadable(unreadable) for unreadable in reads.unreadable]
            if full:
                strays = self._strays.endings(reads, services, sights, busy)
                orphans = removal_jobs(Orphans(session).to_remove(), sights, self._region_engines)
                shares += [Share("strays", jobs=strays), Share("orphaned volumes", jobs=orphans)]
        jobs = self._commit(shares, now, report)
        self._troubles = {url: sight.trouble for url, sight in sights.items()}
        for job in jobs:
            self._executor.submit(job)
        report.services, report.actions = len(services), len(jobs)
        report.seen = {url: sight.trouble for url, sight in sights.items()}
        return report

    def record_outcomes(self) -> None:
        """Only note what jobs came to: the last thing a worker does before it ends."""
        self._record_outcomes(self._clock(), PassReport())

    def _record_outcomes(self, now: datetime, report: PassReport) -> set[str]:
        outcomes = self._executor.outcomes()
        if outcomes:
            with session_scope(self._sessions, write=True) as session:
                for outcome in outcomes:
                    record = partial(self._bookkeeper.record, session, outcome, now)
                    write_apart(session, f"{outcome.job.verb} of {outcome.job.service_name}", record)
            report.wrote = True
            self._executor.acknowledge(outcomes)
        return {outcome.job.service_uuid for outcome in outcomes}

    def _service(
        self,
        sources: _Sources,
        loaded: Loaded,
        sights: dict[str, Sight],
        busy: frozenset[str],
        now: datetime,
        report: PassReport,
    ) -> Share:
        """One service; whatever goes wrong with it stays with it, and is said in its status."""
        url = self._region_engines.get(loaded.region)
        sight = sights.get(url) if url else None
        trouble = sight.trouble if sight else f"region {loaded.region!r} is not in the configuration any more"
        try:
            route_fault = self._hooks.route_faults().get(loaded.uuid, "")
            verdicts = self._verdicts() if self._verdicts else None
            decision = decide(loaded, sight.facts if sight else {}, trouble, busy, now, self._new_uuid, verdicts)
            reached = self._hooks.reached() if loaded.routed else None
            decision.status = when_reached(decision.status, decision.observed.instances, reached)
            decision.status = with_route_fault(decision.status, route_fault)
        except Exception as error:
            return unplanned(loaded, loaded.desired.generation, describe(error), error)
        service_jobs, faults = self._ready(sources, decision, sight) if sight else ([], [])
        shown = internal_error(describe(faults[0])) if faults else decision.status
        if tell_status(decision, shown) and faults:
            log.error("planning failed: %s", loaded.full_name, exc_info=faults[0])
        if decision.plan.wake_at:
            report.wake[loaded.uuid] = decision.plan.wake_at
        if len(service_jobs) + len(faults) + decision.refused < len(decision.plan.actions):
            report.again.add(loaded.uuid)  # a step of rows only: the next one can follow at once
        for instance in decision.observed.instances:
            target = target_of(instance, loaded.uuid, loaded.probe_of(instance))
            if target:
                report.probing.append((target, known_verdict(instance)))
        if url:
            report.following += [
                Following(url, loaded.uuid, i.uuid, i.container_id)
                for i in decision.observed.instances
                if i.container_id and not i.busy and i.phase not in (Phase.PENDING, Phase.CREATED)  # no log yet
            ]
            sizes, instances = self._job_maker.settings.sizes, decision.observed.instances
            report.measuring += subjects(url, loaded.uuid, instances, loaded.size, loaded.own_sizes, sizes)
        return Share(loaded.full_name, decision.writes, service_jobs)

    def _unreadable(self, service: Unreadable) -> Share:
        """A service whose rows can't be read keeps what runs of it, until somebody mends it."""
        return unplanned(service, service.generation, service.error)

    def _ready(self, sources: _Sources, decision: Decision, sight: Sight) -> tuple[list[Job], list[Exception]]:
        """The decision's actions as jobs, and the faults of those that can't be made ready: the others go on.

        A launch for which the host has no room is left out, and nothing of it is written down.
        """
        jobs: list[Job] = []
        faults: list[Exception] = []
        loaded = decision.loaded
        for action, instance in decision.actions:
            try:
                if isinstance(action, Launch) and (why := sources.places.refusal(loaded.region, loaded.size)):
                    refuse(decision, why)
                    continue
                writes, job = self._made_ready(sources, decision, action, instance, sight)
            except Exception as error:
                faults.append(error)
                continue
            decision.writes += writes
            jobs += [job] if job else []
        return jobs, faults

    def _made_ready(
        self,
        sources: _Sources,
        decision: Decision,
        action: Action,
        instance: Instance | None,
        sight: Sight,
    ) -> tuple[list[Write], Job | None]:
        """The rows that must stand before an action, and its job (None: it concerns rows only)."""
        loaded, reads = decision.loaded, sources.reads
        if isinstance(action, Purge):
            self._hooks.purged(loaded.uuid)
            return [partial(_purge, decision=decision)], None
        number = _revision_number(loaded, action)
        spec = _spec(reads, loaded.uuid, number, needed=isinstance(action, Launch | Resume))
        writes: list[Write] = []
        links: dict[str, str] = {}
        place: Place | None = None
        if isinstance(action, Launch | Resume) and instance is not None and spec is not None:
            place, given = self._place(sources.book, loaded, instance, spec)
            writes.append(partial(PassWrites.keep_given, given=given))
            instance = replace(instance, address=place.address)
        if isinstance(action, Launch) and instance is not None:
            revision = target_revision(loaded.desired)
            instance = replace(instance, fingerprint=(revision.fingerprint if revision else "") or "")
            add = partial(PassWrites.add_instance, service_uuid=loaded.uuid, revision=number, instance=instance)
            writes.append(add)
        if isinstance(action, Launch | Resume) and spec is not None:
            links = self._link_variables(reads, loaded, spec)
            wanted = self._job_maker.volumes_wanted(loaded, action.slot, spec)
            if wanted:
                need = partial(PassWrites.need_volumes, service=decision.service, region=loaded.region)
                writes.append(partial(need, slot=action.slot, wanted=wanted))
        return writes, self._job_maker.make(loaded, action, instance, spec, sight.engine, links, place)

    def _place(self, book: AddressBook, loaded: Loaded, instance: Instance, spec: ServiceSpec) -> tuple[Place, Given]:
        """Where a new instance lives. Its address is known before it runs, so that whom it links to lets it in."""
        settings, namespace = self._job_maker.settings, loaded.desired.namespace
        subnet = book.subnet(namespace)
        address = book.instance_address(subnet, instance.uuid, instance.address)
        if settings.proxy == "none":
            return Place(subnet, address), Given(namespace, subnet)
        reached = {name: f"{namespace}/{name}" for name in spec.linked_to_apps}
        own = {loaded.full_name} if any(p.endpoint_type == INTERNAL for p in spec.instance_ports) else set()
        given = book.link_addresses({*reached.values(), *own})
        by_name = {name: given[key] for name, key in reached.items()}
        hosts = link_hosts(spec.linked_to_apps, by_name, namespace, settings.base_domain)
        return Place(subnet, address, hosts), Given(namespace, subnet, given)

    def _link_variables(self, reads: PassReads, loaded: Loaded, spec: ServiceSpec) -> dict[str, str]:
        links, base_domain = spec.linked_to_apps, self._job_maker.settings.base_domain
        return link_variables(links, reads.linked_endpoints(loaded.desired.namespace, links, base_domain))

    def _tell_engines(self, sights: dict[str, Sight]) -> list[Write]:
        """An event when an engine stops answering, and one when it is back."""
        writes: list[Write] = []
        for url, sight in sights.items():
            before = self._troubles.get(url, "")
            if bool(sight.trouble) != bool(before):
                kind = "engine_unreachable" if sight.trouble else "engine_back"
                reason = sight.trouble or "the engine answers again"
                log.log(logging.WARNING if sight.trouble else logging.INFO, "%s %s: %s", kind, url, reason)
                writes.append(partial(PassWrites.event, kind=kind, reason=reason, service=None, engine=url))
        return writes

    def _commit(self, shares: list[Share], now: datetime, report: PassReport) -> list[Job]:
        """The jobs whose rows stand."""
        jobs = [job for share in shares if not share.writes for job in share.jobs]
        writing = [share for share in shares if share.writes]
        if writing:
            with session_scope(self._sessions, write=True) as session:
                writes = PassWrites(session, now)
                for share in writing:
                    if share.write(session, writes):
                        jobs += share.jobs
            report.wrote = True
        return jobs


def _spec(reads: PassReads, uuid: str, revision: int, *, needed: bool) -> ServiceSpec | None:
    """The revision's spec; None when it can't be read and is not needed: what is broken must still be ended."""
    try:
        return reads.spec_of(uuid, revision)
    except (LookupError, ValueError):
        if needed:
            raise
        return None


def _revision_number(loaded: Loaded, action: Action) -> int:
    if isinstance(action, Launch):
        return action.revision
    if isinstance(action, Resume):
        revision = target_revision(loaded.desired)
        return revision.number if revision else loaded.desired.revision.number
    return loaded.desired.revision.number


def _purge(writes: PassWrites, decision: Decision) -> None:
    writes.purge(decision.loaded.uuid)
    writes.event("purged", "nothing is left of the deleted service", service=decision.service)
