"""Every fault becomes one JSON object: {"error": {"code", "message", "fields"}}. Never a trace."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from flask import Flask, Response, make_response, request
from flask_openapi3 import OpenAPI
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from api.answers import answer
from orchestrator.logs.errors import LogStoreError
from orchestrator.metrics.store_file import MetricStoreError
from orchestrator.spec import SpecError
from orchestrator.spec_text import shown
from orchestrator.store.domains import DomainTaken
from orchestrator.store.links import LinkedFrom
from orchestrator.store.ports import NoPortLeft
from orchestrator.store.services import Gone, NameTaken, NoRevision

Fields = Mapping[str, Sequence[str]]

_CODES = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    500: "internal_error",
    503: "unavailable",
    507: "no_capacity",
}
RETRY_AFTER_SECONDS = "2"


class ApiError(Exception):
    """A request that cannot be served, with the answer it gets."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = "",
        fields: Fields | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or _CODES.get(status, "error")
        self.fields = fields or {}
        self.headers = headers or {}


def invalid(field: str, fault: str) -> ApiError:
    """400 about one field of the body or the query."""
    return ApiError(400, f"{field}: {fault}", fields={field: [fault]})


def not_found(what: str) -> ApiError:
    """404 naming what is not there."""
    return ApiError(404, f"{what} does not exist")


def refusal(error: ApiError, headers: dict[str, str] | None = None) -> Response:
    """The answer to a request that cannot be served."""
    fields = {path: list(faults) for path, faults in error.fields.items()}
    headers = {**error.headers, **(headers or {})}
    if error.status == 401:
        headers = {"WWW-Authenticate": "Token", **headers}
    body = {"error": {"code": error.code, "message": error.message, "fields": fields}}
    return answer(body, error.status, headers)


def refuse_parameters(error: ValidationError) -> Response:
    """The answer to path or query parameters of a wrong type."""
    fields: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False):
        name = ".".join(str(step) for step in fault["loc"])
        said = fault["msg"].removeprefix("Value error, ")
        fields.setdefault(name, []).append(said if said.startswith("'") else f"{shown(fault['input'])}: {said}")
    return refusal(ApiError(400, _sentence(fields), fields=fields))


def install(app: OpenAPI) -> None:
    """Give `app` an answer for every fault."""
    app.register_error_handler(ApiError, refusal)
    app.register_error_handler(SpecError, _spec_error)
    app.register_error_handler(NameTaken, lambda error: refusal(ApiError(409, str(error), code="name_taken")))
    app.register_error_handler(DomainTaken, _domain_taken)
    app.register_error_handler(LinkedFrom, lambda error: refusal(ApiError(409, str(error), code="linked")))
    app.register_error_handler(Gone, lambda error: refusal(ApiError(404, "the service was deleted meanwhile")))
    app.register_error_handler(NoRevision, lambda error: refusal(ApiError(409, str(error), code="no_revision")))
    app.register_error_handler(NoPortLeft, lambda error: refusal(ApiError(507, str(error))))
    for kind in (OperationalError, InterfaceError, PoolTimeout, LogStoreError, MetricStoreError):
        app.register_error_handler(kind, _store_trouble(app))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected(app))


def _spec_error(error: SpecError) -> Response:
    return refusal(ApiError(400, _sentence(error.fields), fields=error.fields))


def _domain_taken(error: DomainTaken) -> Response:
    fields = {"custom_domain_name": [str(error)]}
    return refusal(ApiError(409, _sentence(fields), code="domain_taken", fields=fields))


def _sentence(fields: Fields) -> str:
    said = [f"{path}: {fault}" if path else fault for path, faults in fields.items() for fault in faults]
    more = f" (and {len(said) - 3} more)" if len(said) > 3 else ""
    return "; ".join(said[:3]) + more


_SAID = {
    404: "there is nothing at this address; /openapi.json lists what is",
    413: "the body is too big; at most 1 MB is allowed",
}


def _http_error(error: HTTPException) -> Response:
    if error.response is not None:
        return make_response(error.response)
    status = error.code or 500
    message = _SAID.get(status) or error.description or error.name
    headers: dict[str, str] = {}
    if status == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        message = f"{request.method} is not allowed here; allowed: {allowed}"
        headers["Allow"] = allowed
    return refusal(ApiError(status, message), headers)


def _store_trouble(app: Flask):  # type: ignore[no-untyped-def]
    def handle(error: Exception) -> Response:
        app.logger.warning("database trouble on %s %s: %s", request.method, request.path, _first_line(error))
        said = ApiError(503, "the database does not answer now; nothing was changed, try again")
        return refusal(said, {"Retry-After": RETRY_AFTER_SECONDS})

    return handle


def _unexpected(app: Flask):  # type: ignore[no-untyped-def]
    def handle(error: Exception) -> Response:
        app.logger.log(logging.ERROR, "fault on %s %s", request.method, request.path, exc_info=error)
        return refusal(ApiError(500, "something went wrong here; the operator finds the details in the API's log"))

    return handle


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
