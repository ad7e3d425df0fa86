"""Parts of the worker that are made from settings alone, or nearly so."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from orchestrator.endpoints import SERVICE_PORTS
from orchestrator.engine.base import Engine
from orchestrator.engine.docker import DockerEngine
from orchestrator.ingress.haproxy import HaProxy
from orchestrator.ingress.holding import abstract_path, wake_address
from orchestrator.ingress.machine import claim_addresses, is_free, proxy_settings
from orchestrator.logs.archive import LogArchive
from orchestrator.metrics.store import MetricStore
from orchestrator.settings import Settings
from orchestrator.sizes import MIB
from worker.ingress import Ingress
from worker.route_watch import RouteWatch
from worker.traffic_sampler import TrafficSampler

EngineFactory = Callable[[Settings, str], Engine]


def docker_engine(settings: Settings, url: str) -> Engine:
    """The real engine behind `url`."""
    return DockerEngine(url, settings.installation, loop_folder=settings.home / "volumes")


def utc_now() -> datetime:
    """The wall clock, as the store keeps it."""
    return datetime.now(UTC)


def free_service_port() -> int:
    """A service port on which nothing listens now; after many tries whatever comes."""
    proposed = (random.choice(SERVICE_PORTS) for _ in range(50))
    return next((port for port in proposed if is_free("", port)), random.choice(SERVICE_PORTS))


def log_archive(settings: Settings) -> LogArchive:
    """Where log lines are kept."""
    most_bytes, service_most_bytes = settings.log_max_mb * MIB, settings.log_service_max_mb * MIB
    return LogArchive(settings.log_folder, max_bytes=most_bytes, service_max_bytes=service_most_bytes)


def metric_store(settings: Settings) -> MetricStore:
    """Where samples are kept."""
    return MetricStore(
        settings.metric_folder,
        raw_hours=settings.metric_raw_hours,
        rollup_days=settings.metric_rollup_days,
        max_bytes=settings.metric_max_mb * MIB,
    )


def wake_path(settings: Settings) -> bytes:
    """Where the proxy calls for services that sleep."""
    return abstract_path(wake_address(str(proxy_folder(settings))))


def proxy_folder(settings: Settings) -> Path:
    """The proxy's files."""
    return settings.home / "haproxy"


def haproxy(settings: Settings, traffic: TrafficSampler) -> HaProxy | None:
    """The proxy; None where nothing is to be routed."""
    if settings.proxy != "haproxy":
        return None
    return HaProxy(proxy_folder(settings), proxy_settings(settings.http_port), before_reload=traffic.before_reload)


def ingress(
    settings: Settings,
    proxy: HaProxy | None,
    sessions: sessionmaker[Session],
    may_act: Callable[[], bool],
    watch: RouteWatch,
) -> Ingress | None:
    """What keeps the proxy at its routes; None without one."""
    if proxy is None:
        return None
    return Ingress(
        proxy,
        sessions,
        settings.base_domain,
        tick_seconds=settings.tick_seconds,
        drain_seconds=settings.drain_seconds,
        may_act=may_act,
        claim_addresses=lambda: claim_addresses(settings.link_pool),
        watch=watch,
    )
