"""Composition of the worker: every part made once and given to those that need it."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Collection

from sqlalchemy import Engine as Database

from orchestrator.actions import Launch, Pull
from orchestrator.bookkeeper import Bookkeeper, looks_again
from orchestrator.engine.base import LABEL_INSTANCE, LABEL_SERVICE, EngineEvent
from orchestrator.executor import Executor
from orchestrator.job_maker import JobMaker
from orchestrator.jobs import Job, Outcome
from orchestrator.metrics.reader import EngineReader
from orchestrator.metrics.samples import ProxySample
from orchestrator.reconciler import Hooks, Reconciler
from orchestrator.settings import Settings
from orchestrator.sight import Observer
from orchestrator.steps import Steps
from orchestrator.store import database
from orchestrator.store.census import Census
from orchestrator.store.database import session_scope
from orchestrator.store.lease import Lease, this_holder
from worker import parts
from worker.autoscaler import Autoscaler
from worker.counted_log import CountedLog
from worker.docker_events import EventWatcher
from worker.figures import Figures, FiguresFile
from worker.host import free_memory
from worker.housekeeping import Housekeeping
from worker.leadership import Leadership
from worker.log_collector import LogCollector
from worker.metric_sampler import LONGEST_INTERVALS, MetricSampler
from worker.own_log import OwnLog
from worker.parts import EngineFactory, docker_engine, utc_now
from worker.pass_loop import PassLoop
from worker.prober import Prober
from worker.room import Room
from worker.route_watch import RouteWatch
from worker.schedule import JobTable, Schedule
from worker.timed_engine import timed_engine
from worker.traffic_sampler import SAMPLE_SECONDS, TrafficSampler
from worker.wake_calls import WakeCalls
from worker.wake_listener import WakeListener

log = logging.getLogger("skylark.worker")

_STILL_BUSY_SECONDS = 0.25  # while jobs of a service are under way, their outcomes are recorded together
_AFTER_FAULT_SECONDS = 1.0
_LOG_UPKEEP_SECONDS = 3.0
# The engine tells a death before its list shows it (up to 0.1 s idle, more under load), so one look is not enough
_AFTER_DEATH_SECONDS = (0.04, 0.08, 0.16, 0.32, 0.64, 1.28)


class Worker:
    """The worker process without its signals: `run` blocks until `stop` is called from elsewhere."""

    def __init__(self, settings: Settings, engine_factory: EngineFactory = docker_engine) -> None:
        self._settings = settings
        self._database: Database = database.make_engine(settings.sqlalchemy_url)
        self._sessions = database.make_sessions(self._database)
        self._region_engines = {r.name: r.engine_url for r in settings.regions.values()}
        self._figures = Figures()
        self.engines = {
            url: timed_engine(engine_factory(settings, url), url, self._figures.called)
            for url in sorted(set(self._region_engines.values()))
        }
        self._archive = parts.log_archive(settings)
        log_writer = CountedLog(self._archive, self._figures.logged)
        lines_per_second = settings.log_lines_per_second
        self._collector = LogCollector(
            log_writer, self.engines, lines_per_second=lines_per_second, may_write=self._may_act
        )
        self._own_log = OwnLog(self._archive, self._may_act)
        self._loop = PassLoop(self._run_pass, self._may_act)
        self._prober = Prober(self._loop.request, utc_now)
        self._route_watch = RouteWatch(self._sessions, utc_now, self._loop.request, parts.free_service_port)
        longest = LONGEST_INTERVALS * settings.metric_seconds
        self._traffic = TrafficSampler(self._sessions, utc_now, longest_seconds=longest)
        self._proxy = parts.haproxy(settings, self._traffic)
        self._ingress = parts.ingress(settings, self._proxy, self._sessions, self._may_act, self._route_watch)
        self.metrics = parts.metric_store(settings)
        self._sampler = self._make_sampler()
        self._wake_calls = WakeCalls(parts.wake_path(settings), lambda service: self._autoscaler.request(service))
        self._autoscaler = Autoscaler(
            self._sessions,
            self.metrics,
            settings,
            utc_now,
            self._loop.request,
            may_act=self._may_act,
            evaluated=self._figures.evaluated,
            waking=self._wake_calls.waking,
            room=Room(self._sessions, settings, free_memory, self._sampler.memory_used),
        )
        self._observer = Observer(self.engines)
        self._executor = Executor(
            Steps(self._may_act, self._collector.drain, self._unroute),
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
            hooks=Hooks(self._forget_logs, self._route_watch.faults, free_memory, self._route_watch.reached),
            verdicts=self._prober.verdicts,
        )
        lease = Lease(self._sessions, this_holder(), settings.lease_seconds, time.monotonic)
        self._leadership = Leadership(lease, self._sessions, utc_now, self._gained, self._lost)
        self._wake = WakeListener(settings.wake_socket, self._loop.request)
        self._watchers = [EventWatcher(url, engine, self._engine_event) for url, engine in self.engines.items()]
        self._housekeeping = Housekeeping(settings, self._sessions, self.engines, self._archive, self.metrics, utc_now)
        self._schedule = self._make_schedule()

    def run(self) -> None:
        """Work until `stop`; then finish the pass and the jobs in hand."""
        self._own_log.begin()
        self._collector.start()
        self._prober.start()
        self._sampler.start()
        if self._ingress is not None:
            self._ingress.start()
        self._loop.start()
        self._autoscaler.start()
        for watcher in self._watchers:
            watcher.start()
        self._leadership.renew()
        try:
            self._schedule.run()
        finally:
            self._finish()

    def stop(self) -> None:
        """Let `run` end. Callable from a signal handler."""
        self._schedule.stop()

    def _may_act(self) -> bool:
        return self._leadership.may_act()

    def _make_schedule(self) -> Schedule:
        settings, keep = self._settings, self._housekeeping
        figures = FiguresFile(self._figures, settings.figures_path, self._executor.queued, self._names)
        always: JobTable = [
            ("tick", self._loop.request, settings.tick_seconds),
            ("lease", self._leadership.renew, settings.lease_seconds / 4),
        ]
        while_leading: JobTable = [
            ("networks", keep.remove_empty_networks, settings.tick_seconds),
            ("volumes", keep.measure_volumes, settings.volume_usage_seconds),
            ("traffic", self._sample_traffic, SAMPLE_SECONDS),
            ("autoscaler", self._autoscaler.request, settings.metric_seconds),
            ("logs", keep.keep_logs, _LOG_UPKEEP_SECONDS),
            ("figures", figures.write, settings.metric_seconds),
            ("retention", keep.apply_retention, 3600.0),
        ]
        return Schedule(always, while_leading, self._may_act)

    def _run_pass(self, uuids: Collection[str] | None) -> None:
        began = time.monotonic()
        try:
            report = self.reconciler.run_pass(uuids)
        except Exception:
            self._figures.pass_failed()
            raise
        self._figures.passed(time.monotonic() - began, full=uuids is None)
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
        self._sampler.watch(report.measuring, complete=uuids is None)
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
        self._figures.acted(outcome)
        backs_off = isinstance(outcome.job.action, Pull | Launch) and not (outcome.error and looks_again(outcome.error))
        hurried = outcome.error is None or backs_off
        delay = _AFTER_FAULT_SECONDS if not hurried else 0.0 if idle else _STILL_BUSY_SECONDS
        self._loop.request(outcome.job.service_uuid or None, delay)

    def _sample_traffic(self) -> None:
        if self._proxy is not None:
            self._traffic.record(self._proxy)

    def _make_sampler(self) -> MetricSampler:
        return MetricSampler(
            self.metrics,
            {url: EngineReader(url, engine) for url, engine in self.engines.items()},
            seconds=self._settings.metric_seconds,
            may_act=self._may_act,
            read_proxy=self._read_proxy,
            measured=self._figures.sampled,
        )

    def _read_proxy(self) -> list[ProxySample]:
        """What the proxy carried since the last look; Prometheus is told too."""
        samples = [] if self._proxy is None else self._traffic.sample(self._proxy)
        self._figures.proxy.add(samples)
        return samples

    def _names(self) -> dict[str, str]:
        """Of all services, for the figures."""
        with session_scope(self._sessions) as session:
            return Census(session).names()

    def _unroute(self, job: Job) -> None:
        """Before an instance is stopped: the proxy lets go of it."""
        if self._ingress is not None:
            self._ingress.unroute(job)

    def _forget_logs(self, service_uuid: str) -> None:
        """Beside the passes: millions of lines take their time. A worker that dies meanwhile leaves it to retention."""
        forget = self._housekeeping.forget_service
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
        self._traffic.begin()
        if self._proxy is not None:
            self._wake_calls.start()
        self._wake.start()
        self._loop.request()
        if self._ingress is not None:
            self._ingress.request()

    def _lost(self) -> None:
        self._collector.release()
        self._wake_calls.stop()
        self._wake.stop()

    def _finish(self) -> None:
        """SIGTERM: the pass in hand and the jobs in hand end, queued ones are left to the next worker."""
        log.info("worker ends: finishing what is in hand")
        for watcher in self._watchers:
            watcher.stop()
        self._wake.stop()
        self._autoscaler.stop()
        self._loop.stop()
        self._wake_calls.stop()
        self._executor.shutdown()
        try:
            self.reconciler.record_outcomes()
        except Exception:
            log.exception("the last outcomes could not be recorded; the next worker sees what they did")
        self._collector.stop()
        self._prober.stop()
        self._sampler.stop()
        if self._ingress is not None:
            self._ingress.stop()
        self._own_log.end()
        self._leadership.resign()
        for engine in self.engines.values():
            engine.close()
        self._observer.close()
        self._archive.close()
        self.metrics.close()
        self._database.dispose()
        log.info("worker ended")
