"""Scale to zero, end to end: a service that nobody asks sleeps, and its first request wakes it and is answered."""

from __future__ import annotations

import threading

import pytest

from tests.support.client import Json
from tests.support.haproxy import Answer, request
from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = pytest.mark.docker

QUICK = {
    "SKYLARK_METRIC_SECONDS": "1",
    "SKYLARK_AUTOSCALING_WINDOW_SECONDS": "4",
    "SKYLARK_AUTOSCALING_WARMUP_SECONDS": "1",
}
POLICY = {
    "metric_name": "CPU_UTILIZATION",
    "upper_threshold": "0.8",
    "lower_threshold": "0.1",
    "minimum_num_instances": 0,
    "maximum_num_instances": 2,
    "wait_period": 1,
    "idle_seconds": 3,
}
HOST = "night-madams.skylark.local"


@pytest.fixture(scope="module")
def skylark(make_skylark: MakeSkylark, images: Images) -> Skylark:
    made = make_skylark.with_proxy(**QUICK).start()
    ports = [{"container_port": 80, "endpoint_type": "http-endpoint"}]
    auto = {"scaling_mode": "AUTO", "autoscaling_config": POLICY}
    # a server with a queue of its own for connections: busybox' takes nine, and twenty come at once
    made.api.create("night", f"{images['page']}:v1", instance_ports=ports, **auto)
    return made


def asleep(skylark: Skylark) -> Json:
    """Wait until it sleeps: no container, and still called Running."""

    def check() -> Json:
        service = skylark.api.service("night")
        assert (service["target_num_instances"], service["current_status"]) == (0, "Running"), service["status_reason"]
        assert skylark.ids("night") == []
        return service

    return eventually(check, 60)


def test_a_service_nobody_asks_sleeps_and_its_first_request_is_answered(skylark: Skylark) -> None:
    service = asleep(skylark)
    assert "asleep" in service["status_reason"]

    answer = request(skylark.http_port, HOST)

    assert answer.status == 200
    assert "v1" in answer.body
    rules = [e["data"]["rule"] for e in skylark.api.events("night") if e["kind"] == "autoscaled"]
    assert rules[-2:] == ["sleep", "wake"]


def test_many_first_requests_at_once_wake_it_once_and_are_all_answered(skylark: Skylark) -> None:
    asleep(skylark)
    woken = [e["data"]["rule"] for e in skylark.api.events("night") if e["kind"] == "autoscaled"].count("wake")
    answers: list[Answer] = []

    threads = [
        threading.Thread(target=lambda: answers.append(request(skylark.http_port, HOST)), daemon=True)
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)

    assert [answer.status for answer in answers] == [200] * 20
    rules = [e["data"]["rule"] for e in skylark.api.events("night") if e["kind"] == "autoscaled"]
    assert rules.count("wake") == woken + 1


def test_a_request_held_while_the_worker_is_killed_is_answered_by_the_next_one(skylark: Skylark) -> None:
    asleep(skylark)
    assert skylark.worker is not None
    skylark.worker.kill()
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(long_request(skylark)), daemon=True)
    thread.start()
    skylark.start_worker()
    thread.join(40)

    assert [answer.status for answer in answers] == [200]


def long_request(skylark: Skylark) -> Answer:
    """A request of a patient client."""
    return eventually(lambda: (a := request(skylark.http_port, HOST)).status == 200 and a, 60)


def test_a_stopped_service_holds_nothing(skylark: Skylark) -> None:
    asleep(skylark)
    skylark.api.stop("night")

    def refused() -> bool:
        answer = request(skylark.http_port, HOST)
        return answer.status == 503 and answer.seconds < 5

    eventually(refused, 30)
    assert skylark.ids("night") == []
