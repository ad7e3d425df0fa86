"""The same API on PostgreSQL: what a text or a race there does differently."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.conftest import Api
from tests.api.test_schemathesis import run_all
from tests.unit.spec_samples import EXAMPLE

pytestmark = pytest.mark.postgres


def test_service_lives_its_life(postgres_api: Api) -> None:
    api = postgres_api
    created = api.client.post("/v1/services/madams", json=EXAMPLE).get_json()

    assert api.client.post("/v1/services/madams", json=EXAMPLE).status_code == 409
    assert api.client.put("/v1/services/madams/test", json={"image_tag": "2"}).get_json()["revision"] == 2
    assert api.get("/v1/services/madams?application=app_name_or_null")["count"] == 1
    assert [s["uuid"] for s in api.get("/v1/services/madams")["results"]] == [created["uuid"]]
    assert api.client.post("/v1/services/madams/test/plan").status_code == 200
    assert next(e["kind"] for e in api.get("/v1/services/madams/test/events")["results"]) == "created"
    assert api.client.delete("/v1/services/madams/test").status_code == 204
    assert api.client.get("/v1/services/madams/test").status_code == 404


def test_writes_at_the_same_time_lose_no_field(postgres_api: Api) -> None:
    api = postgres_api
    api.create()
    changes: list[dict[str, object]] = [
        {"image_tag": "2"},
        {"target_num_instances": 5},
        {"run_command": "sleep 1"},
        {"instance_size": "L"},
    ]

    def put(change: dict[str, object]) -> int:
        return api.app.test_client().put("/v1/services/ns/web", json=change).status_code

    with ThreadPoolExecutor(len(changes)) as pool:
        assert list(pool.map(put, changes)) == [200] * len(changes)
    service = api.get("/v1/services/ns/web")
    assert all(service[key] == value for change in changes for key, value in change.items())
    assert service["generation"] == 5


@pytest.mark.slow
def test_generated_requests_get_documented_answers(postgres_api: Api) -> None:
    run_all(postgres_api, found=True)
