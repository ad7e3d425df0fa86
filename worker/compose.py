"""Composition of the worker: every part made once and given to those that need it."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime

from apscheduler.events import EVENT_SCHEDULER_STARTED
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.blocking import BlockingScheduler
from sqlalchemy import Engine as Database

from orchestrator.actions import Launch, Pull
from orchestrator.bookkeeper import Bookkeeper, looks_again
from orchestrator.endpoints import SERVICE_PORTS
from orchestrator.engine.base import LABEL_INSTANCE, LABEL_SERVICE, Engine, EngineEvent
from orchestrator.engine.docker import DockerEngine
from orchestrator.executor import Executor
from orchestrator.ingress.haproxy import HaProxy
from orchestrator.ingress.machine import claim_addresses, is_free, proxy_settings
from orchestrator.job_maker import JobMaker
from orchestrator.jobs import Job, Outcome
from orchestrator.logs.store import LogStore
from orchestrator.reconciler import Hooks, Reconciler
from orchestrator.settings import Settings
from orchestrator.sight import Observer
from orchestrator.steps import Steps
from orchestrator.store import database
from orchestrator.store.lease import Lease, this_holder
from worker.docker_events import EventWatcher
from worker.housekeeping import Housekeeping
from worker.ingress import Ingress
from worker.leadership import Leadership
from worker.log_collector import LogCollector
from worker.pass_loop import PassLoop
from worker.prober import Prober
from worker.route_watch import RouteWatch
from worker.traffic_sampler import SAMPLE_SECONDS, TrafficSampler
from worker.wake_listener import WakeListener

log = logging.getLogger("skylark.worker")

EngineFactory = Callable[[Settings, str], Engine]

_STILL_BUSY_SECONDS = 0.25  # while jobs of a service are under way, their outcomes are recorded together
_AFTER_FAULT_SECONDS = 1.0
# The engine tells a death before its list shows it (up to 0.1 s idle, more under load), so one look is not enough
_AFTER_DEATH_SECONDS = (0.04, 0.08, 0.16, 0.32, 0.64, 1.28)


def docker_engine(settings: Settings, url: str) -> Engine:
    """The real engine behind `url`."""
    return DockerEngine(url, settings.installation, loop_folder=settings.home / "volumes")


def utc_now() -> datetime:
    """The wall clock, as the store keeps it."""
    return datetime.now(UTC)


def free_service_port() -> int:
    """A service port on which nothing listens now; after many tries whatever comes."""
    proposed = (random.choice(SERVICE_PORTS) for _ in range(50))
    return next((port for port in proposed if is_free("", port)), random.choice(SERVICE_PORTS))


class Worker:
    """The worker process without its signals: `run` blocks until `stop` is called from elsewhere."""

    def __init__(self, settings: Settings, engine_factory: EngineFactory = docker_engine) -> None:
        self._settings = settings
        self._database: Database = database.make_engine(settings.sqlalchemy_url)
        self._sessions = database.make_sessions(self._database)
        self._region_engines = {r.name: r.engine_url for r in settings.regions.values()}
        self.engines = {url: engine_factory(settings, url) for url in sorted(set(self._region_engines.values()))}
        self._log_store = LogStore(settings.log_store_path)
        self._collector = LogCollector(self._log_store, self.engines)
        self._loop = PassLoop(self._run_pass, lambda: self._leadership.may_act())
        self._prober = Prober(self._loop.request, utc_now)
        self._route_watch = RouteWatch(self._sessions, utc_now, self._loop.request, free_service_port)
        self._traffic = TrafficSampler(self._sessions, utc_now)
        self._proxy = self._make_proxy() if settings.proxy == "haproxy" else None
        self._ingress = self._make_ingress(self._proxy) if self._proxy else None
        self._observer = Observer(self.engines)
        self._executor = Executor(
            Steps(lambda: self._leadership.may_act(), self._collector.drain, self._unroute),
            parallelism=settings.launch_parallelism,
            clock=utc_now,
            on_done=self._job_done,
        )
        self.reconciler = Reconciler(
            sessions=self._sessions,
            observer=self._observer,
            region_engines=self._region_engines,
            executor=self._executor,
            job_maker=JobMaker(settings),
            bookkeeper=Bookkeeper(random.random, probing=True),
            clock=utc_now,
            new_uuid=lambda: str(uuid.uuid4()),
            hooks=Hooks(purged=self._forget_logs, route_faults=self._route_watch.faults),
            verdicts=self._prober.verdicts,
        )
        lease = Lease(self._sessions, this_holder(), settings.lease_seconds, time.monotonic)
        self._leadership = Leadership(lease, self._sessions, utc_now, self._gained, self._lost)
        self._wake = WakeListener(settings.wake_socket, self._loop.request)
        self._watchers = [EventWatcher(url, engine, self._engine_event) for url, engine in self.engines.items()]
        self._housekeeping = Housekeeping(settings, self._sessions, self.engines, self._log_store, utc_now)
        self._scheduling = threading.Event()
        self._scheduler = self._make_scheduler()

    def run(self) -> None:
        """Work until `stop`; then finish the pass and the jobs in hand."""
        self._collector.start()
        self._prober.start()
        if self._ingress is not None:
            self._ingress.start()
        self._loop.start()
        for watcher in self._watchers:
            watcher.start()
        self._leadership.renew()
        try:
            self._scheduler.start()
        finally:
            self._finish()

    def stop(self) -> None:
        """Let `run` end. Callable from a signal handler."""
        threading.Thread(target=self._shut_down, daemon=True).start()

    def _shut_down(self) -> None:
        self._scheduling.wait()  # a signal may come before `run` is that far
        with suppress(SchedulerNotRunningError):  # a second signal
            self._scheduler.shutdown(wait=False)

    def _make_scheduler(self) -> BlockingScheduler:
        settings = self._settings
        scheduler = BlockingScheduler(
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None}, timezone=UTC
        )
        scheduler.add_listener(lambda event: self._scheduling.set(), EVENT_SCHEDULER_STARTED)
        jobs: list[tuple[str, Callable[[], None], float]] = [
            ("tick", self._loop.request, settings.tick_seconds),
            ("lease", self._leadership.renew, settings.lease_seconds / 4),
            ("networks", self._housekeeping.remove_empty_networks, settings.tick_seconds),
            ("volumes", self._housekeeping.measure_volumes, settings.volume_usage_seconds),
            ("traffic", self._sample_traffic, SAMPLE_SECONDS),
            ("retention", self._housekeeping.apply_retention, 3600.0),
        ]
        for name, function, seconds in jobs:
            run = function if name in ("tick", "lease") else self._if_leading(function)
            scheduler.add_job(run, "interval", seconds=seconds, id=name, next_run_time=utc_now())
        return scheduler

    def _if_leading(self, function: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            if self._leadership.may_act():
                function()

        return run

    def _run_pass(self, uuids: Collection[str] | None) -> None:
        began = time.monotonic()
        report = self.reconciler.run_pass(uuids)
        now = utc_now()
        for service, at in report.wake.items():
            self._loop.request(service, (at - now).total_seconds())
        for service in report.again:
            self._loop.request(service)
        seen = dict(self._leadership.seen)
        for url, trouble in report.seen.items():
            last = seen[url][0] if trouble and url in seen else now
            seen[url] = (last, trouble)
        self._leadership.seen = seen
        self._collector.follow(report.following, complete=uuids is None)
        self._prober.watch(report.probing, complete=uuids is None)
        if self._ingress is not None and report.wrote:
            self._ingress.request()
        if report.actions or report.wrote:
            seconds = round(time.monotonic() - began, 4)
            fields = {"services": report.services, "actions": report.actions, "seconds": seconds}
            log.debug("pass", extra={"fields": fields})

    def _job_done(self, outcome: Outcome, idle: bool) -> None:
        """The outcome is recorded by the next pass: at once when nothing else of the service is under way.

        A failed pull or launch waits by its own back-off; what has none (a removal) must not be tried in a circle.
        """
        backs_off = isinstance(outcome.job.action, Pull | Launch) and not (outcome.error and looks_again(outcome.error))
        hurried = outcome.error is None or backs_off
        delay = _AFTER_FAULT_SECONDS if not hurried else 0.0 if idle else _STILL_BUSY_SECONDS
        self._loop.request(outcome.job.service_uuid or None, delay)

    def _make_proxy(self) -> HaProxy:
        home, port = self._settings.home, self._settings.http_port
        return HaProxy(home / "haproxy", proxy_settings(port), before_reload=self._traffic.before_reload)

    def _sample_traffic(self) -> None:
        if self._proxy is not None:
            self._traffic.sample(self._proxy)

    def _make_ingress(self, proxy: HaProxy) -> Ingress:
        settings = self._settings
        return Ingress(
            proxy,
            self._sessions,
            settings.base_domain,
            tick_seconds=settings.tick_seconds,
            drain_seconds=settings.drain_seconds,
            may_act=lambda: self._leadership.may_act(),
            claim_addresses=lambda: claim_addresses(settings.link_pool),
            watch=self._route_watch,
        )

    def _unroute(self, job: Job) -> None:
        """Before an instance is stopped: the proxy lets go of it."""
        if self._ingress is not None:
            self._ingress.unroute(job)

    def _forget_logs(self, service_uuid: str) -> None:
        """Beside the passes: millions of lines take their time. A worker that dies meanwhile leaves it to retention."""
        forget = self._log_store.forget_service
        threading.Thread(target=forget, args=(service_uuid,), name=f"forget {service_uuid}", daemon=True).start()

    def _engine_event(self, event: EngineEvent | None) -> None:
        """Look at the service it names. An end that we brought about needs no second look: its job's outcome asks."""
        if event is None:
            self._loop.request()
            return
        ours = event.labels.get(LABEL_INSTANCE) in self._executor.busy()
        again = _AFTER_DEATH_SECONDS if event.action == "die" and not ours else ()
        self._loop.request(event.labels.get(LABEL_SERVICE), again_seconds=again)

    def _gained(self) -> None:
        self._wake.start()
        self._loop.request()
        if self._ingress is not None:
            self._ingress.request()

    def _lost(self) -> None:
        self._wake.stop()

    def _finish(self) -> None:
        """SIGTERM: the pass in hand and the jobs in hand end, queued ones are left to the next worker."""
        log.info("worker ends: finishing what is in hand")
        for watcher in self._watchers:
            watcher.stop()
        self._wake.stop()
        self._loop.stop()
        self._executor.shutdown()
        try:
            self.reconciler.record_outcomes()
        except Exception:
            log.exception("the last outcomes could not be recorded; the next worker sees what they did")
        self._collector.stop()
        self._prober.stop()
        if self._ingress is not None:
            self._ingress.stop()
        self._leadership.resign()
        for engine in self.engines.values():
            engine.close()
        self._observer.close()
        self._log_store.close()
        self._database.dispose()
        log.info("worker ended")
