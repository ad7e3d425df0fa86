"""What real instances use, read from the kernel's files and from the engine, and kept by a real worker."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable

import docker
import pytest

from orchestrator.engine.base import LABEL_INSTALLATION, ContainerConfig
from orchestrator.engine.docker import DockerEngine
from orchestrator.metrics.reader import EngineReader
from orchestrator.metrics.reader_files import CgroupReader
from orchestrator.metrics.reader_stats import StatsReader
from orchestrator.metrics.samples import Sample
from orchestrator.metrics.store import MetricStore
from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = pytest.mark.docker

MEBIBYTE = 1024 * 1024
Launch = Callable[..., str]


@pytest.fixture
def launch(docker_engine: DockerEngine, images: Images) -> Launch:
    def start(image: str, tag: str = "latest", **more: object) -> str:
        config = ContainerConfig(
            name=f"{docker_engine.installation}-{image}",
            image_id=docker_engine.pull(f"{images[image]}:{tag}").image_id,
            labels={LABEL_INSTALLATION: docker_engine.installation},
            memory_bytes=64 * MEBIBYTE,
            **more,  # type: ignore[arg-type]
        )
        container_id = docker_engine.create_container(config)
        docker_engine.start_container(container_id)
        return container_id

    return start


def test_files_and_engine_tell_the_same_of_a_busy_container(docker_engine: DockerEngine, launch: Launch) -> None:
    container_id = launch("burner")
    files = CgroupReader()
    eventually(lambda: files.read([container_id])[container_id].reading.cpu_ns > 50_000_000)

    before = files.read([container_id])[container_id].reading
    told = docker_engine.stats(container_id)
    after = files.read([container_id])[container_id].reading

    assert before.cpu_ns <= told.cpu_ns <= after.cpu_ns
    assert before.at_ms <= told.at_ms <= after.at_ms
    assert before.rx_bytes <= told.rx_bytes <= after.rx_bytes
    assert before.tx_bytes <= told.tx_bytes <= after.tx_bytes
    assert abs(told.memory_bytes - after.memory_bytes) < 2 * MEBIBYTE


def test_memory_grows_with_what_is_held_and_not_with_files_read_once(
    docker_engine: DockerEngine, docker_client: docker.APIClient, launch: Launch
) -> None:
    container_id = launch("web", "v1")

    def run(script: str) -> None:
        made = docker_client.exec_create(container_id, ["sh", "-c", script])
        docker_client.exec_start(made["Id"])
        assert docker_client.exec_inspect(made["Id"])["ExitCode"] == 0

    def used() -> int:
        return CgroupReader().read([container_id])[container_id].reading.memory_bytes

    before = used()
    run("head -c 20971520 /dev/zero > /tmp/file; sync /tmp/file; cat /tmp/file > /dev/null")
    read_once = used()
    run("head -c 20971520 /dev/zero > /dev/shm/held")
    held = used()

    assert read_once < before + 12 * MEBIBYTE
    assert held > read_once + 16 * MEBIBYTE


def test_network_counters_count_requests_from_outside_but_not_loopback(
    docker_engine: DockerEngine, docker_client: docker.APIClient, launch: Launch
) -> None:
    container_id = launch("web", "v1")
    (fact,) = docker_engine.list_containers()
    files = CgroupReader()

    def get() -> bool:
        connection = http.client.HTTPConnection(fact.address, 80, timeout=5)
        connection.request("GET", "/", headers={"X-Filler": "x" * 2000})
        return connection.getresponse().status == 200

    eventually(get)
    before = files.read([container_id])[container_id].reading
    for _ in range(20):
        assert get()
    after = files.read([container_id])[container_id].reading
    assert after.rx_bytes >= before.rx_bytes + 20 * 2000
    assert after.tx_bytes > before.tx_bytes
    assert (after.rx_errors, after.tx_errors) == (0, 0)

    made = docker_client.exec_create(
        container_id, ["sh", "-c", "for n in 1 2 3 4 5 6 7 8; do wget -qO /dev/null http://127.0.0.1/; done"]
    )
    docker_client.exec_start(made["Id"])
    assert docker_client.exec_inspect(made["Id"])["ExitCode"] == 0
    inside = files.read([container_id])[container_id].reading
    assert inside.tx_bytes < after.tx_bytes + 400, "eight requests and answers would be more"


def test_container_that_ended_is_missing_in_both_ways(
    docker_engine: DockerEngine, docker_client: docker.APIClient, launch: Launch
) -> None:
    container_id = launch("web", "v1")
    local, remote = EngineReader(docker_engine.url, docker_engine), StatsReader(docker_engine)
    assert set(local.read([container_id], 5.0)) == set(remote.read([container_id], 5.0)) == {container_id}

    docker_client.kill(container_id)
    eventually(lambda: local.read([container_id], 5.0) == {})

    assert remote.read([container_id], 5.0) == {}
    local.close()
    remote.close()


def test_worker_keeps_what_instances_use_and_goes_on_after_it_was_killed(
    make_skylark: MakeSkylark, images: Images
) -> None:
    skylark = make_skylark(settings={"SKYLARK_METRIC_SECONDS": "0.5"}).start()
    skylark.api.create("hot", f"{images['burner']}:latest", instance_size="XS")
    skylark.api.create("cold", f"{images['busybox']}:latest", run_command="sleep 1000", instance_size="M")
    hot, cold = skylark.api.running("hot")["uuid"], skylark.api.running("cold")["uuid"]
    store = _store(skylark)

    busy = eventually(lambda: [s for s in _samples(store, hot) if (s.cpu_fraction or 0) > 0.5], 40)
    assert busy[-1].cpu_limit_cores == 0.25
    assert all(s.cpu_fraction < 1.6 for s in busy if s.cpu_fraction)
    idle = eventually(lambda: _samples(store, cold)[2:], 20)
    assert idle[-1].cpu_limit_cores == 1.0
    assert min(s.cpu_fraction for s in idle if s.cpu_fraction is not None) < 0.05
    assert 0 < idle[-1].memory_fraction < 0.05

    assert skylark.worker is not None
    skylark.worker.kill()
    killed_ms = time.time_ns() // 1_000_000
    skylark.start_worker()

    after = eventually(lambda: [s for s in _samples(store, hot) if s.reading.at_ms > killed_ms][3:], 40)
    whole = [s for s in _samples(store, hot) if s.reading.at_ms > killed_ms]
    assert whole[0].cpu_cores is None
    assert all(s.cpu_cores is not None for s in whole[1:])
    assert after[-1].instance_uuid == busy[-1].instance_uuid
    assert skylark.log().count("is read from the kernel's files") == 2, "told once by each worker"
    for name in ("hot", "cold"):
        skylark.api.delete(name)
    store.close()


def _store(skylark: Skylark) -> MetricStore:
    return MetricStore(skylark.home / "metrics", raw_hours=24, rollup_days=30, max_bytes=1 << 30)


def _samples(store: MetricStore, service: str) -> list[Sample]:
    now_ms = time.time_ns() // 1_000_000
    return list(store.window([service], now_ms - 3_600_000, now_ms + 1000).get(service, ()))
