"""Alive and ready, for supervisors and load balancers. No token is needed."""

from __future__ import annotations

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from sqlalchemy.exc import SQLAlchemyError

from api.answers import answer
from api.context import Context, context
from api.models import HealthAnswer
from orchestrator.store.reads import Reads

blueprint = APIBlueprint("health", __name__, abp_tags=[Tag(name="health")])
LEAST_PATIENCE_SECONDS = 15.0


@blueprint.get("/healthz", responses={200: HealthAnswer})
def healthz() -> Response:
    """The process is alive."""
    return answer({"status": "ok"})


@blueprint.get("/readyz", responses={200: HealthAnswer, 503: HealthAnswer})
def readyz() -> Response:
    """The database answers and the worker is alive; else 503 with the reasons."""
    reasons = _reasons(context())
    if not reasons:
        return answer({"status": "ok"})
    return answer({"status": "unavailable", "reasons": reasons}, 503)


def _reasons(ctx: Context) -> list[str]:
    try:
        beat = Reads(ctx.session()).heartbeat("worker")
    except SQLAlchemyError:
        ctx.session().rollback()
        return ["the database does not answer, or its tables are not there"]
    if beat is None:
        return ["the worker has never run"]
    age = (ctx.now() - beat.at).total_seconds()
    patience = max(LEAST_PATIENCE_SECONDS, 3 * ctx.settings.tick_seconds)
    if age > patience:
        return [f"the worker's last sign of life is {age:.0f} s old; at most {patience:.0f} s is fresh"]
    return []
