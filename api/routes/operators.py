"""What operators look after: events of the whole installation, orphaned volumes, regions."""

from __future__ import annotations

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api import models
from api.answers import answer, empty
from api.context import context
from api.errors import not_found
from api.event_questions import event_answer
from api.openapi import followed
from api.parameters import EventQuery, OrphanPath
from api.wire import region_json
from api.wire_history import orphan_json
from orchestrator.spec_text import shown
from orchestrator.store.orphans import Orphans
from orchestrator.store.reads import Reads

blueprint = APIBlueprint("operators", __name__, url_prefix="/v1", abp_tags=[Tag(name="operators")])


@blueprint.get("/events", responses={200: followed(models.EventsAnswer)})
def events(query: EventQuery) -> Response:
    """What happened in the whole installation, deleted services included. `follow`: what comes, too."""
    return event_answer(context(), query, None)


@blueprint.get("/volumes/orphans", responses={200: models.Orphans})
def orphans() -> Response:
    """The volumes that outlived their services."""
    return answer([orphan_json(volume) for volume in Reads(context().session()).orphan_volumes()])


@blueprint.delete("/volumes/orphans/<string:name>", responses={204: None})
def remove_orphan(path: OrphanPath) -> Response:
    """Remove an orphaned volume and its data for good. The worker does it; the list shows it until then."""
    ctx = context()
    found = None if "\x00" in path.name else Orphans(ctx.session()).request_removal(path.name, ctx.now())
    if found is None:
        raise not_found(f"orphaned volume {shown(path.name)}")
    ctx.wake(found.service_uuid)
    return empty()


@blueprint.get("/regions", responses={200: models.Regions})
def regions() -> Response:
    """The regions services can run in."""
    settings = context().settings
    shapes = [region_json(name, settings) for name in settings.regions]
    return answer([shape | {"default": shape["name"] == settings.default_region} for shape in shapes])
