"""Services: create, list, show, change, start, stop, delete."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlencode

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from api import writes
from api.answers import answer, empty, written
from api.bodies import json_object
from api.context import Context, context
from api.errors import ApiError, invalid
from api.lookup import get_service, is_label, views
from api.models import ErrorAnswer, ServiceAnswer, ServicePage, ServiceWritten
from api.openapi import body
from api.parameters import DeleteQuery, NamespacePath, PageQuery, RollbackQuery, ServicePath, WriteQuery
from api.wire import Json, service_json
from orchestrator.store.reads import Reads
from orchestrator.store.records import ServiceRecord

PAGE_SIZE = 20
blueprint = APIBlueprint("services", __name__, url_prefix="/v1/services", abp_tags=[Tag(name="services")])


@blueprint.post(
    "/<string:namespace>",
    responses={201: ServiceWritten, 204: None, 409: ErrorAnswer, 507: ErrorAnswer},
    openapi_extensions=body("ServiceCreate"),
)
def create(path: NamespacePath, query: WriteQuery) -> Response:
    """Create a service. 409: its name, or the domain it asks for, belongs to another one."""
    ctx = context()
    given, strict, take = json_object() or {}, bool(query.strict), bool(query.take_domain)
    record, warnings = writes.create_service(ctx, path.namespace, given, strict=strict, take_domain=take)
    location = {"Location": f"/v1/services/{record.namespace}/{record.name}/"}
    return written(_after_write(ctx, record, warnings), 201, location)


@blueprint.get("/<string:namespace>", responses={200: ServicePage})
def list_services(path: NamespacePath, query: PageQuery) -> Response:
    """List the services of a namespace, oldest first."""
    ctx = context()
    page, application = _page(query)
    size = query.page_size or PAGE_SIZE
    records: tuple[ServiceRecord, ...] = ()
    count = 0
    if is_label(path.namespace):
        reads = Reads(ctx.session())
        records, count = reads.page(path.namespace, application=application, offset=(page - 1) * size, limit=size)
    if page > 1 and not records:
        raise ApiError(404, f"page {page} does not exist; there are {count} services")
    return answer(
        {
            "count": count,
            "previous": _address(page - 1, query, application) if page > 1 else None,
            "results": [service_json(view, ctx.settings) for view in views(ctx, records)],
            "next": _address(page + 1, query, application) if page * size < count else None,
        }
    )


@blueprint.get("/<string:namespace>/<string:name>", responses={200: ServiceAnswer})
def show(path: ServicePath) -> Response:
    """Show a service."""
    ctx = context()
    return answer(_shown(ctx, get_service(ctx, path.namespace, path.name)))


@blueprint.put(
    "/<string:namespace>/<string:name>",
    responses={200: ServiceWritten, 204: None, 409: ErrorAnswer, 507: ErrorAnswer},
    openapi_extensions=body("ServiceUpdate"),
)
def update(path: ServicePath, query: WriteQuery) -> Response:
    """Change the given settings of a service; the others stay. 409: the domain belongs to another service."""
    ctx = context()
    given, strict, take = json_object() or {}, bool(query.strict), bool(query.take_domain)
    record, warnings = writes.update_service(ctx, path.namespace, path.name, given, strict=strict, take_domain=take)
    return written(_after_write(ctx, record, warnings), 200)


@blueprint.put("/<string:namespace>/<string:name>/start", responses={200: ServiceAnswer, 204: None, 409: ErrorAnswer})
def start(path: ServicePath) -> Response:
    """Start a service; the body is ignored."""
    return _set_state(path, "STARTED")


@blueprint.put("/<string:namespace>/<string:name>/stop", responses={200: ServiceAnswer, 204: None, 409: ErrorAnswer})
def stop(path: ServicePath) -> Response:
    """Stop a service: its instances go, settings, logs and volumes stay; the body is ignored."""
    return _set_state(path, "STOPPED")


@blueprint.post(
    "/<string:namespace>/<string:name>/rollback", responses={200: ServiceAnswer, 204: None, 409: ErrorAnswer}
)
def rollback(path: ServicePath, query: RollbackQuery) -> Response:
    """Run an earlier revision again, as a new one: `to`, or the newest that differs. The body is ignored."""
    ctx = context()
    record = writes.roll_back_service(ctx, path.namespace, path.name, query.to)
    return written(_shown(ctx, record), 200)


@blueprint.put("/<string:namespace>/<string:name>/restart", responses={200: ServiceAnswer, 204: None, 409: ErrorAnswer})
def restart(path: ServicePath) -> Response:
    """Replace all instances, rolling, without a change; the body is ignored."""
    ctx = context()
    record = writes.restart_service(ctx, path.namespace, path.name)
    return written(_shown(ctx, record), 200)


@blueprint.delete("/<string:namespace>/<string:name>", responses={204: None, 409: ErrorAnswer})
def delete(path: ServicePath, query: DeleteQuery) -> Response:
    """Delete a service; its volumes are kept as orphans unless `delete_volumes` is given. The body is ignored."""
    volumes, force = bool(query.delete_volumes), bool(query.force)
    writes.delete_service(context(), path.namespace, path.name, delete_volumes=volumes, force=force)
    return empty()


def _set_state(path: ServicePath, state: str) -> Response:
    ctx = context()
    record = writes.set_target_state(ctx, path.namespace, path.name, state)
    return written(_shown(ctx, record), 200)


def _shown(ctx: Context, record: ServiceRecord) -> Json:
    return service_json(views(ctx, [record])[0], ctx.settings)


def _after_write(ctx: Context, record: ServiceRecord, warnings: tuple[str, ...]) -> Json:
    return _shown(ctx, record) | {"warnings": list(warnings)}


def _page(query: PageQuery) -> tuple[int, str | None]:
    """The page's number and the application filter; `page=1?application=APP` (an old client) means both."""
    number, _, rest = (query.page or "1").partition("?")
    application = query.application or parse_qs(rest).get("application", [""])[0] or None
    if application is not None and "\x00" in application:
        raise invalid("application", "contains a NUL character, which is not allowed")
    if not re.fullmatch(r"[0-9]{1,9}", number, re.ASCII) or int(number) < 1:
        raise ApiError(404, "there is no such page; pages are numbered from 1")
    return int(number), application


def _address(page: int, query: PageQuery, application: str | None) -> str:
    """The absolute address of another page, under the name by which the client reached us."""
    values: dict[str, str | int] = {"page": page}
    if query.page_size is not None:
        values["page_size"] = query.page_size
    if application is not None:
        values["application"] = application
    return f"{request.base_url}?{urlencode(values)}"
