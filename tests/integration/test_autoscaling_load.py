"""Autoscaling end to end: real load on real containers, alone, while a rollout runs, and over a killed worker."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.support.haproxy import request
from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = [pytest.mark.docker, pytest.mark.slow]

MOST = 3
WAIT_SECONDS = 2
QUICK = {
    "SKYLARK_METRIC_SECONDS": "1",
    "SKYLARK_AUTOSCALING_WINDOW_SECONDS": "4",
    "SKYLARK_AUTOSCALING_WARMUP_SECONDS": "1",
}
POLICY = {
    "metric_name": "CPU_UTILIZATION",
    "metric_stat": "MEAN",
    "upper_threshold": "0.6",
    "lower_threshold": "0.2",
    "increase_delta": "1",
    "decrease_delta": "1",
    "minimum_num_instances": "1",
    "maximum_num_instances": str(MOST),
    "wait_period": str(WAIT_SECONDS),
}


@pytest.fixture(scope="module")
def skylark(make_skylark: MakeSkylark) -> Skylark:
    return make_skylark.with_proxy(**QUICK).start()


def mill(skylark: Skylark, images: Images, name: str) -> None:
    """A service whose CPU is burnt by its requests, at its minimum."""
    skylark.api.create(
        name,
        f"{images['mill']}:v1",
        instance_size="XXS",
        scaling_mode="AUTO",
        autoscaling_config=POLICY,
        instance_ports=[{"container_port": 80, "endpoint_type": "http-endpoint"}],
    )
    skylark.api.running(name, 1)


@contextmanager
def load(skylark: Skylark, name: str, clients: int = 4) -> Iterator[Counter[tuple[int, str]]]:
    """As many requests as the service can answer, each client one at a time; the answers by status and text."""
    answers: Counter[tuple[int, str]] = Counter()
    ending, lock = threading.Event(), threading.Lock()

    def one() -> None:
        while not ending.is_set():
            answer = request(skylark.http_port, f"{name}-madams.skylark.local", "/cgi-bin/grind")
            with lock:
                answers[answer.status, answer.body] += 1
            ending.wait(0.01)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ending.set()
        for thread in threads:
            thread.join(15)


def targets(skylark: Skylark, name: str) -> list[int]:
    """Every number of instances that the autoscaler has asked for, in order."""
    return [event["data"]["after"] for event in skylark.api.events(name) if event["kind"] == "autoscaled"]


def no_sooner_than_the_wait_period(events: Sequence[dict[str, Any]]) -> bool:
    """Whether between two of its actions the wait period went by."""
    times = [datetime.fromisoformat(e["at"]) for e in events if e["kind"] == "autoscaled"]
    return all((after - before).total_seconds() >= WAIT_SECONDS for before, after in pairwise(times))


def test_load_takes_a_service_to_its_maximum_and_rest_back_to_its_minimum(skylark: Skylark, images: Images) -> None:
    mill(skylark, images, "day")

    with load(skylark, "day") as answers:
        skylark.api.running("day", MOST, seconds=90)
        most = skylark.api.service("day")
    skylark.api.running("day", 1, seconds=90)

    assert most["target_num_instances"] == MOST
    assert most["last_autoscaled_at"] is not None
    assert targets(skylark, "day") == [2, 3, 2, 1]
    assert no_sooner_than_the_wait_period(skylark.api.events("day"))
    assert set(answers) == {(200, "v1")}


def test_a_rollout_under_load_is_not_disturbed_and_scaling_goes_on_after_it(skylark: Skylark, images: Images) -> None:
    mill(skylark, images, "deploy")

    with load(skylark, "deploy") as answers:
        eventually(lambda: targets(skylark, "deploy")[:1] == [2], 60)
        skylark.api.update("deploy", image_tag="v2")
        skylark.api.running("deploy", MOST, seconds=120)
        eventually(lambda: request(skylark.http_port, "deploy-madams.skylark.local", "/cgi-bin/grind").body == "v2", 30)
    skylark.api.running("deploy", 1, seconds=90)

    assert targets(skylark, "deploy") == [2, 3, 2, 1]
    assert {status for status, _ in answers} == {200}
    assert answers[200, "v2"] > 0


def test_a_worker_killed_in_the_middle_costs_nothing_but_time(skylark: Skylark, images: Images) -> None:
    mill(skylark, images, "night")

    with load(skylark, "night") as answers:
        eventually(lambda: targets(skylark, "night")[:1] == [2], 60)
        assert skylark.worker is not None
        skylark.worker.kill()
        skylark.start_worker()
        skylark.api.running("night", MOST, seconds=90)
    skylark.api.running("night", 1, seconds=90)

    assert targets(skylark, "night") == [2, 3, 2, 1]
    assert no_sooner_than_the_wait_period(skylark.api.events("night"))
    assert set(answers) == {(200, "v1")}
