"""A reconciler on a real database and an engine in memory, with its own clock: passes run when a test says so."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.bookkeeper import Bookkeeper
from orchestrator.engine.base import LABEL_INSTANCE
from orchestrator.engine.fake import FakeContainer, FakeEngine
from orchestrator.executor import Executor
from orchestrator.job_maker import JobMaker
from orchestrator.jobs import Job
from orchestrator.reconciler import Hooks, PassReport, Reconciler
from orchestrator.settings import Settings
from orchestrator.sight import Observer
from orchestrator.spec import ServiceSpec
from orchestrator.steps import Steps
from orchestrator.store.database import make_engine, make_sessions
from orchestrator.store.events import Events
from orchestrator.store.reads import Reads
from orchestrator.store.records import EventRecord, InstanceRecord, ServiceRecord
from orchestrator.store.services import ServiceStore
from tests.support.poll import eventually
from tests.support.world import NOW

IMAGE = "registry.example/web"


class Rig:
    """Reconciler, FakeEngine and database. `restart` is a worker killed and started again on the same two."""

    def __init__(self, url: str, home: Path, **settings: Any) -> None:
        self.now = NOW
        self.settings = Settings(home=home, installation="test", **settings)
        self.database = make_engine(url)
        self.sessions: sessionmaker[Session] = make_sessions(self.database)
        self.engine = FakeEngine("test")
        self.engine.world.push(f"{IMAGE}:1")
        self.permitted = True
        self.free_bytes: int | None = None  # of the host; not known
        self.purged: list[str] = []
        self.drained: list[str] = []
        self._ports = itertools.count(20000)
        self.statements: list[str] = []
        event.listen(self.database, "before_cursor_execute", self._note)
        self.restart()

    def restart(self, engine: Any = None) -> None:
        """A new worker; `engine` (a wrapper of `self.engine`) instead of the engine itself."""
        url = self.settings.regions["SHANGHAI1"].engine_url
        self.observer = Observer({url: engine or self.engine})
        self.executor = Executor(
            Steps(lambda: self.permitted, self._drain),
            parallelism=4,
            clock=lambda: self.now,
            on_done=lambda outcome, idle: None,
        )
        self.reconciler = Reconciler(
            sessions=self.sessions,
            observer=self.observer,
            region_engines=dict.fromkeys(self.settings.regions, url),
            executor=self.executor,
            job_maker=JobMaker(self.settings),
            bookkeeper=Bookkeeper(lambda: 0.5),
            clock=lambda: self.now,
            new_uuid=lambda: str(uuid4()),
            hooks=Hooks(purged=self.purged.append, free_memory=lambda url: self.free_bytes),
        )

    def close(self) -> None:
        """Give threads and connections back."""
        self.executor.shutdown()
        self.observer.close()
        self.database.dispose()

    # What users do

    def create(self, name: str = "web", **changes: Any) -> ServiceRecord:
        """Declare a service of one instance, with `changes`."""
        fields = {
            "service_name": name,
            "image_name": IMAGE,
            "image_tag": "1",
            "target_num_instances": 1,
            "region_name": "SHANGHAI1",
        }
        with self.sessions() as session:
            return ServiceStore(session).create(
                "ns",
                ServiceSpec.model_validate(fields | changes),
                uuid=str(uuid4()),
                created_by="ann",
                now=self.now,
                choose_port=lambda: next(self._ports),
            )

    def change(self, name: str = "web", *, recheck_image: bool = False, **changes: Any) -> ServiceRecord:
        """Change the service's spec."""
        service = self.service(name)
        spec = ServiceSpec.model_validate(service.spec.model_dump(mode="json") | changes)
        with self.sessions() as session:
            return ServiceStore(session).replace_spec(
                service.uuid,
                spec,
                now=self.now,
                expected_generation=service.generation,
                recheck_image=recheck_image,
                reason="",
                choose_port=lambda: next(self._ports),
            )

    def delete(self, name: str = "web", *, delete_volumes: bool = False) -> None:
        """Delete the service."""
        uuid = self.service(name).uuid
        with self.sessions() as session:
            ServiceStore(session).delete(uuid, delete_volumes=delete_volumes, now=self.now)

    # What the worker does

    def run_pass(self, *uuids: str) -> PassReport:
        """One pass (over all without uuids), and its jobs done to their end."""
        report = self.reconciler.run_pass(uuids or None)
        self.wait()
        return report

    def wait(self) -> None:
        """Until every job has its outcome."""
        eventually(lambda: len(self.executor.outcomes()) == len(self.executor.busy()), 20, 0.002)

    def converge(self, passes: int = 60, seconds: float = 0.1) -> int:
        """Passes until nothing is left to do or to wait for; time goes on to the next wake-up. How many it took."""
        for taken in range(passes):
            report = self.run_pass()
            if not (report.actions or report.wrote or report.wake or report.again or self.executor.outcomes()):
                return taken
            soon = self.now + timedelta(seconds=seconds)
            at = min(report.wake.values(), default=soon)
            self.now = at if at > soon and not self.executor.outcomes() else soon
        raise AssertionError(f"not converged after {passes} passes: {self.containers()} {self.status()}")

    def after(self, seconds: float) -> None:
        """Time goes on."""
        self.now += timedelta(seconds=seconds)

    # What one sees

    def service(self, name: str = "web") -> ServiceRecord:
        """The living service."""
        with self.sessions() as session:
            found = Reads(session).service("ns", name)
        assert found is not None, f"no service {name}"
        return found

    def status(self, name: str = "web") -> tuple[str, str]:
        """current_status and its reason."""
        service = self.service(name)
        return service.current_status, service.status_reason

    def instances(self, name: str = "web") -> tuple[InstanceRecord, ...]:
        """Rows of living instances, by slot."""
        uuid = self.service(name).uuid
        with self.sessions() as session:
            return Reads(session).instances([uuid])[uuid]

    def events(self, kind: str = "", newest_first: bool = False) -> list[EventRecord]:
        """Events of this kind, or all."""
        with self.sessions() as session:
            found = Events(session).list(None, limit=1000, newest_first=newest_first)
        return [e for e in found if not kind or e.kind == kind]

    def containers(self) -> dict[str, FakeContainer]:
        """Every container of the world, by instance uuid."""
        return {c.config.labels[LABEL_INSTANCE]: c for c in self.engine.world.containers.values()}

    def ids(self, name: str = "web") -> dict[int, str]:
        """Container id by slot of what runs for the service."""
        running = [c for c in self.containers().values() if c.state == "running"]
        mine = [c for c in running if c.config.labels["skylark.service_name"] == f"ns/{name}"]
        found = {int(c.config.labels["skylark.slot"]): c.id for c in mine}
        assert len(found) == len(mine), "two containers in one slot"
        return found

    def counted(self, do: Callable[[], Any]) -> tuple[dict[str, int], list[str]]:
        """Engine calls and SQL writes of `do()`."""
        calls = self.engine.calls.copy()
        self.statements.clear()
        do()
        writes = [s for s in self.statements if s.split()[0].upper() in ("INSERT", "UPDATE", "DELETE")]
        return dict(self.engine.calls - calls), writes

    def _drain(self, job: Job, container_id: str) -> None:
        self.drained.append(container_id)

    def _note(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        self.statements.append(statement)


class Killed(BaseException):
    """The worker is dead: what runs on in its threads does nothing more."""


class DyingEngine:
    """The rig's engine until the worker is killed just before or after the first call of `method`."""

    def __init__(self, engine: FakeEngine, method: str, moment: str) -> None:
        self.dead = threading.Event()
        self._engine, self._method, self._moment = engine, method, moment

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name == self._method and self._moment == "before":
                self.dead.set()
            if self.dead.is_set():
                raise Killed
            answer = getattr(self._engine, name)(*arguments, **options)
            if name == self._method:
                self.dead.set()
                raise Killed
            return answer

        return call
