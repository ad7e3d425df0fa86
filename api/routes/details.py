"""What lies beside a service: instances, plan, events, revisions, volumes, traffic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api import models, planning
from api.answers import answer
from api.bodies import json_object
from api.context import context
from api.errors import not_found
from api.event_questions import event_answer
from api.lookup import find_service, get_instance, get_service
from api.openapi import body, followed
from api.parameters import EventQuery, InstancePath, ServicePath, StrictQuery, TrafficQuery
from api.wire import instance_json, shown_instances
from api.wire_history import plan_json, revision_json, traffic_json, volume_json
from orchestrator.spec_text import shown
from orchestrator.store.reads import Reads
from orchestrator.store.traffic import Traffic

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
    record, found = get_instance(ctx, path)
    return answer(instance_json(record, found, ctx.settings))


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


@blueprint.get("/events", responses={200: followed(models.EventsAnswer)})
def events(path: ServicePath, query: EventQuery) -> Response:
    """What happened to the service and why: the newest events, or those after an id. `follow`: what comes, too."""
    ctx = context()
    return event_answer(ctx, query, get_service(ctx, path.namespace, path.name).uuid)


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
