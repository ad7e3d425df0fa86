"""Jobs in bounded pools: nothing slow holds up another service, and every job has an outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestrator.actions import Launch, Pull, Remove, Stop
from orchestrator.engine.base import ContainerConfig
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.engine.fake import FakeEngine
from orchestrator.executor import Executor
from orchestrator.jobs import Job, Outcome
from orchestrator.steps import Steps
from tests.support.poll import eventually
from tests.support.world import NOW

REF = "registry.example/web:1"


class Slow:
    """The engine, with calls of some methods held at a gate until the test opens it."""

    def __init__(self, engine: FakeEngine, *methods: str) -> None:
        self.gate = threading.Event()
        self.waiting: list[str] = []
        self._engine, self._methods = engine, methods

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name in self._methods:
                self.waiting.append(name)
                assert self.gate.wait(20)
            return getattr(self._engine, name)(*arguments, **options)

        return call


class Bench:
    """An executor, its engine, and what `on_done` was told."""

    def __init__(self) -> None:
        self.engine = FakeEngine("test")
        self.image = self.engine.world.push(REF)
        self.engine.pull(REF)
        self.permitted = True
        self.drained: list[str] = []
        self.told: list[tuple[Outcome, bool]] = []
        self.executor = Executor(
            Steps(lambda: self.permitted, lambda job, container: self.drained.append(container)),
            parallelism=2,
            clock=lambda: NOW,
            on_done=lambda outcome, idle: self.told.append((outcome, idle)),
        )

    def job(self, action: Any, *, service: str = "s", engine: Any = None, **fields: Any) -> Job:
        key = f"pull:{service}" if isinstance(action, Pull) else getattr(action, "instance_uuid", f"{service}-new")
        defaults: dict[str, Any] = {"key": key, "image_ref": REF, "instance_uuid": key, "grace_seconds": 1}
        return Job(
            service_uuid=service,
            service_name=f"ns/{service}",
            generation=1,
            action=action,
            engine=engine or self.engine,
            **(defaults | fields),
        )

    def config(self, name: str) -> ContainerConfig:
        return ContainerConfig(name, self.image.id, {"skylark.instance": name})

    def running(self, name: str) -> str:
        container = self.engine.create_container(self.config(name))
        self.engine.start_container(container)
        return container

    def outcomes(self, count: int) -> list[Outcome]:
        return eventually(lambda: len(self.executor.outcomes()) >= count and self.executor.outcomes(), 20, 0.005) or []


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.executor.shutdown()


def test_one_image_is_pulled_once_for_several_services_at_a_time(bench: Bench) -> None:
    slow = Slow(bench.engine, "pull")
    before = bench.engine.calls["pull"]
    for service in ("a", "b", "c"):
        bench.executor.submit(bench.job(Pull(REF, "deploy"), service=service, engine=slow))
    slow.gate.set()
    outcomes = bench.outcomes(3)

    assert bench.engine.calls["pull"] == before + 1
    assert {o.job.service_uuid for o in outcomes} == {"a", "b", "c"}
    assert {o.image.image_id for o in outcomes if o.image} == {bench.image.id}


def test_failing_shared_pull_fails_for_each_of_them(bench: Bench) -> None:
    slow = Slow(bench.engine, "pull")
    bench.engine.fail_next("pull", EngineError(Fault.REGISTRY_DENIED, "no"))
    for service in ("a", "b"):
        bench.executor.submit(bench.job(Pull(REF, "deploy"), service=service, engine=slow))
    slow.gate.set()

    assert [o.error.fault for o in bench.outcomes(2) if o.error] == [Fault.REGISTRY_DENIED] * 2


def test_image_is_pulled_again_once_the_pull_before_has_ended(bench: Bench) -> None:
    before = bench.engine.calls["pull"]
    bench.executor.submit(bench.job(Pull(REF, "deploy"), service="a"))
    bench.outcomes(1)
    bench.executor.submit(bench.job(Pull(REF, "deploy"), service="b"))
    bench.outcomes(2)

    assert bench.engine.calls["pull"] == before + 2


@pytest.mark.parametrize("held", ["stop_container", "pull", "remove_container"])
def test_slow_work_of_one_service_delays_no_launch_of_another(bench: Bench, held: str) -> None:
    slow = Slow(bench.engine, held)
    for number in range(12):
        name = f"slow{number}"
        action: Any = {
            "stop_container": Stop(name, 0, "scaled"),
            "remove_container": Remove(name, 0, "ended"),
            "pull": Pull(f"{REF}{number}", "deploy"),
        }[held]
        container = bench.running(name) if held != "pull" else None
        ref = f"{REF}{number}"
        job = bench.job(action, service=name, engine=slow, container_id=container, image_ref=ref)
        bench.executor.submit(job)
    eventually(lambda: slow.waiting)
    bench.executor.submit(bench.job(Launch(0, 1, "first"), service="quick", config=bench.config("quick")))
    launched = bench.outcomes(1)[0]

    assert (launched.job.service_uuid, launched.error) == ("quick", None)
    slow.gate.set()
    bench.outcomes(13)


def test_hanging_pull_delays_no_pull_from_another_registry(bench: Bench) -> None:
    slow = Slow(bench.engine, "pull")
    for number in range(30):
        ref = f"hanging.example/x:{number}"
        bench.executor.submit(bench.job(Pull(ref, "deploy"), service=f"x{number}", engine=slow, image_ref=ref))
    bench.executor.submit(bench.job(Pull(REF, "deploy"), service="quick"))

    assert bench.outcomes(1)[0].job.service_uuid == "quick"
    slow.gate.set()


def test_stop_waits_drains_and_removes_in_one_job(bench: Bench) -> None:
    container = bench.running("i")
    bench.executor.submit(bench.job(Stop("i", 0, "scaled to 0"), container_id=container))
    outcome = bench.outcomes(1)[0]

    assert container not in bench.engine.world.containers
    assert bench.drained == [container]
    assert isinstance(outcome.job.action, Stop)
    assert outcome.detail is not None
    assert outcome.detail.exit_code == 143


def test_container_whose_log_can_not_be_stored_is_kept(bench: Bench) -> None:
    container = bench.running("i")

    def full(job: Job, container_id: str) -> None:
        raise EngineError(Fault.NO_SPACE, "its log can't be stored")

    bench.executor._steps._drain = full
    bench.executor.submit(bench.job(Stop("i", 0, "scaled to 0"), container_id=container))
    outcome = bench.outcomes(1)[0]

    assert outcome.error is not None
    assert outcome.error.fault is Fault.NO_SPACE
    assert bench.engine.world.containers[container].state == "exited"


def test_exception_in_a_job_is_its_outcome_and_ends_no_pool(bench: Bench) -> None:
    class Buggy:
        def pull(self, *_: Any) -> None:
            raise RuntimeError("a bug")

    bench.executor.submit(bench.job(Pull(REF, "deploy"), service="a", engine=Buggy()))
    outcome = bench.outcomes(1)[0]

    assert outcome.error is not None
    assert outcome.error.message == "RuntimeError: a bug"
    bench.executor.acknowledge([outcome])
    bench.executor.submit(bench.job(Pull(REF, "deploy"), service="a"))
    assert bench.outcomes(1)[0].error is None


def test_key_stays_busy_until_its_outcome_is_acknowledged(bench: Bench) -> None:
    job = bench.job(Pull(REF, "deploy"))
    bench.executor.submit(job)
    first = bench.outcomes(1)
    bench.executor.submit(job)
    assert bench.executor.busy() == {"pull:s"}
    assert bench.executor.outcomes() == first

    bench.executor.acknowledge(first)
    assert bench.executor.busy() == frozenset()
    assert bench.executor.outcomes() == []


def test_outcome_that_comes_during_recording_is_kept(bench: Bench) -> None:
    bench.executor.submit(bench.job(Pull(REF, "deploy"), service="a"))
    recorded = bench.outcomes(1)
    bench.executor.submit(bench.job(Pull(REF, "deploy"), service="b"))
    bench.outcomes(2)
    bench.executor.acknowledge(recorded)

    assert [o.job.service_uuid for o in bench.executor.outcomes()] == ["b"]


def test_without_the_lease_nothing_is_done(bench: Bench) -> None:
    container = bench.running("i")
    calls = bench.engine.calls.copy()
    bench.permitted = False
    bench.executor.submit(bench.job(Stop("i", 0, "x"), container_id=container))
    bench.executor.submit(bench.job(Launch(0, 1, "x"), service="t", config=bench.config("t")))
    bench.executor.submit(bench.job(Pull(REF, "x"), service="p"))

    assert all(o.revoked and o.error is None for o in bench.outcomes(3))
    assert bench.engine.calls == calls


def test_last_outcome_of_a_service_is_told_as_idle(bench: Bench) -> None:
    for name in ("x", "y"):
        bench.executor.submit(bench.job(Launch(0, 1, "first"), key=name, config=bench.config(name), instance_uuid=name))
    bench.outcomes(2)
    eventually(lambda: len(bench.told) == 2)

    assert [idle for _, idle in bench.told][-1] is True


def test_failed_start_takes_its_container_away(bench: Bench) -> None:
    bench.engine.fail_next("start_container", EngineError(Fault.PORT_IN_USE, "taken"))
    bench.executor.submit(bench.job(Launch(0, 1, "first"), config=bench.config("i")))

    assert bench.outcomes(1)[0].error is not None
    assert not bench.engine.world.containers


def test_shutdown_finishes_launches_in_hand_and_waits_for_no_stop(bench: Bench) -> None:
    slow = Slow(bench.engine, "stop_container")
    container = bench.running("i")
    bench.executor.submit(bench.job(Stop("i", 0, "x"), engine=slow, container_id=container))
    eventually(lambda: slow.waiting)
    bench.executor.submit(bench.job(Launch(0, 1, "first"), service="t", config=bench.config("t")))
    bench.executor.shutdown()

    assert [o.job.service_uuid for o in bench.executor.outcomes()] in (["t"], [])
    slow.gate.set()
