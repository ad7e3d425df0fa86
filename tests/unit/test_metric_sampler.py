"""The metric sampler: rates from counters, what is missing stays missing, and a store that fails loses little."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import pytest

from orchestrator.metrics.deltas import Look, cpu_cores
from orchestrator.metrics.samples import ProxySample, Reading, Sample
from orchestrator.metrics.store import MetricStoreError
from orchestrator.metrics.subjects import Subject
from tests.support.poll import eventually
from worker.metric_sampler import MetricSampler, until_next

SECOND_NS = 1_000_000_000
URL, OTHER_URL = "unix:///here", "tcp://there:2375"
PROXY = ProxySample("web", 5000, 5.0, 10, 0, 1, 100, 1000, 3.0)


def subject(container: str, *, service: str = "web", url: str = URL) -> Subject:
    return Subject(url, service, f"instance of {container}", container, 0.5, 1 << 20)


def look(at: float, cpu_seconds: float) -> Look:
    return Look(Reading(round(at * 1000), round(cpu_seconds * SECOND_NS), 1 << 19), at)


class Store:
    """Keeps rounds in a list, unless it is broken."""

    def __init__(self) -> None:
        self.rounds: list[tuple[list[Sample], list[ProxySample]]] = []
        self.broken = False

    def add(self, samples: Collection[Sample], proxy: Collection[ProxySample] = ()) -> None:
        if self.broken:
            raise MetricStoreError("disk full")
        self.rounds.append((list(samples), list(proxy)))

    def cores(self) -> list[dict[str, float | None]]:
        return [{s.instance_uuid.split()[-1]: s.cpu_cores for s in samples} for samples, _ in self.rounds]


@dataclass
class Source:
    """Answers what a test puts into `looks`."""

    looks: dict[str, Look] = field(default_factory=dict)
    error: Exception | None = None

    def read(self, container_ids: Collection[str], seconds: float) -> dict[str, Look]:
        if self.error:
            raise self.error
        return {i: look for i, look in self.looks.items() if i in container_ids}

    def close(self) -> None:
        pass


class Scene:
    """A sampler whose rounds a test runs one by one."""

    def __init__(self) -> None:
        self.store, self.here, self.there = Store(), Source(), Source()
        self.proxy: list[ProxySample] = []
        self.leads = True
        self.make()

    def make(self, seconds: float = 5.0) -> None:
        """A new one, as after a restart of the worker."""
        readers = {URL: self.here, OTHER_URL: self.there}
        self.sampler = MetricSampler(
            self.store, readers, seconds=seconds, may_act=lambda: self.leads, read_proxy=lambda: self.proxy
        )

    def round(self, at: float, **cpu_seconds: float) -> None:
        self.here.looks = {container: look(at, used) for container, used in cpu_seconds.items()}
        self.sampler.measure()


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    scene.sampler.watch([subject("a"), subject("b")], complete=True)
    yield scene
    scene.sampler.stop()


@pytest.mark.parametrize(
    ("before", "now", "cores"),
    [
        (None, look(5, 9), None),
        (look(0, 9), look(5, 10.5), 0.3),
        (look(0, 9), look(5, 9), 0.0),
        (look(0, 9), look(5, 8), None),
        (look(0, 9), look(20, 19), 0.5),
        (look(0, 9), look(20.1, 19), None),
        (look(5, 9), look(5, 10), None),
    ],
    ids=["first", "usual", "idle", "went back", "four intervals", "longer", "no time passed"],
)
def test_cores_are_told_where_two_readings_say_them(before: Look | None, now: Look, cores: float | None) -> None:
    assert cpu_cores(before, now, longest_seconds=20) == (None if cores is None else pytest.approx(cores))


def test_second_reading_tells_the_cores_used_since_the_first(scene: Scene) -> None:
    scene.round(0, a=1, b=1)
    scene.round(5, a=2, b=3.5)

    assert scene.store.cores() == [{"a": None, "b": None}, {"a": 0.2, "b": 0.5}]
    sample = scene.store.rounds[1][0][0]
    assert (sample.service_uuid, sample.instance_uuid) == ("web", "instance of a")
    assert (sample.cpu_fraction, sample.memory_fraction) == (0.4, 0.5)


def test_jump_of_the_wall_clock_makes_no_spike(scene: Scene) -> None:
    scene.round(0, a=1)
    jumped = look(5, 2)
    scene.here.looks = {"a": Look(Reading(10**12, jumped.reading.cpu_ns, 1), jumped.at_seconds)}
    scene.sampler.measure()

    assert scene.store.cores()[1] == {"a": 0.2}


def test_instance_that_does_not_answer_is_missing_and_goes_on_from_where_it_was(scene: Scene) -> None:
    scene.round(0, a=1, b=1)
    scene.round(5, b=2)
    scene.round(10, a=4, b=3)

    assert scene.store.cores()[1:] == [{"b": 0.2}, {"a": 0.3, "b": 0.2}]


def test_restarted_worker_loses_one_value_of_each_instance(scene: Scene) -> None:
    scene.round(0, a=1)
    scene.round(5, a=2)
    scene.make()
    scene.sampler.watch([subject("a")], complete=True)
    scene.round(10, a=3)
    scene.round(15, a=4)

    assert [cores["a"] for cores in scene.store.cores()] == [None, 0.2, None, 0.2]


def test_pass_over_some_services_adds_and_a_whole_one_replaces(scene: Scene) -> None:
    scene.sampler.watch([subject("c", service="db")], complete=False)
    scene.round(0, a=1, b=1, c=1)
    scene.sampler.watch([subject("c", service="db")], complete=True)
    scene.round(5, a=2, b=2, c=2)

    assert [set(cores) for cores in scene.store.cores()] == [{"a", "b", "c"}, {"c"}]


def test_engine_that_fails_leaves_the_others_measured(scene: Scene) -> None:
    scene.sampler.watch([subject("a"), subject("far", url=OTHER_URL)], complete=True)
    scene.there.error = RuntimeError("an answer that nobody understands")
    scene.round(0, a=1)
    scene.there.error, scene.there.looks = None, {"far": look(5, 1)}
    scene.round(5, a=2)

    assert scene.store.cores() == [{"a": None}, {"a": 0.2, "far": None}]


def test_proxy_samples_are_kept_with_the_round_and_a_fault_there_costs_only_them(scene: Scene) -> None:
    scene.proxy = [PROXY]
    scene.round(0, a=1)

    def fault() -> list[ProxySample]:
        raise RuntimeError("no counters")

    scene.sampler._read_proxy = fault
    scene.round(5, a=2)

    assert [proxy for _, proxy in scene.store.rounds] == [[PROXY], []]
    assert scene.store.cores()[1] == {"a": 0.2}


def test_nothing_to_tell_writes_nothing(scene: Scene) -> None:
    scene.round(0)

    assert scene.store.rounds == []


def test_failing_store_is_told_once_and_gets_all_rounds_when_it_is_back(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "skylark.metrics")
    scene.store.broken = True
    for number in range(4):
        scene.round(5.0 * number, a=number)
    assert [record.getMessage() for record in caplog.records] == [
        "measured values can't be stored, and wait for it: disk full"
    ]

    scene.store.broken = False
    scene.round(20, a=4)

    assert [cores["a"] for cores in scene.store.cores()] == [None, 0.2, 0.2, 0.2, 0.2]
    assert [s.reading.at_ms for samples, _ in scene.store.rounds for s in samples] == [0, 5000, 10000, 15000, 20000]
    assert caplog.records[-1].getMessage() == "measured values are stored again; rounds lost meanwhile: 0"


def test_store_that_fails_for_long_keeps_the_newest_rounds(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "skylark.metrics")
    scene.store.broken = True
    for number in range(70):
        scene.round(5.0 * number, a=number)
    scene.store.broken = False
    scene.round(350, a=70)

    assert [s.reading.at_ms // 5000 for samples, _ in scene.store.rounds for s in samples] == list(range(10, 71))
    assert caplog.records[-1].getMessage().endswith("lost meanwhile: 10")


def test_thread_measures_again_and_again_only_while_this_worker_leads(scene: Scene) -> None:
    scene.leads = False
    scene.make(seconds=0.01)
    scene.sampler.watch([subject("a")], complete=True)
    ticks = Ticking()
    scene.sampler._readers = {URL: ticks}
    scene.sampler.start()
    scene.leads = True
    eventually(lambda: len(scene.store.rounds) >= 3)

    scene.leads = False
    eventually(lambda: scene.sampler._before == {})
    scene.leads = True
    told = len(scene.store.rounds)
    eventually(lambda: len(scene.store.rounds) >= told + 2)
    scene.sampler.stop()

    assert ticks.closed
    cores = [cores["a"] for cores in scene.store.cores()]
    assert cores.count(None) == 2, "the first, and the first after it led again"


class Ticking:
    """Each look is 10 ms and half as much CPU after the one before."""

    def __init__(self) -> None:
        self.count = 0.0
        self.closed = False

    def read(self, container_ids: Collection[str], seconds: float) -> dict[str, Look]:
        self.count += 0.01
        return {i: look(self.count, self.count / 2) for i in container_ids}

    def close(self) -> None:
        self.closed = True


def test_rounds_begin_at_whole_intervals_however_long_one_takes() -> None:
    assert until_next(0.3, 5.0) == pytest.approx(4.7)
    assert until_next(12.1, 5.0) == pytest.approx(2.9), "an overrun round leaves one out"
