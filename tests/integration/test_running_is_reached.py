"""What the status promises: a service that is said to run answers the very next request."""

from __future__ import annotations

import pytest

from tests.support.haproxy import request
from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = pytest.mark.docker

WEB = [{"container_port": 80, "endpoint_type": "http-endpoint"}]


@pytest.fixture(scope="module")
def skylark(make_skylark: MakeSkylark) -> Skylark:
    return make_skylark.with_proxy().start()


def running_at_last(skylark: Skylark, name: str) -> bool:
    return skylark.api.service(name)["current_status"] == "Running"


def test_service_that_is_said_to_run_answers_at_once(skylark: Skylark, images: Images) -> None:
    """Asked at the very moment, ten times: routing comes after readiness, and the status after both."""
    answers = []
    for number in range(10):
        name = f"web{number}"
        skylark.api.create(name, f"{images['web']}:v1", instance_ports=WEB)
        eventually(lambda name=name: running_at_last(skylark, name), 30, 0.002)
        answers.append(request(skylark.http_port, f"{name}-madams.skylark.local").status)
        skylark.api.delete(name)

    assert answers == [200] * 10
