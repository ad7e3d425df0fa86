"""Metrics of a service and of each of its instances, past ones too."""

from __future__ import annotations

import re

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api.answers import answer
from api.context import Context, context
from api.errors import invalid, not_found
from api.lookup import get_service
from api.models_metrics import InstanceMetrics, ServiceMetrics
from api.parameters import InstanceMetricQuery, InstancePath, MetricQuery, ServicePath
from api.wire_metrics import instance_metrics_json, service_metrics_json
from orchestrator.metrics.query_periods import Span, choose_period
from orchestrator.spec_text import shown
from orchestrator.store.reads import Reads

DEFAULT_SECONDS = 15 * 60
blueprint = APIBlueprint(
    "metrics", __name__, url_prefix="/v1/services/<string:namespace>/<string:name>", abp_tags=[Tag(name="metrics")]
)


@blueprint.get("/metrics", responses={200: ServiceMetrics})
def service_metrics(path: ServicePath, query: MetricQuery) -> Response:
    """What all instances used together, as fractions of their limits too, and what the proxy carried."""
    ctx = context()
    record = get_service(ctx, path.namespace, path.name)
    points = ctx.metrics.service_points(record.uuid, _span(ctx, query))
    return answer(service_metrics_json(record.uuid, points))


@blueprint.get("/instances/<string:uuid>/metrics", responses={200: InstanceMetrics})
def instance_metrics(path: InstancePath, query: InstanceMetricQuery) -> Response:
    """What one instance used, living or past; CPU in percent of one core, memory in percent of its limit."""
    ctx = context()
    service_uuid, uuid = _instance(ctx, path)
    span = _span(ctx, query)
    points = ctx.metrics.instance_points(service_uuid, uuid, span)
    return answer(instance_metrics_json(service_uuid, uuid, points, raw=span.raw, maxima=bool(query.maxima)))


def _instance(ctx: Context, path: InstancePath) -> tuple[str, str]:
    """Uuids of the service and of the instance, of which there must be a row or at least samples."""
    record = get_service(ctx, path.namespace, path.name)
    plausible = re.fullmatch(r"[0-9a-fA-F-]{1,36}", path.uuid) is not None
    if plausible and Reads(ctx.session()).instance(record.uuid, path.uuid) is not None:
        return record.uuid, path.uuid
    if plausible and ctx.metrics.has_instance(record.uuid, path.uuid):
        return record.uuid, path.uuid
    raise not_found(f"instance {shown(path.uuid)} of service {shown(path.name)}")


def _span(ctx: Context, query: MetricQuery) -> Span:
    """The range asked for, by default the last quarter of an hour. Raises ApiError 400: too many points."""
    end = query.end_time if query.end_time is not None else int(ctx.now().timestamp())
    start = query.start_time if query.start_time is not None else max(0, end - DEFAULT_SECONDS)
    try:
        return choose_period(query.point_per_period, start, end)
    except ValueError as error:
        raise invalid("point_per_period", f"{shown(query.point_per_period)} {error}") from error
