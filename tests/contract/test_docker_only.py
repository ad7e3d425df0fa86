"""What only the real engine can show: limits, privileges, sizes of volumes, odd logs, many threads at once."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest

from orchestrator.engine.base import LABEL_INSTALLATION, ContainerConfig, Mount, PortBinding, VolumeConfig
from orchestrator.engine.docker import DockerEngine
from orchestrator.engine.docker_wire import CAPABILITIES
from orchestrator.engine.errors import EngineError, Fault
from tests.contract.conftest import MEBIBYTE
from tests.support.engine import remove_installation
from tests.support.poll import eventually
from tests.support.registry import Images

pytestmark = pytest.mark.docker
CAPABILITY_BITS = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7,
                   "NET_BIND_SERVICE": 10, "SYS_CHROOT": 18}  # fmt: skip


class Workshop:
    """Runs shell scripts in containers as Skylark makes them."""

    def __init__(self, engine: DockerEngine, images: Images, client: docker.APIClient) -> None:
        self.engine, self.client = engine, client
        self._images = images

    def start(self, name: str, script: str = "", image: str = "busybox", **more: Any) -> str:
        """Start a container; with a script, `sh -c` of it."""
        config = self.config(name, image, command=("sh", "-c", script) if script else None, **more)
        container_id = self.engine.create_container(config)
        self.engine.start_container(container_id)
        return container_id

    def config(self, name: str, image: str = "busybox", **more: Any) -> ContainerConfig:
        image_id = self.engine.pull(f"{self._images[image]}:latest").image_id
        given = {"memory_bytes": 64 * MEBIBYTE, "labels": {LABEL_INSTALLATION: self.engine.installation}} | more
        return ContainerConfig(name=f"{self.engine.installation}-{name}", image_id=image_id, **given)

    def run(self, script: str, **more: Any) -> str:
        """What the script says until it ends."""
        container_id = self.start("run", script, **more)
        for _ in self.engine.logs(container_id, follow=True):
            pass  # only to wait: a followed stream may lack a last line without a line end
        text = b"\n".join(line.message for line in self.engine.logs(container_id))
        self.engine.remove_container(container_id)
        return text.decode()

    def host_config(self, container_id: str) -> dict[str, Any]:
        return dict(self.client.inspect_container(container_id)["HostConfig"])


@pytest.fixture
def workshop(docker_engine: DockerEngine, images: Images, docker_client: docker.APIClient) -> Workshop:
    return Workshop(docker_engine, images, docker_client)


def test_container_has_only_the_listed_privileges_and_can_gain_none(workshop: Workshop) -> None:
    status = workshop.run("cat /proc/self/status")
    bounding = int(re.search(r"CapBnd:\s+(\w+)", status)[1], 16)  # type: ignore[index]
    assert bounding == sum(1 << CAPABILITY_BITS[name] for name in CAPABILITIES)
    assert re.search(r"NoNewPrivs:\s+1", status)


def test_first_process_is_an_init_that_reaps_and_passes_signals(workshop: Workshop) -> None:
    assert "docker-init" in workshop.run("cat /proc/1/cmdline")


def test_limits_arrive_at_the_engine(workshop: Workshop) -> None:
    container_id = workshop.start("a", "sleep 60", cpus=0.25, pids_limit=77, log_options={"max-size": "1m"})
    limits = workshop.host_config(container_id)
    assert limits["NanoCpus"] == 250_000_000
    assert (limits["Memory"], limits["MemorySwap"]) == (64 * MEBIBYTE, 64 * MEBIBYTE)
    assert limits["PidsLimit"] == 77
    assert limits["RestartPolicy"]["Name"] in ("no", "")
    assert limits["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}}


def test_more_cores_than_the_machine_has_become_a_quota(workshop: Workshop) -> None:
    container_id = workshop.start("a", "sleep 60", cpus=512.0)
    limits = workshop.host_config(container_id)
    assert limits["CpuQuota"] / limits["CpuPeriod"] == 512


def test_process_beyond_its_memory_is_killed_and_flagged(workshop: Workshop) -> None:
    script = "x=0123456789abcdef; while true; do x=$x$x; done"
    container_id = workshop.start("a", f"exec sh -c '{script}'", memory_bytes=16 * MEBIBYTE)
    detail = eventually(lambda: (found := workshop.engine.inspect_container(container_id)).exit_code and found, 30)
    assert detail.oom_killed
    assert detail.exit_code == 137


def test_pids_limit_stops_a_fork_bomb(workshop: Workshop) -> None:
    said = workshop.run("for i in $(seq 40); do sleep 5 & done 2>&1; echo end", pids_limit=20)
    assert "fork" in said


def test_host_name_environment_and_words_reach_the_container(workshop: Workshop) -> None:
    said = workshop.run('hostname; echo "$GREETING"', hostname="web-2", environment={"GREETING": "a=b  c"})
    assert said == "web-2\na=b  c"


def test_entrypoint_replaces_the_image_s_own(workshop: Workshop) -> None:
    container_id = workshop.start("a", image="crasher", entrypoint=("echo", "from"))
    assert [line.message for line in workshop.engine.logs(container_id, follow=True)] == [b"from"]


def test_ssh_server_on_a_debian_base_answers_and_lets_in(workshop: Workshop) -> None:
    container_id = workshop.start("a", image="sshd", ports=(PortBinding(22, "tcp", 0),))
    fact = workshop.engine.list_containers()[0]
    greeting = eventually(lambda: _greeting(fact.ports[0][2]), 20)
    assert greeting.startswith(b"SSH-2.0-")
    script = (
        "mkdir -m 700 /root/.ssh && cd /root/.ssh && ssh-keygen -q -N '' -f key && cp key.pub authorized_keys && "
        "ssh -i key -o StrictHostKeyChecking=no root@127.0.0.1 'echo inside; id -un' 2>&1"
    )
    run = workshop.client.exec_create(container_id, ["sh", "-c", script])
    assert workshop.client.exec_start(run["Id"]).endswith(b"inside\nroot\n")


def test_server_that_gives_its_files_and_itself_to_another_user_runs(workshop: Workshop) -> None:
    """As nginx does: a low port, a folder of its workers' own, and workers without privileges."""
    script = (
        "mkdir /www && echo served > /www/index.html && chown -R 65534:65534 /www && chmod 700 /www && "
        "httpd -p 80 -u 65534:65534 -h /www && wget -q -O - http://127.0.0.1/ && ps -o user,comm"
    )
    said = workshop.run(script)
    assert said.startswith("served")
    assert re.search(r"65534\s+httpd", said)


def _greeting(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 2) as connection:
        return connection.recv(64)


def test_line_longer_than_the_engine_s_buffer_comes_whole(workshop: Workshop) -> None:
    container_id = workshop.start("a", "head -c 70000 /dev/zero | tr '\\0' x; echo; echo next; printf unended")
    eventually(lambda: workshop.engine.list_containers()[0].state == "exited")
    lines = list(workshop.engine.logs(container_id))
    assert [line.message for line in lines] == [b"x" * 70_000, b"next", b"unended"]


def test_bytes_that_are_no_text_do_not_break_the_log(workshop: Workshop) -> None:
    container_id = workshop.start("a", "printf 'a\\377b\\nnext\\n'")
    lines = list(workshop.engine.logs(container_id, follow=True))
    assert lines[0].message.startswith(b"a")
    assert lines[1].message == b"next"


def test_local_log_driver_is_read_the_same(workshop: Workshop) -> None:
    container_id = workshop.start("a", "echo one; echo two >&2", log_driver="local")
    lines = list(workshop.engine.logs(container_id, follow=True))
    assert {(line.stream, line.message) for line in lines} == {("stdout", b"one"), ("stderr", b"two")}


def test_many_threads_share_one_engine(workshop: Workshop) -> None:
    container_id = workshop.start("a", "sleep 600")
    with ThreadPoolExecutor(64) as pool:
        states = list(pool.map(lambda _: workshop.engine.inspect_container(container_id).state, range(512)))
    assert set(states) == {"running"}


def test_environment_s_proxy_and_certificates_do_not_matter(
    docker_url: str, installation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    engine = DockerEngine(docker_url, installation)
    assert engine.list_containers() == ()
    engine.close()


def test_registry_that_speaks_no_tls_where_the_engine_wants_it_is_unreachable(workshop: Workshop) -> None:
    beside = workshop.client.inspect_container(workshop.start("a", "sleep 60"))
    gateway = beside["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
    server = HTTPServer((gateway, 0), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.raises(EngineError) as caught:
            workshop.engine.pull(f"{gateway}:{server.server_port}/team/web:v1")
        assert caught.value.fault is Fault.REGISTRY_UNREACHABLE
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("ref", ["127.0.0.1:1/Team/web:v1", "127.0.0.1:1/team/web:v 1"])
def test_reference_that_is_none_is_invalid(docker_engine: DockerEngine, ref: str) -> None:
    with pytest.raises(EngineError) as caught:
        docker_engine.pull(ref)
    assert caught.value.fault is Fault.INVALID


@pytest.fixture
def loop_workshop(
    docker_url: str, installation: str, images: Images, docker_client: docker.APIClient, tmp_path: Path
) -> Iterator[Workshop]:
    """With an engine that may keep loop-mounted volumes."""
    engine = DockerEngine(docker_url, installation, loop_folder=tmp_path / "volumes")
    yield Workshop(engine, images, docker_client)
    for container in engine.list_containers():
        engine.remove_container(container.id)
    for volume in engine.list_volumes():
        engine.remove_volume(volume.name)
    engine.close()
    remove_installation(docker_url, installation)


def loop_volume(workshop: Workshop, size_mebibytes: int = 32) -> VolumeConfig:
    name = f"{workshop.engine.installation}-v"
    labels = {LABEL_INSTALLATION: workshop.engine.installation}
    return VolumeConfig(name, labels, size_mebibytes * MEBIBYTE, "loop")


def fill(workshop: Workshop, volume: str, mebibytes: int) -> str:
    """What writing so much into the volume says."""
    script = f"ls -A /data; dd if=/dev/zero of=/data/filler bs=1M count={mebibytes} 2>&1; ls -s /data"
    return workshop.run(script, mounts=(Mount(volume, "/data"),))


def test_loop_volume_refuses_more_than_its_size(loop_workshop: Workshop) -> None:
    made = loop_workshop.engine.ensure_volume(loop_volume(loop_workshop))
    assert made.enforced
    assert loop_workshop.engine.list_volumes()[0].enforced
    said = fill(loop_workshop, made.name, 64)
    assert said.startswith("dd: "), "the volume must be empty at first, without lost+found"
    assert "No space left on device" in said
    used = loop_workshop.engine.volume_usage()[made.name]
    assert 16 * MEBIBYTE < used <= 32 * MEBIBYTE


def test_loop_volume_grows_with_its_data_and_never_shrinks(loop_workshop: Workshop) -> None:
    made = loop_workshop.engine.ensure_volume(loop_volume(loop_workshop, 32))
    fill(loop_workshop, made.name, 20)
    loop_workshop.engine.ensure_volume(loop_volume(loop_workshop, 96))
    assert "No space" not in fill(loop_workshop, made.name, 64)
    loop_workshop.engine.ensure_volume(loop_volume(loop_workshop, 32))
    assert loop_workshop.engine.volume_usage()[made.name] > 60 * MEBIBYTE


def test_loop_volume_is_mounted_again_after_it_was_lost(loop_workshop: Workshop) -> None:
    made = loop_workshop.engine.ensure_volume(loop_volume(loop_workshop))
    loop_workshop.run("echo kept > /data/note", mounts=(Mount(made.name, "/data"),))
    subprocess.run(["umount", str(Path(made.mountpoint).parent)], check=True)
    assert not loop_workshop.engine.list_volumes()[0].enforced
    assert loop_workshop.engine.ensure_volume(loop_volume(loop_workshop)).enforced
    assert loop_workshop.run("cat /data/note", mounts=(Mount(made.name, "/data"),)) == "kept"


def test_removed_loop_volume_leaves_no_file_and_no_mount(loop_workshop: Workshop, tmp_path: Path) -> None:
    made = loop_workshop.engine.ensure_volume(loop_volume(loop_workshop))
    loop_workshop.engine.remove_volume(made.name)
    assert list((tmp_path / "volumes").iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


def test_size_that_the_engine_cannot_enforce_is_said(workshop: Workshop) -> None:
    """Local volumes have quotas only on some file systems; here and there the answer must be the truth."""
    labels = {LABEL_INSTALLATION: workshop.engine.installation}
    for mode in ("quota", "loop"):  # without a folder for loops
        config = VolumeConfig(f"{workshop.engine.installation}-{mode}", labels, 16 * MEBIBYTE, mode)
        fact = workshop.engine.ensure_volume(config)
        assert ("No space" in fill(workshop, fact.name, 32)) == fact.enforced
