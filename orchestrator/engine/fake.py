"""An engine in memory that behaves as Docker does where Skylark can see it: for fast, deterministic tests."""

from __future__ import annotations

import queue
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network

from orchestrator.engine.base import (
    LABEL_INSTALLATION,
    ContainerConfig,
    ContainerDetail,
    ContainerFact,
    EngineEvent,
    LogLine,
    LogSource,
    NetworkConfig,
    RegistryAuth,
    ResolvedImage,
    VolumeConfig,
    VolumeFact,
)
from orchestrator.engine.docker_wire import registry_host, split_reference
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.engine.fake_world import (
    FakeContainer,
    FakeImage,
    FakeVolume,
    FakeWorld,
    container_fact,
    sha256_name,
    volume_fact,
)
from orchestrator.metrics.samples import Reading

__all__ = ["FakeContainer", "FakeEngine", "FakeImage", "FakeVolume", "FakeWorld"]

KILLED, TERMINATED, COMMAND_NOT_FOUND = 137, 143, 127


class FakeEngine:
    """`Engine` in memory. `calls` counts calls by method; `fail_next` and `die` are for tests."""

    def __init__(self, installation: str, world: FakeWorld | None = None) -> None:
        self.installation = installation
        self.world = world or FakeWorld()
        self.calls: Counter[str] = Counter()
        self.down: EngineError | None = None  # set: every call fails with it
        self._failures: dict[str, deque[EngineError]] = {}
        self._closed = threading.Event()

    # What tests do to the world

    def fail_next(self, method: str, error: EngineError, times: int = 1) -> None:
        """The next `times` calls of `method` raise `error` and do nothing."""
        with self.world.lock:
            self._failures.setdefault(method, deque()).extend([error] * times)

    def die(self, container_id: str, exit_code: int = 1, *, oom: bool = False) -> None:
        """The container's process ends by itself."""
        with self.world.lock:
            container = self._get(container_id)
            if oom:
                container.oom_killed = True
                self._tell("oom", container)
            self._end(container, exit_code)

    def write_log(self, container_id: str, message: bytes, stream: str = "stdout") -> None:
        """The container writes a line."""
        with self.world.lock:
            at_ns = round(self.world.now() * 1e9)
            self._get(container_id).log.append(LogLine(at_ns, stream, message))
            self.world.changed.notify_all()

    def set_health(self, container_id: str, health: str) -> None:
        """The image's health check comes to this result."""
        with self.world.lock:
            container = self._get(container_id)
            container.health = health
            self._tell(f"health_status: {health}", container)

    def use(self, container_id: str, **counters: int) -> None:
        """What the container has used so far: any of Reading's `cpu_ns`, `memory_bytes`, `rx_bytes`, ..."""
        with self.world.lock:
            container = self._get(container_id)
            container.used = replace(container.used, **counters)

    def set_paused(self, container_id: str, paused: bool) -> None:
        """Somebody pauses the container, or lets it go on."""
        with self.world.lock:
            container = self._get(container_id)
            container.state = "paused" if paused else "running"
            self._tell("pause" if paused else "unpause", container)

    def take_away(self, container_id: str) -> None:
        """Somebody else removes the container."""
        with self.world.lock:
            self._destroy(self._get(container_id))

    # The engine

    def ping(self) -> None:
        self._called("ping")

    def list_containers(self) -> tuple[ContainerFact, ...]:
        self._called("list_containers")
        with self.world.lock:
            return tuple(
                container_fact(c) for c in reversed(self.world.containers.values()) if self._ours(c.config.labels)
            )

    def inspect_container(self, container_id: str) -> ContainerDetail:
        self._called("inspect_container")
        with self.world.lock:
            c = self._get(container_id)
            ended = c.exit_code if c.state == "exited" else None
            return ContainerDetail(
                c.id, c.state, c.config.image_id, ended, c.oom_killed, c.error, c.started_at, c.finished_at
            )

    def pull(self, image_ref: str, auth: RegistryAuth | None = None) -> ResolvedImage:
        self._called("pull")
        name, tag = split_reference(image_ref)
        host = registry_host(name)
        with self.world.lock:
            if host in self.world.broken_hosts:
                raise EngineError(self.world.broken_hosts[host], f"registry {host} does not answer")
            if self.world.passwords.get(host) not in (None, auth):
                raise EngineError(Fault.REGISTRY_DENIED, "unauthorized: authentication required")
            image = self.world.registry.get(f"{name}{'@' if tag.startswith('sha256:') else ':'}{tag}")
            if image is None:
                raise EngineError(Fault.IMAGE_NOT_FOUND, f"manifest for {image_ref} not found: manifest unknown")
            self.world.images[image.id] = image
            return ResolvedImage(image.id, f"{name}@{image.digest}")

    def has_image(self, image_id: str) -> bool:
        self._called("has_image")
        return image_id in self.world.images

    def create_container(self, config: ContainerConfig) -> str:
        self._called("create_container")
        with self.world.lock:
            image = self.world.images.get(config.image_id)
            if image is None:
                raise EngineError(Fault.IMAGE_MISSING, f"No such image: {config.image_id}")
            if any(c.config.name == config.name for c in self.world.containers.values()):
                raise EngineError(Fault.CONFLICT, f'Conflict. The container name "/{config.name}" is already in use')
            if config.network != "bridge" and config.network not in self.world.networks:
                raise EngineError(Fault.NOT_FOUND, f"network {config.network} not found")
            labels = {**config.labels, LABEL_INSTALLATION: self.installation}
            for mount in config.mounts:  # as Docker does, silently and without labels
                bare = VolumeConfig(mount.volume_name, {}, 0)
                self.world.volumes.setdefault(mount.volume_name, FakeVolume(bare))
            container_id = sha256_name(f"container {self.world.number()}").removeprefix("sha256:")
            container = FakeContainer(container_id, replace(config, labels=labels), image)
            self.world.containers[container_id] = container
            self._tell("create", container)
            return container_id

    def start_container(self, container_id: str) -> None:
        self._called("start_container")
        with self.world.lock:
            container = self._get(container_id)
            if container.state in ("running", "paused"):
                return
            container.ports = tuple(self.world.publish(container))
            container.state, container.exit_code = "running", None
            container.started_at, container.finished_at = self._time(), None
            container.address = (
                container.config.address or f"172.17.{self.world.number() // 250}.{self.world.number() % 250 + 2}"
            )
            self._tell("start", container)
            if container.image.health != "none":
                self.set_health(container_id, container.image.health)
            for stream, message in container.image.log:
                self.write_log(container_id, message, stream)
            words = (container.config.entrypoint or ()) + (container.config.command or ())
            if words and words[0] not in container.image.commands:
                self.write_log(container_id, b"exec " + words[0].encode() + b" failed: No such file", "stderr")
                self._end(container, COMMAND_NOT_FOUND)
            elif container.image.exit_code is not None:
                self._end(container, container.image.exit_code)

    def stop_container(self, container_id: str, grace_seconds: int) -> None:
        """Takes no time: a process that ignores SIGTERM is killed at once and shows it by its exit code."""
        self._called("stop_container")
        with self.world.lock:
            container = self.world.containers.get(container_id)
            if container is not None and container.state in ("running", "paused"):
                self._end(container, KILLED if container.image.ignores_term else TERMINATED)

    def remove_container(self, container_id: str) -> None:
        self._called("remove_container")
        with self.world.lock:
            container = self.world.containers.get(container_id)
            if container is not None:
                if container.state in ("running", "paused"):
                    self._end(container, KILLED)
                self._destroy(container)

    def ensure_network(self, config: NetworkConfig) -> None:
        self._called("ensure_network")
        networks = self.world.networks
        with self.world.lock:
            labels = {**config.labels, LABEL_INSTALLATION: self.installation}
            wanted, others = replace(config, labels=labels), [n for n in networks.values() if n.name != config.name]
            if any(ip_network(config.subnet).overlaps(ip_network(other.subnet)) for other in others):
                raise EngineError(Fault.SUBNET_TAKEN, "Pool overlaps with other one on this address space")
            if not self._ours(networks.setdefault(config.name, wanted).labels):
                raise EngineError(Fault.INVALID, f"network {config.name} exists and is not of this installation")

    def remove_network(self, name: str) -> None:
        self._called("remove_network")
        with self.world.lock:
            found = self.world.networks.get(name)
            if found is None or not self._ours(found.labels):
                return
            if any(c.config.network == name and c.state == "running" for c in self.world.containers.values()):
                raise EngineError(Fault.CONFLICT, f"network {name} has active endpoints")
            del self.world.networks[name]

    def ensure_volume(self, config: VolumeConfig) -> VolumeFact:
        self._called("ensure_volume")
        with self.world.lock:
            labels = {**config.labels, LABEL_INSTALLATION: self.installation}
            made = FakeVolume(replace(config, labels=labels), enforced=config.mode != "plain")
            volume = self.world.volumes.setdefault(config.name, made)
            if not self._ours(volume.config.labels):
                raise EngineError(Fault.CONFLICT, f"volume {config.name} exists and is not of this installation")
            return volume_fact(volume)

    def remove_volume(self, name: str) -> None:
        self._called("remove_volume")
        with self.world.lock:
            users = [c.id for c in self.world.containers.values() if name in (m.volume_name for m in c.config.mounts)]
            if users:
                raise EngineError(Fault.CONFLICT, f"remove {name}: volume is in use - {users}")
            self.world.volumes.pop(name, None)

    def list_volumes(self) -> tuple[VolumeFact, ...]:
        self._called("list_volumes")
        with self.world.lock:
            return tuple(volume_fact(v) for v in self.world.volumes.values() if self._ours(v.config.labels))

    def volume_usage(self) -> Mapping[str, int]:
        self._called("volume_usage")
        with self.world.lock:
            ours = {name: v for name, v in self.world.volumes.items() if self._ours(v.config.labels)}
            return {name: sum(map(len, volume.files.values())) for name, volume in ours.items()}

    def stats(self, container_id: str) -> Reading:
        self._called("stats")
        with self.world.lock:
            container = self._get(container_id)
            if container.state not in ("running", "paused"):
                raise EngineError(Fault.CONFLICT, f"container {container.config.name} does not run")
            return replace(container.used, at_ms=round(self.world.now() * 1000))

    def logs(self, container_id: str, *, since_seconds: int = 0, follow: bool = False) -> Iterator[LogLine]:
        self._called("logs")
        with self.world.lock:
            container = self._get(container_id)
        position = 0
        while True:
            with self.world.lock:
                ended = container.state != "running" or not follow or self._closed.is_set()
                lines = container.log[position:]
                if not lines and not ended:
                    self.world.changed.wait(0.05)
                    continue
            position += len(lines)
            yield from (line for line in lines if line.at_ns >= since_seconds * 1_000_000_000)
            if ended:
                return

    def log_source(self, container_id: str) -> LogSource:
        self._called("log_source")
        return self._get(container_id).log_source

    def events(self, since: float | None = None) -> Iterator[EngineEvent]:
        """Ends when the engine is closed."""
        self._called("events")
        mine: queue.SimpleQueue[EngineEvent | None] = queue.SimpleQueue()
        with self.world.lock:
            missed = [e for owner, e in self.world.history if owner == self.installation]
            self.world.listeners.append((self.installation, mine))
        try:
            yield from (event for event in missed if since is not None and event.at >= since)
            while not self._closed.is_set() and (event := mine.get()) is not None:
                yield event
        finally:
            with self.world.lock:
                self.world.listeners.remove((self.installation, mine))

    def close(self) -> None:
        self._closed.set()
        with self.world.lock:
            for owner, listener in self.world.listeners:
                if owner == self.installation:
                    listener.put(None)
            self.world.changed.notify_all()

    # Inside

    def _called(self, method: str) -> None:
        with self.world.lock:
            self.calls[method] += 1
            if self.down is not None:
                raise self.down
            if self._failures.get(method):
                raise self._failures[method].popleft()

    def _ours(self, labels: Mapping[str, str]) -> bool:
        return labels.get(LABEL_INSTALLATION) == self.installation

    def _get(self, container_id: str) -> FakeContainer:
        container = self.world.containers.get(container_id)
        if container is None:
            raise EngineError(Fault.NOT_FOUND, f"No such container: {container_id}")
        return container

    def _end(self, container: FakeContainer, exit_code: int) -> None:
        container.state, container.exit_code, container.finished_at = "exited", exit_code, self._time()
        container.ports, container.address, container.health = (), "", "none"
        self._tell("die", container, exitCode=str(exit_code))
        self.world.changed.notify_all()

    def _destroy(self, container: FakeContainer) -> None:
        del self.world.containers[container.id]
        container.state = "removing"
        self._tell("destroy", container)
        self.world.changed.notify_all()

    def _tell(self, action: str, container: FakeContainer, **more: str) -> None:
        owner = container.config.labels.get(LABEL_INSTALLATION, "")
        labels = {**container.config.labels, "name": container.config.name, **more}
        event = EngineEvent(action, container.id, labels, self.world.now())
        self.world.history.append((owner, event))
        for listening, listener in self.world.listeners:
            if listening == owner:
                listener.put(event)

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self.world.now(), UTC)
