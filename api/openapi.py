"""The OpenAPI document: made from the routes and from the very models that validate, and the page that shows it."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any

from flask import Response, render_template_string, url_for
from flask_openapi3 import Info, OpenAPI
from flask_openapi3.types import SecuritySchemesDict
from flask_openapi3_swagger.plugins import RegisterPlugin  # type: ignore[import-untyped]
from flask_openapi3_swagger.templates import swagger_html_string  # type: ignore[import-untyped]
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from api import auth, models, models_metrics, models_scaling, parameters
from api.answers import answer
from orchestrator.settings import Settings
from orchestrator.spec import ServiceSpec

Schema = dict[str, Any]
_REFERENCE = "#/components/schemas/{model}"
INFO = Info(
    title="Skylark",
    version="1",
    description="Declares services on a Docker host, in the words of the Alauda v1 API. Every path answers with and "
    "without a trailing slash. Integers may be decimal text, objects JSON text, as clients of the time send them.",
)
SECURITY: SecuritySchemesDict = {
    "token": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`Token <token>`"},
}
ERRORS = (400, 401, 404, 405, 413, 415, 500, 503)


def body(name: str, *, required: bool = True, types: tuple[str, ...] = ("application/json",)) -> Schema:
    """Operation extension: the request body is the component `name`."""
    content = {kind: {"schema": {"$ref": _REFERENCE.format(model=name)}} for kind in types}
    return {"requestBody": {"required": required, "content": content}}


def followed(model: type[BaseModel]) -> Schema:
    """A 200 answer: the model as JSON, or server-sent events with follow=true."""
    plain = {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}
    events = {"schema": {"type": "string", "description": "events with `id` and, in JSON, `data`; see docs/logs.md"}}
    description = (model.__doc__ or "").strip()
    return {"description": description, "content": {"application/json": plain, "text/event-stream": events}}


def install(app: OpenAPI, settings: Settings) -> None:
    """Serve the document at /openapi.json and the page at /docs. Call it when all routes are there."""
    document = cache(lambda: _document(app, settings))

    def openapi_json() -> Response:
        return answer(document())

    def docs() -> str:
        root = url_for("swagger.static", filename="").rstrip("/").removesuffix("/swagger")
        page = swagger_html_string.replace('href="swagger/', f'href="{root}/swagger/')
        page = page.replace('src="swagger/', f'src="{root}/swagger/')
        return render_template_string(page, doc_url=url_for("openapi_json"), swagger_config=None, oauth_config=None)

    app.add_url_rule("/openapi.json", view_func=openapi_json)
    app.add_url_rule("/docs", view_func=docs)
    app.register_blueprint(RegisterPlugin.register(doc_url="/openapi.json"), url_prefix="/docs")


def _document(app: OpenAPI, settings: Settings) -> Schema:
    """The framework's document with our schemas in full: its own schema model drops keywords it does not know."""
    document: Schema = app.api_doc
    schemas: Schema = {}
    for module in (models, models_metrics, models_scaling):
        for model in vars(module).values():
            if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == module.__name__:
                _add(schemas, model, "serialization")
    _add(schemas, parameters.LoginRequest, "validation")
    create, update = _requests(schemas, settings)
    schemas |= {"ServiceCreate": create, "ServiceUpdate": update}
    document["security"] = [{"token": []}]  # every operation but those that say otherwise
    used = document["components"]["schemas"]
    used.clear()
    used.update(schemas)
    for path, item in document["paths"].items():
        for operation in item.values():
            own = {status: said for status, said in operation["responses"].items() if status != "400"}
            operation["responses"] = own | {status: said for status, said in _errors().items() if status not in own}
            if not auth.needs_token(path):
                operation["security"] = []
    return document


def _errors() -> Schema:
    """What every operation may answer instead of what it is for."""
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(model="ErrorAnswer")}}}
    return {str(status): {"description": HTTPStatus(status).phrase, "content": content} for status in ERRORS}


def _add(schemas: Schema, model: type[BaseModel], mode: JsonSchemaMode) -> Schema:
    """Put the model's schema and those it refers to into `schemas`; the answer is the model's own."""
    schema = model.model_json_schema(mode=mode, ref_template=_REFERENCE)
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema
    return schema


def _requests(schemas: Schema, settings: Settings) -> tuple[Schema, Schema]:
    """The bodies of create and update: ServiceSpec as it validates, with the synonyms that are read before it."""
    spec = ServiceSpec.model_json_schema(mode="validation", ref_template=_REFERENCE)
    schemas.update(spec.pop("$defs", {}))
    properties = spec["properties"]
    properties["instance_size"] = {"type": "string", "enum": list(settings.sizes), "default": "XS"}
    regions: Schema = {"type": "string", "enum": [*settings.regions, ""]}
    properties["region_name"] = {"anyOf": [regions, {"type": "null"}], "description": "absent: the default region"}
    properties["app_name"] = {**properties["service_name"], "description": "synonym of service_name"}
    properties["namespace"] = {"type": "string", "description": "repetition of the path"}
    required = [key for key in spec["required"] if key != "service_name"]
    create = spec | {
        "title": "ServiceCreate",
        "required": required,
        "anyOf": [{"required": ["service_name"]}, {"required": ["app_name"]}],
    }
    update = spec | {"title": "ServiceUpdate", "description": "Only the given keys change."}
    update.pop("required")
    return create, update
