"""The engine's JSON translated: answers into values, a `ContainerConfig` into a request. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.engine.base import (
    ContainerConfig,
    ContainerDetail,
    ContainerFact,
    EngineEvent,
    NetworkConfig,
    PortBinding,
)
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.metrics.interfaces import Network
from orchestrator.metrics.samples import Reading

# Nothing but these of the kernel's privileges: with fewer, sshd and nginx do not start (tried one by one)
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID", "KILL", "SYS_CHROOT", "NET_BIND_SERVICE")

# All that changes what an instance is; the exec_* events of every health check are left out
EVENT_ACTIONS = ("create", "start", "die", "oom", "destroy", "pause", "unpause", "stop", "kill", "restart",
                 "health_status")  # fmt: skip

_EXIT = re.compile(r"^(?:Exited|Restarting) \((-?\d+)\)")
_HEALTH = re.compile(r"\((healthy|unhealthy|health: starting)\)\s*$")
_CPU_PERIOD_MICROSECONDS = 100_000


def container_fact(entry: Mapping[str, Any]) -> ContainerFact:
    """One entry of the sparse list. Exit code and health stand only in its text: `Exited (137) 2 seconds ago`."""
    status = entry.get("Status") or ""
    ended = _EXIT.match(status)
    health = _HEALTH.search(status)
    networks = (entry.get("NetworkSettings") or {}).get("Networks") or {}
    addresses = [network.get("IPAddress") for network in networks.values()]
    return ContainerFact(
        id=entry["Id"],
        name=(entry.get("Names") or ["/"])[0].lstrip("/"),
        state=entry.get("State") or "",
        labels=entry.get("Labels") or {},
        health=health.group(1).removeprefix("health: ") if health else "none",
        exit_code=int(ended.group(1)) if ended else None,
        ports=_published(entry.get("Ports") or ()),
        address=next((address for address in addresses if address), ""),
    )


def _published(ports: Any) -> tuple[tuple[int, str, int], ...]:
    """Published ports once each; of a port published on IPv4 and IPv6 the IPv4 one, as their numbers may differ."""
    found: dict[tuple[int, str], int] = {}
    for port in sorted(ports, key=lambda port: ":" in (port.get("IP") or "")):
        if port.get("PublicPort"):
            found.setdefault((port["PrivatePort"], port.get("Type", "tcp")), port["PublicPort"])
    return tuple((number, protocol, public) for (number, protocol), public in sorted(found.items()))


def container_detail(answer: Mapping[str, Any]) -> ContainerDetail:
    """An inspect, with two of the engine's oddities mended.

    It gives exit code 0 and the end of the former run to what is running, and the end of a very short run may be a
    millisecond before its start.
    """
    state = answer["State"]
    error = state.get("Error") or ""
    ended = state.get("Status") in ("exited", "dead") or bool(error)
    started_at, finished_at = moment(state.get("StartedAt") or ""), moment(state.get("FinishedAt") or "")
    if started_at and finished_at:
        finished_at = max(started_at, finished_at)
    return ContainerDetail(
        id=answer["Id"],
        state=state.get("Status") or "",
        image_id=answer.get("Image") or "",
        exit_code=state.get("ExitCode") if ended else None,
        oom_killed=bool(state.get("OOMKilled")),
        error=error,
        started_at=started_at,
        finished_at=finished_at if ended else None,
    )


def moment(text: str) -> datetime | None:
    """The engine's time, 2026-01-02T03:04:05.123456789Z; None for its zero, the year 1."""
    found = re.match(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?Z?$", text)
    if not found or found.group(1) == "0001":
        return None
    numbers = [int(part) for part in found.groups()[:6]]
    microseconds = int((found.group(7) or "0")[:6].ljust(6, "0"))
    return datetime(*numbers, microseconds, tzinfo=UTC)  # type: ignore[arg-type,misc]


def engine_event(answer: Mapping[str, Any]) -> EngineEvent:
    """One event; its labels hold the engine's own attributes too (exitCode, name, image)."""
    actor = answer.get("Actor") or {}
    at = answer["timeNano"] / 1e9 if answer.get("timeNano") else float(answer.get("time") or 0)
    return EngineEvent(answer.get("Action") or "", actor.get("ID") or "", actor.get("Attributes") or {}, at)


def stats_reading(answer: Mapping[str, Any], at_ms: int) -> Reading:
    """A one-shot stats answer. Raises CONFLICT for a container that does not run: its answer has no figures.

    Memory is told without inactive file cache, which cgroup v1 names `total_inactive_file` and v2 `inactive_file`.
    """
    memory = answer.get("memory_stats") or {}
    cpu_ns = ((answer.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage")
    if "usage" not in memory or cpu_ns is None:
        raise EngineError(Fault.CONFLICT, f"container {answer.get('name') or ''} does not run")
    used, kinds = int(memory["usage"]), memory.get("stats") or {}
    cache = int(kinds.get("total_inactive_file", kinds.get("inactive_file", 0)))
    networks = (answer.get("networks") or {}).values()
    return Reading(
        at_ms,
        cpu_ns=int(cpu_ns),
        memory_bytes=used - cache if cache < used else used,
        **{name: sum(int(network.get(name, 0)) for network in networks) for name in Network._fields},
    )


def create_request(config: ContainerConfig) -> dict[str, Any]:
    """The body of the create call."""
    published = {_port(port): [_binding(port)] for port in config.ports if port.host_port is not None}
    request: dict[str, Any] = {
        "Image": config.image_id,
        "Hostname": config.hostname,
        "Env": [f"{name}={value}" for name, value in config.environment.items()],
        "Cmd": None if config.command is None else list(config.command),
        "Entrypoint": None if config.entrypoint is None else list(config.entrypoint),
        "Labels": dict(config.labels),
        "ExposedPorts": {_port(port): {} for port in config.ports},
        "StopTimeout": config.stop_grace_seconds,
        "HostConfig": {
            "Init": True,  # a process without a SIGTERM handler would cost its whole grace
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": ["ALL"],
            "CapAdd": list(CAPABILITIES),
            "PidsLimit": config.pids_limit,
            "NanoCpus": round(config.cpus * 1e9),
            "Memory": config.memory_bytes,
            "MemorySwap": config.memory_bytes,  # the sum of both: no swap on top
            "LogConfig": {"Type": config.log_driver, "Config": dict(config.log_options)},
            "RestartPolicy": {"Name": "no"},
            "NetworkMode": config.network,
            "PortBindings": published,
            "ExtraHosts": [f"{name}:{address}" for name, address in config.extra_hosts.items()],
            "Mounts": [
                {"Type": "volume", "Source": mount.volume_name, "Target": mount.path} for mount in config.mounts
            ],
        },
    }
    if config.address:
        endpoint = {"IPAMConfig": {"IPv4Address": config.address}}
        request["NetworkingConfig"] = {"EndpointsConfig": {config.network: endpoint}}
    return request


def network_request(config: NetworkConfig) -> dict[str, Any]:
    """The call that makes a network, as the SDK's arguments. `enable_icc`: its containers can't reach one another."""
    return {
        "name": config.name,
        "check_duplicate": True,
        "driver": "bridge",
        "ipam": {"Driver": "default", "Config": [{"Subnet": config.subnet}]},
        "options": {"com.docker.network.bridge.enable_icc": "false"},
        "labels": dict(config.labels),
    }


def network_subnet(answer: Mapping[str, Any]) -> str:
    """The subnet of an inspected network."""
    return next((c.get("Subnet") or "" for c in (answer.get("IPAM") or {}).get("Config") or ()), "")


def with_quota(request: dict[str, Any], cpus: float) -> dict[str, Any]:
    """The request with its CPU limit as a quota: the engine refuses `NanoCpus` above the cores it has."""
    host = {key: value for key, value in request["HostConfig"].items() if key != "NanoCpus"}
    host["CpuPeriod"] = _CPU_PERIOD_MICROSECONDS
    host["CpuQuota"] = round(cpus * _CPU_PERIOD_MICROSECONDS)
    return request | {"HostConfig": host}


def _port(port: PortBinding) -> str:
    return f"{port.container_port}/{port.protocol}"


def _binding(port: PortBinding) -> dict[str, str]:
    """IPv4 only: on both the engine may choose two different numbers for one port."""
    return {"HostIp": "0.0.0.0", "HostPort": str(port.host_port) if port.host_port else ""}


def split_reference(image_ref: str) -> tuple[str, str]:
    """`host:5000/team/web:v1` -> (`host:5000/team/web`, `v1`); a digest takes the tag's place and wins over it."""
    name, at, digest = image_ref.partition("@")
    head, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        name = head
    else:
        tag = ""
    return name, digest if at else tag or "latest"


def registry_host(name: str) -> str:
    """The registry of an image name; Docker's own when the first part is no host."""
    first, slash, _ = name.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def json_lines(chunks: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    """The objects of a stream that puts each on a line of its own."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not line.strip():
                continue
            try:
                answer = json.loads(line)
            except ValueError:
                raise EngineError(Fault.ENGINE, f"unusable answer: {line[:100]!r}") from None
            yield answer
