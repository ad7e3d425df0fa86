"""What engines in memory share: registries, images, containers, volumes and time."""

from __future__ import annotations

import hashlib
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestrator.engine.base import (
    ContainerConfig,
    ContainerFact,
    EngineEvent,
    LogLine,
    LogSource,
    NetworkConfig,
    RegistryAuth,
    VolumeConfig,
    VolumeFact,
)
from orchestrator.engine.docker_wire import split_reference
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.metrics.samples import Reading

EPOCH_SECONDS = 1_700_000_000.0
_NO_FILE = LogSource()
_USED_AT_START = Reading(0, cpu_ns=1_000_000, memory_bytes=1 << 20)


@dataclass
class FakeImage:
    """An image in a fake registry, and how a container made of it behaves."""

    id: str
    digest: str
    ignores_term: bool = False
    exit_code: int | None = None  # ends at once with this code
    log: tuple[tuple[str, bytes], ...] = ()  # (stream, message) written at start
    health: str = "none"  # at start
    commands: tuple[str, ...] = ("sh", "sleep", "true", "false")


@dataclass
class FakeContainer:
    """A container as the engine keeps it."""

    id: str
    config: ContainerConfig
    image: FakeImage
    state: str = "created"
    health: str = "none"
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    address: str = ""
    ports: tuple[tuple[int, str, int], ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    log: list[LogLine] = field(default_factory=list)
    log_source: LogSource = _NO_FILE  # a file of it, when a test writes one
    used: Reading = _USED_AT_START  # so far


@dataclass
class FakeVolume:
    """A volume: its files are whatever a test puts into `files`."""

    config: VolumeConfig
    enforced: bool = False
    files: dict[str, bytes] = field(default_factory=dict)


class FakeWorld:
    """What engines share: registries, images fetched, containers, volumes and time. Give it to two FakeEngines."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.registry: dict[str, FakeImage] = {}  # "host/name:tag" and "host/name@sha256:..." -> image
        self.broken_hosts: dict[str, Fault] = {}  # registry host -> how a pull from it fails
        self.passwords: dict[str, RegistryAuth] = {}  # registry host -> what it wants
        self.images: dict[str, FakeImage] = {}  # by id: those the engine has
        self.containers: dict[str, FakeContainer] = {}
        self.volumes: dict[str, FakeVolume] = {}
        self.networks: dict[str, NetworkConfig] = {}
        self.listeners: list[tuple[str, queue.SimpleQueue[EngineEvent | None]]] = []
        self.history: deque[tuple[str, EngineEvent]] = deque(maxlen=256)
        self.now: Callable[[], float] = _clock()
        self._numbers = itertools.count(1)

    def number(self) -> int:
        """A fresh number, for ids, ports and addresses."""
        return next(self._numbers)

    def push(self, ref: str, version: str = "1", **behaviour: Any) -> FakeImage:
        """Put an image under `ref` (name:tag); pushing another `version` moves the tag. Behaviour as in FakeImage."""
        name, _ = split_reference(ref)
        image = FakeImage(
            id=sha256_name(f"{name} {version} id"), digest=sha256_name(f"{name} {version} digest"), **behaviour
        )
        with self.lock:
            self.registry[ref] = image
            self.registry[f"{name}@{image.digest}"] = image
        return image

    def publish(self, container: FakeContainer) -> Iterator[tuple[int, str, int]]:
        """The published ports of a container that starts. Raises PORT_IN_USE when another one has one of them."""
        running = [c for c in self.containers.values() if c.state == "running"]
        taken = {(protocol, host) for c in running for _, protocol, host in c.ports}
        for port in container.config.ports:
            if port.host_port is None:
                continue
            host = port.host_port or 32768 + self.number()
            if (port.protocol, host) in taken:
                raise EngineError(Fault.PORT_IN_USE, f"Bind for 0.0.0.0:{host} failed: port is already allocated")
            yield port.container_port, port.protocol, host


def _clock() -> Callable[[], float]:
    """Time that goes on by a millisecond with every look: always the same in every run."""
    ticks = itertools.count(1)
    return lambda: EPOCH_SECONDS + next(ticks) / 1000


def sha256_name(text: str) -> str:
    """`sha256:<64 hex>` of the text: an id that is the same in every run."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def container_fact(c: FakeContainer) -> ContainerFact:
    """The container as the sparse list shows it."""
    return ContainerFact(c.id, c.config.name, c.state, c.config.labels, c.health, c.exit_code, c.ports, c.address)


def volume_fact(volume: FakeVolume) -> VolumeFact:
    """The volume as the engine lists it."""
    return VolumeFact(volume.config.name, volume.config.labels, volume.enforced, f"/fake/{volume.config.name}")
