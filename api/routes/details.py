"""What lies beside a service: instances, logs, plan, events, revisions, volumes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api import models, planning
from api.answers import answer, stream
from api.bodies import json_object
from api.context import Context, context
from api.errors import not_found
from api.lookup import find_service, get_service
from api.openapi import body
from api.parameters import EventQuery, InstancePath, LogQuery, ServicePath, StrictQuery, TrafficQuery
from api.wire import instance_json, shown_instances
from api.wire_history import NANO, event_json, log_json, plan_json, revision_json, traffic_json, volume_json
from orchestrator.spec_text import shown
from orchestrator.store.events import Events
from orchestrator.store.reads import Reads
from orchestrator.store.records import InstanceRecord, ServiceRecord
from orchestrator.store.traffic import Traffic

DEFAULT_LOG_SECONDS = 15 * 60
DEFAULT_EVENTS = 100
DEFAULT_TRAFFIC_SECONDS = 3600
blueprint = APIBlueprint(
    "details", __name__, url_prefix="/v1/services/<string:namespace>/<string:name>", abp_tags=[Tag(name="details")]
)


@blueprint.get("/instances", responses={200: models.Instances})
def instances(path: ServicePath) -> Response:
    """List the instances that are there now."""
    ctx = context()
    record = get_service(ctx, path.namespace, path.name)
    living = Reads(ctx.session()).instances([record.uuid])[record.uuid]
    return answer(shown_instances(record, living, ctx.settings))


@blueprint.get("/instances/<string:uuid>", responses={200: models.InstanceAnswer})
def instance(path: InstancePath) -> Response:
    """Show an instance, living or past."""
    ctx = context()
    record, found = _instance(ctx, path)
    return answer(instance_json(record, found, ctx.settings))


@blueprint.get("/logs", responses={200: models.LogLines})
def logs(path: ServicePath, query: LogQuery) -> Response:
    """Log lines of all instances, oldest first, both ends of the range included."""
    ctx = context()
    record = get_service(ctx, path.namespace, path.name)
    return _lines(ctx, query, record.uuid, None)


@blueprint.get("/instances/<string:uuid>/logs", responses={200: models.LogLines})
def instance_logs(path: InstancePath, query: LogQuery) -> Response:
    """Log lines of one instance."""
    ctx = context()
    record, found = _instance(ctx, path)
    return _lines(ctx, query, record.uuid, found.uuid)


@blueprint.post("/plan", responses={200: models.PlanAnswer}, openapi_extensions=body("ServiceUpdate", required=False))
def plan(path: ServicePath, query: StrictQuery) -> Response:
    """Dry run: what would be done next, now or after a change (body as in PUT). Nothing is stored.

    For a name that is not taken the body is that of a create.
    """
    ctx, strict = context(), bool(query.strict)
    given = json_object(optional=True)
    record = find_service(ctx, path.namespace, path.name)
    if record is not None:
        foresight = planning.plan_existing(ctx, record, given, strict=strict)
    elif given is not None:
        foresight = planning.plan_new(ctx, path.namespace, path.name, given, strict=strict)
    else:
        raise not_found(f"service {shown(path.name)} in namespace {shown(path.namespace)}")
    shape = plan_json(foresight.plan, generation=foresight.generation, observed_at=foresight.observed_at, now=ctx.now())
    return answer(shape | {"warnings": list(foresight.warnings)})


@blueprint.get("/events", responses={200: models.EventsAnswer})
def events(path: ServicePath, query: EventQuery) -> Response:
    """What happened to the service and why: the newest events, or those after an id."""
    ctx = context()
    return event_list(ctx, get_service(ctx, path.namespace, path.name).uuid, query)


@blueprint.get("/revisions", responses={200: models.Revisions})
def revisions(path: ServicePath) -> Response:
    """The kept revisions, newest first."""
    ctx = context()
    record = get_service(ctx, path.namespace, path.name)
    kept = Reads(ctx.session()).revisions(record.uuid)
    return answer([revision_json(revision, record.revision) for revision in kept])


@blueprint.get("/volumes", responses={200: models.Volumes})
def volumes(path: ServicePath) -> Response:
    """The volumes slot by slot, with their real usage and whether their size is enforced."""
    ctx = context()
    record = get_service(ctx, path.namespace, path.name)
    return answer([volume_json(volume) for volume in Reads(ctx.session()).volumes([record.uuid])[record.uuid]])


@blueprint.get("/traffic", responses={200: models.TrafficMinutes})
def traffic(path: ServicePath, query: TrafficQuery) -> Response:
    """What went through the proxy, minute by minute; kept for seven days."""
    ctx = context()
    record = get_service(ctx, path.namespace, path.name)
    end = ctx.now() if query.end_time is None else datetime.fromtimestamp(query.end_time, UTC)
    hour_before = end - timedelta(seconds=DEFAULT_TRAFFIC_SECONDS)
    start = hour_before if query.start_time is None else datetime.fromtimestamp(query.start_time, UTC)
    return answer([traffic_json(minute) for minute in Traffic(ctx.session()).minutes(record.uuid, start, end)])


def event_list(ctx: Context, service_uuid: str | None, query: EventQuery) -> Response:
    """Events of a service, or of the whole installation with None."""
    limit, newest = query.limit or DEFAULT_EVENTS, query.after is None
    found = Events(ctx.session()).list(service_uuid, after=query.after or 0, limit=limit, newest_first=newest)
    found = found[::-1] if newest else found
    last = found[-1].id if found else query.after or 0
    return answer({"results": [event_json(event) for event in found], "last_id": last})


def _instance(ctx: Context, path: InstancePath) -> tuple[ServiceRecord, InstanceRecord]:
    record = get_service(ctx, path.namespace, path.name)
    plausible = re.fullmatch(r"[0-9a-fA-F-]{1,36}", path.uuid) is not None
    found = Reads(ctx.session()).instance(record.uuid, path.uuid) if plausible else None
    if found is None:
        raise not_found(f"instance {shown(path.uuid)} of service {shown(path.name)}")
    return record, found


def _lines(ctx: Context, query: LogQuery, service_uuid: str, instance_uuid: str | None) -> Response:
    """`[start_time, end_time]` in whole seconds: the second of end_time belongs to it until its last nanosecond."""
    end = query.end_time if query.end_time is not None else int(ctx.now().timestamp())
    start = query.start_time if query.start_time is not None else max(0, end - DEFAULT_LOG_SECONDS)
    lines = ctx.log_store.read(service_uuid, start * NANO, (end + 1) * NANO - 1, instance_uuid=instance_uuid)
    return stream(log_json(line) for line in lines)
