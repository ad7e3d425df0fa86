"""When an instance may get traffic: what to probe, and what a row of answers means. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from orchestrator.state import Health, Instance, Phase

DEFAULT_INTERVAL_SECONDS = 5.0
DEFAULT_TIMEOUT_SECONDS = 1.0
DEFAULT_FAILURES = 3  # in a row, until a ready instance counts as unready
NOT_ASKED = "its ports were not tried yet"
STARTING_INTERVAL_SECONDS = 0.2  # until the first success: nothing is served meanwhile, so look often


@dataclass(frozen=True)
class Probe:
    """What to ask an instance: a TCP connect to every port, or GET `path` on the first (2xx and 3xx are good)."""

    ports: tuple[int, ...]
    path: str = ""
    interval_seconds: float = DEFAULT_INTERVAL_SECONDS
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    failures: int = DEFAULT_FAILURES


@dataclass(frozen=True)
class Target:
    """A running instance, and how to ask it."""

    service_uuid: str
    instance_uuid: str
    address: str
    probe: Probe


@dataclass(frozen=True)
class Verdict:
    """What the answers so far say. `failures`: in a row, up to now."""

    ready: bool = False
    since: datetime | None = None
    failures: int = 0
    reason: str = NOT_ASKED


def probe_for(ports: Iterable[tuple[int, str]], health: Mapping[str, Any]) -> Probe | None:
    """The probe of a service, None when it has no tcp port: then running for the settle time must do.

    `ports`: (container_port, protocol). `health` is `deployment_preference.health`, every key optional:
    `{"path": "/", "port": 80, "interval_seconds": 5, "timeout_seconds": 1, "failures": 3}`. A path makes it HTTP.
    """
    found = tuple(dict.fromkeys(port for port, protocol in ports if protocol == "tcp"))
    if "port" in health:
        found = (int(health["port"]),)
    if not found:
        return None
    return Probe(
        ports=found[:1] if health.get("path") else found,
        path=str(health.get("path") or ""),
        interval_seconds=float(health.get("interval_seconds", DEFAULT_INTERVAL_SECONDS)),
        timeout_seconds=float(health.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS)),
        failures=int(health.get("failures", DEFAULT_FAILURES)),
    )


def judge(before: Verdict, fault: str, probe: Probe, now: datetime) -> Verdict:
    """The verdict after one more answer; `fault` is "" for a good one.

    One success makes ready: the instance answered as asked. It takes `failures` bad answers in a row to make it
    unready again, so that one lost packet moves no traffic. Example with failures=3: ok bad bad ok bad bad bad ->
    ready ready ready ready ready ready unready.
    """
    if not fault:
        return before if before.ready and not before.failures else Verdict(True, before.since or now, 0, "")
    failures = before.failures + 1
    if before.ready and failures < probe.failures:
        return replace(before, failures=failures)
    return Verdict(False, None, failures, fault)


def next_look_seconds(verdict: Verdict, probe: Probe) -> float:
    """How long to wait before the next probe."""
    return probe.interval_seconds if verdict.ready else min(STARTING_INTERVAL_SECONDS, probe.interval_seconds)


def with_readiness(instance: Instance, probe: Probe | None, verdict: Verdict | None) -> Instance:
    """The instance with what is known of its readiness. The image's own HEALTHCHECK goes before our probe.

    Without a verdict (the worker has just begun, or the instance has) what was known before stands.
    """
    if instance.phase is not Phase.RUNNING:
        return instance
    if probe is None or instance.health is not Health.NONE:
        return replace(instance, unready="", ready_at=instance.ready_at or instance.started_at)
    if verdict is None:
        new = instance.ready_at is None and not instance.unready
        return replace(instance, unready=NOT_ASKED) if new else instance
    if verdict.ready:
        return replace(instance, unready="", ready_at=instance.ready_at or verdict.since)
    return replace(instance, unready=verdict.reason, ready_at=None)


def target_of(instance: Instance, service_uuid: str, probe: Probe | None) -> Target | None:
    """Whom to ask about this instance; None when nobody need be asked."""
    asks = probe is not None and instance.phase is Phase.RUNNING and instance.health is Health.NONE
    if not asks or probe is None or not instance.address:
        return None
    return Target(service_uuid, instance.uuid, instance.address, probe)


def known_verdict(instance: Instance) -> Verdict:
    """What the database knew of it, to go on from."""
    return Verdict(not instance.unready and instance.ready_at is not None, instance.ready_at, 0, instance.unready)
