"""The proxy beside Skylark's processes: it outlives them, is ended on request, and a taken port is told."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from tests.support.haproxy import request
from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = pytest.mark.docker

WEB_PORTS = [{"container_port": 80, "endpoint_type": "http-endpoint"}]
HOST = "site-madams.skylark.local"


def stop_proxy(skylark: Skylark) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worker.cli", "stop-proxy"]
    return subprocess.run(command, env=skylark.environ, capture_output=True, text=True, timeout=60, check=False)


def site(skylark: Skylark, images: Images) -> None:
    skylark.api.create("site", f"{images['web']}:v1", instance_ports=WEB_PORTS)
    skylark.api.running("site", 1)


def test_proxy_serves_on_without_skylark_until_it_is_stopped(make_skylark: MakeSkylark, images: Images) -> None:
    skylark = make_skylark.with_proxy().start()
    site(skylark, images)
    eventually(lambda: request(skylark.http_port, HOST).status == 200)
    refused = stop_proxy(skylark)
    assert refused.returncode == 1
    assert "stop Skylark first" in refused.stderr

    assert skylark.worker is not None
    assert skylark.worker.end() == 0
    assert request(skylark.http_port, HOST).status == 200

    assert stop_proxy(skylark).returncode == 0
    assert request(skylark.http_port, HOST).status == 0
    assert len(skylark.ids()) == 1
    assert "no proxy is running" in stop_proxy(skylark).stderr

    skylark.start_worker()
    eventually(lambda: request(skylark.http_port, HOST).status == 200, 20)


def test_http_port_of_something_else_is_told_once_and_used_when_it_is_free(
    make_skylark: MakeSkylark, images: Images
) -> None:
    skylark = make_skylark.with_proxy()
    with socket.create_server(("127.0.0.1", skylark.http_port)):
        skylark.start()  # /readyz is good: the API works
        site(skylark, images)
        told = f"something else listens on port {skylark.http_port}"
        eventually(lambda: told in skylark.log())
        skylark.api.update("site", target_num_instances=2)
        skylark.api.running("site", 2)
        assert skylark.log().count(told) == 1
    eventually(lambda: request(skylark.http_port, HOST).status == 200, 10)
