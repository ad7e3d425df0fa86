"""Logs: of services, of instances, Skylark's own, and whole days to download."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from api import downloads, models
from api.answers import answer
from api.context import context
from api.errors import ApiError, not_found
from api.log_questions import log_answer
from api.lookup import get_instance, get_service
from api.openapi import followed
from api.parameters import DayPath, DownloadPath, DownloadQuery, InstancePath, LogQuery, OwnLogQuery, ServicePath
from api.wire_history import NANO
from orchestrator.logs.lines import SKYLARK, Wanted
from orchestrator.spec_text import shown

_SERVICE = "/services/<string:namespace>/<string:name>"
_FILE = {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}
blueprint = APIBlueprint("logs", __name__, url_prefix="/v1", abp_tags=[Tag(name="logs")])


@blueprint.get(f"{_SERVICE}/logs", responses={200: followed(models.LogLines)})
def logs(path: ServicePath, query: LogQuery) -> Response:
    """Log lines of all instances, past ones too, oldest first, both ends of the range included."""
    ctx = context()
    record = get_service(ctx, path.namespace, path.name)
    return log_answer(ctx, query, record.uuid, query.instance)


@blueprint.get(f"{_SERVICE}/instances/<string:uuid>/logs", responses={200: followed(models.LogLines)})
def instance_logs(path: InstancePath, query: LogQuery) -> Response:
    """Log lines of one instance, living or past."""
    ctx = context()
    record, found = get_instance(ctx, path)
    if query.instance and not found.uuid.startswith(query.instance.lower()):
        said = f"{shown(query.instance)} is not the instance of the path; allowed: nothing, or {found.uuid[:8]}"
        raise ApiError(400, f"instance: {said}", fields={"instance": [said]})
    return log_answer(ctx, query, record.uuid, found.uuid)


@blueprint.get("/logs", responses={200: followed(models.LogLines)})
def own_logs(query: OwnLogQuery) -> Response:
    """Skylark's own log: what its worker decided and did, and what went wrong."""
    return log_answer(context(), query, SKYLARK, query.instance)


@blueprint.get(f"{_SERVICE}/logs-download", responses={200: models.LogDays})
def download_days(path: ServicePath) -> Response:
    """The days (YYYYMMDD, UTC) on which the service has lines."""
    ctx = context()
    return answer(list(ctx.log_store.days(get_service(ctx, path.namespace, path.name).uuid)))


@blueprint.get(f"{_SERVICE}/logs-download/<string:day>", responses={200: models.LogAddress})
def download_address(path: DayPath) -> Response:
    """Where the whole day can be fetched, compressed and without a token, for 15 minutes."""
    ctx = context()
    record = get_service(ctx, path.namespace, path.name)
    if _day(path.day) is None:
        said = f"{shown(path.day)} is not a day; allowed: YYYYMMDD, such as 20260131"
        raise ApiError(400, f"day: {said}", fields={"day": [said]})
    if path.day not in ctx.log_store.days(record.uuid):
        raise not_found(f"a log of service {shown(path.name)} on {path.day}")
    file = f"{record.name}-{path.day}.log.gz"
    signed = downloads.signed_path(ctx.settings.admin_token, record.uuid, file, int(ctx.now().timestamp()))
    return answer(request.host_url.rstrip("/") + signed)


@blueprint.get(
    "/log-downloads/<string:service_uuid>/<string:file>",
    responses={200: {"description": "a day's log, each line with time, instance and stream", "content": _FILE},
               403: models.ErrorAnswer},
)  # fmt: skip
def download(path: DownloadPath, query: DownloadQuery) -> Response:
    """A whole day of a service's log, oldest line first. The address comes from `logs-download/DAY/`."""
    ctx = context()
    now, secret = int(ctx.now().timestamp()), ctx.settings.admin_token
    downloads.check_signature(secret, path.service_uuid, path.file, query.expires, query.signature, now)
    day = _day(path.file.removesuffix(".log.gz")[-8:])
    assert day is not None, "nothing else is signed"
    start, end = (int(at.timestamp()) * NANO for at in (day, day + timedelta(days=1)))
    lines = ctx.log_store.read(Wanted(path.service_uuid, start, end - 1))
    headers = {"Content-Disposition": f'attachment; filename="{path.file}"'}
    return Response(downloads.gzipped(lines), 200, headers, content_type="application/gzip")


def _day(text: str) -> datetime | None:
    """The beginning of a day written YYYYMMDD; None for anything else."""
    if not re.fullmatch(r"[0-9]{8}", text, re.ASCII):
        return None
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None
