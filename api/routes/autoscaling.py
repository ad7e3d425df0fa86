"""The autoscaler as its users see it: the policy, and what was found last and why."""

from __future__ import annotations

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api.answers import answer
from api.context import context
from api.lookup import get_service
from api.models_scaling import AutoscalerAnswer
from api.parameters import ServicePath
from api.wire_scaling import autoscaler_json
from orchestrator.store.autoscaling import Autoscaling

blueprint = APIBlueprint(
    "autoscaling", __name__, url_prefix="/v1/services/<string:namespace>/<string:name>", abp_tags=[Tag(name="details")]
)


@blueprint.get("/autoscaler", responses={200: AutoscalerAnswer})
def autoscaler(path: ServicePath) -> Response:
    """Show how the service is scaled: the policy as numbers, and the last evaluation with its samples and reason."""
    ctx = context()
    record = get_service(ctx, path.namespace, path.name)
    kept = Autoscaling(ctx.session()).last_round().get(record.uuid)
    return answer(autoscaler_json(record, kept, ctx.settings))
