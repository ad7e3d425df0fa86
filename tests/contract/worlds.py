"""The two worlds that the engine contract is tested in: Docker with a real registry, and the fake."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

import docker

from orchestrator.engine.base import Engine, RegistryAuth
from orchestrator.engine.docker import DockerEngine
from orchestrator.engine.errors import Fault
from orchestrator.engine.fake import FakeEngine, FakeWorld
from tests.support.registry import AUTH, Images, free_port

LINES = 3  # that the chatty image says on each stream, with COUNT=3


class World(Protocol):
    """An engine as two installations see it, and what happens to it from beside."""

    engine: Engine
    other: Engine

    def ref(self, name: str, tag: str = "latest") -> str:
        """A test image that can be pulled."""

    def locked_ref(self, name: str) -> str:
        """The same behind a password."""

    def failing_ref(self, kind: str) -> str:
        """A reference that cannot be pulled; kind: tag repository digest host refused."""

    def move_tag(self, name: str, tag: str, to: str) -> None:
        """Let `tag` name what `to` names."""

    def outage(self, down: bool) -> None:
        """The registry goes away, or comes back."""

    def kill(self, container_id: str) -> None:
        """The container's process dies by SIGKILL."""

    def take_away(self, container_id: str) -> None:
        """Somebody else removes the container."""

    def work(self, container_id: str) -> None:
        """The container uses 50 ms of CPU or more, and holds 4 MiB or more of memory from then on."""

    def now(self) -> float:
        """The engine's time, in epoch seconds."""

    def write(self, container_id: str, volume: str, path: str, text: str) -> None:
        """The container writes a file of this text into the folder where it has the volume."""

    def read(self, container_id: str, volume: str, path: str) -> str:
        """What stands in that file."""


class DockerWorld:
    """Docker, with images in a registry."""

    def __init__(self, url: str, mine: str, others: str, client: docker.APIClient, images: Images, locked: Images):
        self.engine = DockerEngine(url, mine)
        self.other = DockerEngine(url, others)
        self._client, self._images, self._locked = client, images, locked

    def ref(self, name: str, tag: str = "latest") -> str:
        return f"{self._images[name]}:{tag}"

    def locked_ref(self, name: str) -> str:
        return f"{self._locked[name]}:latest"

    def failing_ref(self, kind: str) -> str:
        web = self._images["web"]
        refs = {
            "tag": f"{web}:none",
            "repository": f"{web}-none:latest",
            "digest": f"{web}@sha256:{'0' * 64}",
            "host": "registry.invalid/team/web:latest",
            "refused": f"127.0.0.1:{free_port()}/team/web:latest",
        }
        return refs[kind]

    def move_tag(self, name: str, tag: str, to: str) -> None:
        self._images.registry.move_tag(self._images[name], tag, to)

    def outage(self, down: bool) -> None:
        if down:
            self._images.registry.stop()
        else:
            self._images.registry.start()

    def kill(self, container_id: str) -> None:
        self._client.kill(container_id)

    def take_away(self, container_id: str) -> None:
        self._client.remove_container(container_id, force=True)

    def work(self, container_id: str) -> None:
        """A file in /dev/shm is memory that is no file cache the kernel could give back."""
        count = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
        self._exec(container_id, f"head -c 6291456 /dev/zero > /dev/shm/held; {count}")

    def now(self) -> float:
        return time.time()

    def write(self, container_id: str, volume: str, path: str, text: str) -> None:
        self._exec(container_id, f"echo -n '{text}' > {path}")

    def read(self, container_id: str, volume: str, path: str) -> str:
        return self._exec(container_id, f"cat {path}")

    def _exec(self, container_id: str, script: str) -> str:
        run = self._client.exec_create(container_id, ["sh", "-c", script])
        return self._client.exec_start(run["Id"]).decode()

    def close(self) -> None:
        self.engine.close()
        self.other.close()


class FakeTwin:
    """The fake, with images that behave as those of tests/images."""

    HOST = "registry.test:5000"
    LOCKED = "locked.test:5000"

    def __init__(self) -> None:
        self._world = FakeWorld()
        self.engine = FakeEngine("skylark-test-mine", self._world)
        self.other = FakeEngine("skylark-test-others", self._world)
        lines = [(("stdout", b"out %d" % i), ("stderr", b"err %d" % i)) for i in range(LINES)]
        behaviour: Mapping[str, Mapping[str, object]] = {
            "web:v1": {},
            "web:latest": {},
            "web:v2": {},
            "web:healthy": {"health": "healthy"},
            "web:sick": {"health": "unhealthy"},
            "stubborn:latest": {"ignores_term": True},
            "crasher:latest": {"exit_code": 3, "log": (("stdout", b"crashing"),)},
            "chatty:latest": {"log": tuple(line for pair in lines for line in pair)},
        }
        for name, how in behaviour.items():
            version = "v1" if name == "web:latest" else name.partition(":")[2]
            for host in (self.HOST, self.LOCKED):
                self._world.push(f"{host}/skylark-test/{name}", version, **how)
        self._world.passwords[self.LOCKED] = AUTH
        self._refused = f"127.0.0.1:{free_port()}"
        self._world.broken_hosts["registry.invalid"] = Fault.REGISTRY_UNKNOWN_HOST
        self._world.broken_hosts[self._refused] = Fault.REGISTRY_UNREACHABLE

    def ref(self, name: str, tag: str = "latest") -> str:
        return f"{self.HOST}/skylark-test/{name}:{tag}"

    def locked_ref(self, name: str) -> str:
        return f"{self.LOCKED}/skylark-test/{name}:latest"

    def failing_ref(self, kind: str) -> str:
        refs = {
            "tag": self.ref("web", "none"),
            "repository": self.ref("none"),
            "digest": f"{self.HOST}/skylark-test/web@sha256:{'0' * 64}",
            "host": "registry.invalid/team/web:latest",
            "refused": f"{self._refused}/team/web:latest",
        }
        return refs[kind]

    def move_tag(self, name: str, tag: str, to: str) -> None:
        self._world.registry[self.ref(name, tag)] = self._world.registry[self.ref(name, to)]

    def outage(self, down: bool) -> None:
        if down:
            self._world.broken_hosts[self.HOST] = Fault.REGISTRY_UNREACHABLE
        else:
            del self._world.broken_hosts[self.HOST]

    def kill(self, container_id: str) -> None:
        self.engine.die(container_id, 137)

    def take_away(self, container_id: str) -> None:
        self.engine.take_away(container_id)

    def work(self, container_id: str) -> None:
        self.engine.use(container_id, cpu_ns=90_000_000, memory_bytes=8 << 20)

    def now(self) -> float:
        return self._world.now()

    def write(self, container_id: str, volume: str, path: str, text: str) -> None:
        self._world.volumes[volume].files[path] = text.encode()

    def read(self, container_id: str, volume: str, path: str) -> str:
        return self._world.volumes[volume].files[path].decode()

    def close(self) -> None:
        self.engine.close()
        self.other.close()


RIGHT, WRONG = AUTH, RegistryAuth(AUTH.username, "wrong")
