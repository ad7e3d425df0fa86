"""The OpenAPI document says what really holds."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from orchestrator.spec import SpecError, parse_create, parse_update
from tests.api.conftest import Api
from tests.unit.spec_samples import CONFIG, EXAMPLE, RULES, create, short


def validator(document: dict[str, Any], name: str) -> Any:
    return jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def references(value: Any) -> set[str]:
    """All $ref of a document."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(v) for v in value.values()))
    return set().union(*(references(v) for v in value)) if isinstance(value, list) else set()


def test_document_is_openapi_3_1_and_whole(api: Api) -> None:
    document = api.get("/openapi.json")
    names = {reference.removeprefix("#/components/schemas/") for reference in references(document)}

    assert document["openapi"].startswith("3.1")
    assert names <= set(document["components"]["schemas"])
    assert {"/v1/services/{namespace}/{name}", "/readyz"} <= set(document["paths"])


def test_every_operation_documents_its_answers_and_needs_a_token(api: Api) -> None:
    document = api.get("/openapi.json")
    open_ones = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert {"400", "401", "404", "503"} <= set(operation["responses"]), (method, path)
            if operation.get("security") == []:
                open_ones.append(path)

    assert document["security"] == [{"token": []}]
    assert sorted(open_ones) == [
        "/healthz",
        "/readyz",
        "/v1/generate-api-token",
        "/v1/log-downloads/{service_uuid}/{file}",  # signed instead
    ]


def test_page_is_browsable_without_the_internet(api: Api) -> None:
    page = api.client.get("/docs").text

    assert "http://" not in page
    assert "https://" not in page
    for asset in ("css/swagger-ui.css", "js/swagger-ui-bundle.js", "js/swagger-ui-standalone-preset.js"):
        assert f"/docs/swagger/{asset}" in page
        assert api.client.get(f"/docs/swagger/{asset}", token=None).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"target_num_instances": "2"},
        {"instance_envvars": {"A": None, "B": 1, "C": True}},
        {"instance_envvars": '{"A": "1"}'},
        {"linked_to_apps": "{}"},
        {"instance_ports": {}},
        {"instance_ports": [{"container_port": "80", "protocol": "http"}]},
        {"volumes": {}},
        {"volumes": [{"app_volume_dir": "/a", "size_gb": "10"}]},
        {"autoscaling_config": "{}"},
        {"autoscaling_config": {}},
        {"autoscaling_config": CONFIG | {"upper_threshold": 0.7, "wait_period": 9}},
        {"autoscaling_config": None, "application": None, "image_tag": None, "region_name": None},
        {"region_name": ""},
        {"deployment_preference": {"stop_grace_seconds": 3}},
    ],
    ids=short,
)
def test_schema_allows_what_is_read(api: Api, change: dict[str, Any]) -> None:
    body = EXAMPLE | change
    document = api.get("/openapi.json")

    assert parse_create(body, RULES, namespace="madams")
    validator(document, "ServiceCreate").validate(body)
    validator(document, "ServiceUpdate").validate(change)
    renamed = {k: v for k, v in body.items() if k != "service_name"} | {"app_name": "test"}
    validator(document, "ServiceCreate").validate(renamed)


@pytest.mark.parametrize(
    "change",
    [
        {"service_name": "Upper"},
        {"target_num_instances": 1001},
        {"target_num_instances": -1},
        {"target_num_instances": True},
        {"instance_size": "XXL"},
        {"scaling_mode": "auto"},
        {"target_state": 5},
        {"region_name": "MARS1"},
        {"instance_envvars": {"A": []}},
        {"instance_ports": [{"container_port": 0}]},
        {"instance_ports": [{"container_port": 1, "endpoint_type": "x"}]},
        {"instance_ports": [{}]},
        {"volumes": [{"size_gb": 1}]},
        {"volumes": [{"app_volume_dir": "/a", "size_gb": 0}]},
        {"autoscaling_config": {"wait_period": 1}},
        {"autoscaling_config": 5},
    ],
    ids=short,
)
def test_schema_refuses_what_is_refused(api: Api, change: dict[str, Any]) -> None:
    document = api.get("/openapi.json")

    with pytest.raises(SpecError):
        parse_create(EXAMPLE | change, RULES)
    with pytest.raises(SpecError):
        parse_update(create().spec, change, RULES)
    assert not validator(document, "ServiceCreate").is_valid(EXAMPLE | change)
    assert not validator(document, "ServiceUpdate").is_valid(change)
