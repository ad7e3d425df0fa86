"""What is compared: the raw SDK, docker-compose and Swarm. Each brings N equal containers up, and down again."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import docker
from docker import APIClient
from docker.types import LogConfig, Resources, ServiceMode

from orchestrator.engine.base import LABEL_INSTALLATION
from orchestrator.engine.docker_wire import CAPABILITIES
from orchestrator.sizes import DEFAULT_SIZES

THREADS = 4
GRACE_SECONDS = 10
PIDS = 1024
LOG_OPTIONS = {"max-size": "10m", "max-file": "3"}
SIZE = DEFAULT_SIZES["XS"]


class Contestant(Protocol):
    """Something that runs N containers. `up` and `down` return when asked for, not when done; a Watch tells that."""

    name: str
    label: str  # of skylark.installation on its containers
    heals: bool

    def up(self, count: int) -> None: ...
    def down(self) -> None: ...


class RawSdk:
    """The docker SDK by hand, four threads: pull, create and start; a listener that replaces what dies."""

    name = "raw SDK"
    heals = True

    def __init__(self, label: str, image: str) -> None:
        self.label = label
        self._image = image
        self._client = APIClient(version="auto", max_pool_size=THREADS * 2)
        self._pool = ThreadPoolExecutor(THREADS)
        self._ids: list[str] = []
        self._leaving = threading.Event()

    def up(self, count: int) -> None:
        self._leaving.clear()
        self._client.pull(self._image)
        self._ids = list(self._pool.map(lambda _: self._launch(), range(count)))

    def down(self) -> None:
        self._leaving.set()
        list(self._pool.map(self._end, self._ids))
        self._ids = []

    def _launch(self) -> str:
        client = self._client
        host = client.create_host_config(
            init=True,
            nano_cpus=round(SIZE.cpus * 1e9),
            mem_limit=SIZE.memory_bytes,
            memswap_limit=SIZE.memory_bytes,
            pids_limit=PIDS,
            cap_drop=["ALL"],
            cap_add=list(CAPABILITIES),
            security_opt=["no-new-privileges"],
            log_config=LogConfig(type="json-file", config=LOG_OPTIONS),
        )
        labels = {LABEL_INSTALLATION: self.label}
        container = client.create_container(self._image, labels=labels, host_config=host)
        client.start(container["Id"])
        return str(container["Id"])

    def _end(self, container_id: str) -> None:
        self._client.stop(container_id, timeout=GRACE_SECONDS)
        self._client.remove_container(container_id)

    @contextmanager
    def healing(self) -> Iterator[None]:
        """While the block runs, a dead container is removed and replaced."""
        listener = APIClient(version="auto", timeout=None)
        filters = {"type": "container", "event": "die", "label": f"{LABEL_INSTALLATION}={self.label}"}
        stream = listener.events(decode=True, filters=filters)

        def heal() -> None:
            for event in stream:
                dead = event["Actor"]["ID"]
                if not self._leaving.is_set() and dead in self._ids:
                    self._ids[self._ids.index(dead)] = self._launch()
                    self._client.remove_container(dead)

        thread = threading.Thread(target=heal, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stream.close()
            thread.join(10)
            listener.close()

    def close(self) -> None:
        self._pool.shutdown()
        self._client.close()


class Compose:
    """docker-compose: `up --scale`, and scale 0. It does not ask the registry for an image that is there."""

    name = "docker-compose"
    heals = False

    def __init__(self, label: str, image: str, folder: Path) -> None:
        self.label = label
        self._file = folder / "docker-compose.json"
        service = {
            "image": image,
            "init": True,
            "cpus": SIZE.cpus,
            "mem_limit": SIZE.memory_bytes,
            "memswap_limit": SIZE.memory_bytes,
            "pids_limit": PIDS,
            "cap_drop": ["ALL"],
            "cap_add": list(CAPABILITIES),
            "security_opt": ["no-new-privileges"],
            "logging": {"driver": "json-file", "options": LOG_OPTIONS},
            "labels": {LABEL_INSTALLATION: label},
            "network_mode": "bridge",
            "stop_grace_period": f"{GRACE_SECONDS}s",
        }
        self._file.write_text(json.dumps({"version": "2.4", "services": {"web": service}}))

    def up(self, count: int) -> None:
        self._compose("up", "-d", "--scale", f"web={count}")

    def down(self) -> None:
        self._compose("up", "-d", "--scale", "web=0")

    def _compose(self, *arguments: str) -> None:
        command = ["docker-compose", "--project-name", self.label, "--file", str(self._file), *arguments]
        subprocess.run(command, check=True, capture_output=True, text=True)

    def close(self) -> None:
        self._compose("down")


class Swarm:
    """A replicated Swarm service with Swarm's default restart policy."""

    name = "Swarm"
    heals = True

    def __init__(self, label: str, image: str) -> None:
        self.label = label
        self._client = docker.from_env(version="auto")
        self._began = self._client.info()["Swarm"]["LocalNodeState"] != "active"
        self._networks = {network.id for network in self._client.networks.list()}
        if self._began:
            self._client.swarm.init(advertise_addr="127.0.0.1", listen_addr="127.0.0.1:2377")
        self._service = self._client.services.create(
            image,
            name=label,
            mode=ServiceMode("replicated", replicas=0),
            container_labels={LABEL_INSTALLATION: label},
            init=True,
            resources=Resources(cpu_limit=round(SIZE.cpus * 1e9), mem_limit=SIZE.memory_bytes),
            cap_drop=["ALL"],
            cap_add=list(CAPABILITIES),
            log_driver="json-file",
            log_driver_options=LOG_OPTIONS,
            stop_grace_period=GRACE_SECONDS * 10**9,
        )

    def up(self, count: int) -> None:
        self._scale(count)

    def down(self) -> None:
        self._scale(0)

    def _scale(self, count: int) -> None:
        self._service.reload()
        self._service.scale(count)

    def close(self) -> None:
        self._service.remove()
        if self._began:
            self._client.swarm.leave(force=True)
            for network in self._client.networks.list(names=["docker_gwbridge"]):
                if network.id not in self._networks:
                    network.remove()  # Swarm's own; leaving forgets it
        self._client.close()
