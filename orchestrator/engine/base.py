"""What Skylark asks of a container engine: values in, one call each, values out, `EngineError` for faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from orchestrator.metrics.samples import Reading

LABEL_INSTALLATION = "skylark.installation"
LABEL_SERVICE = "skylark.service"  # service uuid
LABEL_SERVICE_NAME = "skylark.service_name"  # namespace/name, for people
LABEL_INSTANCE = "skylark.instance"  # instance uuid
LABEL_SLOT = "skylark.slot"  # "0", "1", ...
LABEL_REVISION = "skylark.revision"  # the revision's fingerprint
LABEL_VOLUME_PATH = "skylark.volume_path"
LABEL_NAMESPACE = "skylark.namespace"  # on networks


@dataclass(frozen=True)
class ContainerFact:
    """One container of ours, out of the sparse list; nothing here costs an inspect."""

    id: str
    name: str
    state: str  # created running paused restarting removing exited dead
    labels: Mapping[str, str]
    health: str = "none"  # none starting healthy unhealthy
    exit_code: int | None = None
    ports: tuple[tuple[int, str, int], ...] = ()  # (container_port, protocol, host_port), published ones
    address: str = ""  # IP address on its first network


@dataclass(frozen=True)
class ContainerDetail:
    """What only an inspect tells; asked for once, when an instance has ended."""

    id: str
    state: str
    image_id: str
    exit_code: int | None
    oom_killed: bool
    error: str
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class PortBinding:
    """A container port; published on `host_port` (0: one of the engine's choice) unless that is None."""

    container_port: int
    protocol: str = "tcp"
    host_port: int | None = None


@dataclass(frozen=True)
class Mount:
    """A named volume at a path in the container."""

    volume_name: str
    path: str


@dataclass(frozen=True)
class ContainerConfig:
    """Everything needed to create a container. `image_id` is a resolved image, never a tag."""

    name: str
    image_id: str
    labels: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] | None = None  # None: the image's own
    entrypoint: tuple[str, ...] | None = None
    ports: tuple[PortBinding, ...] = ()
    mounts: tuple[Mount, ...] = ()
    cpus: float = 0.25  # cores
    memory_bytes: int = 512 * 1024 * 1024
    pids_limit: int = 1024
    log_driver: str = "json-file"
    log_options: Mapping[str, str] = field(default_factory=dict)
    hostname: str = ""
    network: str = "bridge"
    address: str = ""  # IP address on that network; "": the engine's choice
    extra_hosts: Mapping[str, str] = field(default_factory=dict)  # host name -> address, beside what DNS says
    stop_grace_seconds: int = 10


@dataclass(frozen=True)
class NetworkConfig:
    """A bridge network to have, whose containers reach the outside and not one another."""

    name: str
    labels: Mapping[str, str]
    subnet: str  # 10.210.4.0/22; its first address is the gateway


@dataclass(frozen=True)
class VolumeConfig:
    """A volume to have. `mode`: plain, quota (local driver's `size`) or loop (a sparse ext4 file, loop-mounted)."""

    name: str
    labels: Mapping[str, str]
    size_bytes: int
    mode: str = "plain"


@dataclass(frozen=True)
class VolumeFact:
    """A volume of ours. `enforced`: the engine really refuses to store more than its size."""

    name: str
    labels: Mapping[str, str]
    enforced: bool = False
    mountpoint: str = ""


@dataclass(frozen=True)
class ResolvedImage:
    """Which image a reference named at the moment of the pull."""

    image_id: str  # sha256:...
    image_digest: str | None  # name@sha256:... as the registry knows it


@dataclass(frozen=True)
class RegistryAuth:
    """Basic credentials for one registry host."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class EngineEvent:
    """Something happened to a container of ours: a hint to look, never a fact to act on."""

    action: str  # start die oom destroy pause unpause, "health_status: healthy", ...
    container_id: str
    labels: Mapping[str, str]
    at: float  # epoch seconds


@dataclass(frozen=True)
class LogLine:
    """One line a container wrote. `at_ns`: epoch nanoseconds as the engine stamped it."""

    at_ns: int
    stream: str  # stdout stderr
    message: bytes  # without the line end


@dataclass(frozen=True)
class LogSource:
    """Where the engine keeps a container's log. `path`: the file, when it can be read from here; "": ask `logs`."""

    driver: str = ""
    path: str = ""
    most_files: int = 0  # that the engine keeps of it, rotated ones included; 0: not known
    most_bytes: int = 0  # that all of these hold; 0: without limit, or not known


class Engine(Protocol):
    """A container engine. Every method may raise EngineError; each is one engine call unless it says otherwise."""

    def ping(self) -> None:
        """Raise EngineError(UNREACHABLE) when no engine answers."""

    def list_containers(self) -> tuple[ContainerFact, ...]:
        """All containers with our installation label, running or not, by one sparse list call."""

    def inspect_container(self, container_id: str) -> ContainerDetail:
        """Raise NOT_FOUND when it is not there."""

    def pull(self, image_ref: str, auth: RegistryAuth | None = None) -> ResolvedImage:
        """Pull (then one inspect of the image); `image_ref` is name:tag or name@sha256:...."""

    def has_image(self, image_id: str) -> bool:
        """Whether the engine has this very image."""

    def create_container(self, config: ContainerConfig) -> str:
        """Answer the container's id. CONFLICT when the name is taken, IMAGE_MISSING without the image."""

    def start_container(self, container_id: str) -> None:
        """Starting a running container is no error."""

    def stop_container(self, container_id: str, grace_seconds: int) -> None:
        """SIGTERM, SIGKILL after the grace; returns when it ended. Stopping a stopped or missing one is no error."""

    def remove_container(self, container_id: str) -> None:
        """Forced removal, keeping named volumes. Removing a missing one is no error."""

    def ensure_network(self, config: NetworkConfig) -> None:
        """Create the network unless it is there (one call, or two). SUBNET_TAKEN when another has its addresses."""

    def remove_network(self, name: str) -> None:
        """Remove it when it is ours (two calls). Missing is no error; CONFLICT while a container is on it."""

    def ensure_volume(self, config: VolumeConfig) -> VolumeFact:
        """Create the volume unless it is there; answer whether its size is enforced."""

    def remove_volume(self, name: str) -> None:
        """Removing a missing one is no error; CONFLICT while a container uses it."""

    def list_volumes(self) -> tuple[VolumeFact, ...]:
        """All volumes with our installation label."""

    def volume_usage(self) -> Mapping[str, int]:
        """Bytes really used, by volume name, of our volumes. Costly (walks the files): never in a pass."""

    def stats(self, container_id: str) -> Reading:
        """What a running container has used so far; NOT_FOUND when it is not there, CONFLICT when it does not run."""

    def logs(self, container_id: str, *, since_seconds: int = 0, follow: bool = False) -> Iterator[LogLine]:
        """Lines in the order of the engine, stdout and stderr; with `follow` until the container ends."""

    def log_source(self, container_id: str) -> LogSource:
        """Where its log is: one inspect. NOT_FOUND when the container is not there."""

    def events(self, since: float | None = None) -> Iterator[EngineEvent]:
        """Events of our containers as they come; ends or raises when the connection does."""

    def close(self) -> None:
        """Give the connections back."""
