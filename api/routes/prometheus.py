"""GET /metrics: the worker's own figures, as it last wrote them, and what the database counts, for Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from api.context import context
from orchestrator.settings import Settings
from orchestrator.status import STATUSES
from orchestrator.store.census import Census, ServiceCount, Sign

blueprint = APIBlueprint("prometheus", __name__, abp_tags=[Tag(name="metrics")])
log = logging.getLogger("skylark.api")
_LABELS = ("namespace", "service")


@blueprint.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
def metrics() -> Response:
    """Figures of the whole installation in Prometheus' text format. The scrape needs the token like all else."""
    ctx = context()
    try:
        census = Census(ctx.session())
        services, signs = census.services(), census.signs()
        engines = {f"engine:{region.engine_url}" for region in ctx.settings.regions.values()}
        signs = [sign for sign in signs if not sign.name.startswith("engine:") or sign.name in engines]
        told = _Counts(services, signs, ctx.now(), database_up=True)
    except SQLAlchemyError:
        ctx.session().rollback()
        told = _Counts([], [], ctx.now(), database_up=False)
    registry = CollectorRegistry()
    registry.register(told)
    return Response(generate_latest(registry) + _worker_text(ctx.settings), content_type=CONTENT_TYPE_LATEST)


def _worker_text(settings: Settings) -> bytes:
    """What the worker wrote last. Its age tells when it stands still (`skylark_last_seen_timestamp_seconds`)."""
    try:
        return settings.figures_path.read_bytes()
    except FileNotFoundError:
        return b""  # it has not come so far yet
    except OSError as error:  # the database's half is still true
        log.warning("the worker's figures can't be read: %s", error)
        return b""


class _Counts(Collector):
    def __init__(self, services: list[ServiceCount], signs: list[Sign], now: datetime, *, database_up: bool) -> None:
        self._services, self._signs, self._now, self._database_up = services, signs, now, database_up

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("skylark_database_up", "1 when the database answers", value=int(self._database_up))
        if not self._database_up:
            return  # unknown is not zero
        yield self._by_status()
        yield from self._by_service()
        yield from self._seen()

    def _by_status(self) -> Metric:
        family = GaugeMetricFamily("skylark_services", "Services by their current_status", labels=["status"])
        found = [service.status for service in self._services]
        for status in sorted({*STATUSES, *found}):
            family.add_metric([status], found.count(status))
        return family

    def _by_service(self) -> Iterable[Metric]:
        instances = GaugeMetricFamily("skylark_instances", "Instances by phase", labels=[*_LABELS, "phase"])
        ready = GaugeMetricFamily("skylark_instances_ready", "Instances that may get traffic", labels=_LABELS)
        wanted = GaugeMetricFamily("skylark_instances_wanted", "Instances that there should be", labels=_LABELS)
        pulls = GaugeMetricFamily("skylark_pull_failures", "Failed pulls in a row", labels=_LABELS)
        automatic = GaugeMetricFamily("skylark_service_automatic", "1 when scaling_mode is AUTO", labels=_LABELS)
        for service in self._services:
            name = [service.namespace, service.name]
            for phase, number in sorted(service.instances.items()):
                instances.add_metric([*name, phase], number)
            ready.add_metric(name, service.ready)
            wanted.add_metric(name, service.wanted)
            pulls.add_metric(name, service.pull_failures)
            automatic.add_metric(name, int(service.automatic))
        return instances, ready, wanted, pulls, automatic

    def _seen(self) -> Iterable[Metric]:
        seen = GaugeMetricFamily(
            "skylark_last_seen_timestamp_seconds",
            "When the worker, or an engine through it, was last seen",
            labels=["who"],
        )
        up = GaugeMetricFamily("skylark_engine_up", "1 while the engine answers the worker", labels=["engine"])
        for sign in self._signs:
            seen.add_metric([sign.name], sign.at.timestamp())
            kind, _, url = sign.name.partition(":")
            if kind == "engine":
                up.add_metric([url], int(not sign.trouble))
        return seen, up
