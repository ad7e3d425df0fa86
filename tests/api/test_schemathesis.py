"""Generated requests over the whole OpenAPI document: no fault of ours, and no answer that is not documented."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.conftest import TOKEN, Api

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
BOUNDED = settings(
    max_examples=20, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
WHERE = {"namespace": "ns", "name": "web"}  # what generated names would never hit


def try_operation(operation: Any, *, found: bool) -> None:
    """Twenty generated requests to one operation; with `found` to a service that is there."""

    @given(case=operation.as_strategy())
    @BOUNDED
    def attempt(case: Any) -> None:
        if found:
            case.path_parameters |= {key: value for key, value in WHERE.items() if key in case.path_parameters}
        if isinstance(case.query, dict):
            case.query.pop("follow", None)  # a follower's answer has no end
        response = case.call(headers={"Authorization": f"Token {TOKEN}"})
        if operation.path == "/readyz" and response.status_code == 503:
            return  # no worker beats here, and the page says so: that is its documented work
        case.validate_response(response, checks=CHECKS)

    attempt()


@pytest.mark.slow
@pytest.mark.parametrize("found", [False, True], ids=["any names", "an existing service"])
def test_generated_requests_get_documented_answers(api: Api, found: bool) -> None:
    run_all(api, found=found)


def run_all(api: Api, *, found: bool) -> None:
    """Generated requests to every operation of the document."""
    api.create("web", "ns", instance_ports=[{"container_port": 22}], volumes=[{"app_volume_dir": "/data"}])
    schema = schemathesis.openapi.from_wsgi("/openapi.json", api.app)
    operations = [result.ok() for result in schema.get_all_operations()]
    operations.sort(key=lambda operation: operation.method.upper() == "DELETE")  # last: it takes the service away
    faults: list[str] = []
    for operation in operations:
        try:
            try_operation(operation, found=found)
        except Exception as error:
            faults.append(f"{operation.label}: {error!r} {getattr(error, 'exceptions', '')}")

    assert len(operations) > 20
    assert not faults, "\n\n".join(faults)
