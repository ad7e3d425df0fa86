"""Changing services over HTTP: update, start, stop, delete, and the forms of their answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api import writes
from api.models import ServiceAnswer, ServiceWritten
from tests.api.conftest import Api
from tests.unit.spec_samples import EXAMPLE


def test_documents_update_changes_the_count_and_asks_for_the_tag_again(api: Api) -> None:
    api.client.post("/v1/services/madams", json=EXAMPLE)
    body = {"service_name": "test", "target_num_instances": 3, "image_tag": "latest", "scaling_mode": "MANUAL"}
    response = api.client.put("/v1/services/madams/test/", json=body)
    answer = response.get_json()

    assert response.status_code == 200
    assert ServiceWritten.model_validate(answer)
    assert (answer["target_num_instances"], answer["generation"], answer["revision"]) == (3, 2, 1)
    assert len(api.woken) == 2


def test_update_of_the_image_makes_a_revision(api: Api) -> None:
    api.create()

    assert api.client.put("/v1/services/ns/web", json={"app_name": "web", "image_tag": "2"}).get_json()["revision"] == 2
    assert [r["image"] for r in api.get("/v1/services/ns/web/revisions")] == [
        "registry.example/web:2",
        "registry.example/web:latest",
    ]


def test_update_beside_a_concurrent_one_loses_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.create()
    raced: list[int] = []
    parse = writes.parse_update

    def slow_parse(*args: Any, **kwargs: Any) -> Any:
        parsed = parse(*args, **kwargs)
        if not raced:
            raced.append(1)
            other = api.app.test_client()
            assert other.put("/v1/services/ns/web", json={"target_num_instances": 5}).status_code == 200
        return parsed

    monkeypatch.setattr(writes, "parse_update", slow_parse)
    answer = api.client.put("/v1/services/ns/web", json={"image_tag": "2"}).get_json()

    assert (answer["image_tag"], answer["target_num_instances"]) == ("2", 5)


@pytest.mark.parametrize(
    "request_parts",
    [
        {},
        {"content_type": "application/json"},
        {"data": "", "content_type": "application/json"},
        {"data": "not json", "content_type": "application/json"},
        {"data": "a=1", "content_type": "application/x-www-form-urlencoded"},
        {"data": b"\xff\x00", "content_type": "application/octet-stream"},
    ],
)
def test_start_stop_and_delete_ignore_their_bodies(api: Api, request_parts: dict[str, Any]) -> None:
    api.create()

    stopped = api.client.put("/v1/services/ns/web/stop/", **request_parts)
    assert (stopped.status_code, stopped.get_json()["target_state"]) == (200, "STOPPED")
    started = api.client.put("/v1/services/ns/web/start", **request_parts)
    assert (started.status_code, started.get_json()["target_state"]) == (200, "STARTED")
    deleted = api.client.delete("/v1/services/ns/web/", **request_parts)
    assert (deleted.status_code, deleted.data) == (204, b"")


def test_start_and_stop_are_idempotent(api: Api) -> None:
    api.create()

    generations = [
        api.client.put(f"/v1/services/ns/web/{a}").get_json()["generation"] for a in ("start", "stop", "stop")
    ]
    assert generations == [1, 2, 2]
    assert ServiceAnswer.model_validate(api.get("/v1/services/ns/web")).stopped_at is not None


def test_deleted_service_is_gone_and_its_name_is_free(api: Api) -> None:
    first = api.create()

    assert api.client.delete("/v1/services/ns/web").status_code == 204
    assert api.client.get("/v1/services/ns/web").status_code == 404
    assert api.client.delete("/v1/services/ns/web").status_code == 404
    assert api.get("/v1/services/ns")["count"] == 0
    assert api.create()["uuid"] != first["uuid"]


@pytest.mark.parametrize(
    ("query", "removed"), [("", False), ("?delete_volumes=true", True), ("?delete_volumes=0", False)]
)
def test_delete_says_what_becomes_of_the_volumes(api: Api, query: str, removed: bool) -> None:
    api.create()
    api.client.delete(f"/v1/services/ns/web/{query}")
    last = api.get("/v1/events")["results"][-1]

    assert (last["kind"], last["data"]["delete_volumes"]) == ("deleted", removed)


def test_minimal_preference_gets_an_empty_answer(api: Api) -> None:
    prefer = {"Prefer": "respond-async, return=minimal"}
    body = {"service_name": "web", "image_name": "a"}
    answers = [
        api.client.post("/v1/services/ns", json=body, headers=prefer),
        api.client.put("/v1/services/ns/web", json={"target_num_instances": 2}, headers=prefer),
        api.client.put("/v1/services/ns/web/stop", headers=prefer),
        api.client.put("/v1/services/ns/web/start", headers=prefer),
    ]

    assert [(a.status_code, a.data) for a in answers] == [(204, b"")] * 4
    assert answers[0].headers["Location"] == "/v1/services/ns/web/"


def test_legacy_setting_empties_every_service_write(legacy_api: Api) -> None:
    client = legacy_api.client
    body = {"service_name": "web", "image_name": "a"}
    answers = [
        client.post("/v1/services/ns", json=body),
        client.put("/v1/services/ns/web", json={"target_num_instances": 2}),
        client.put("/v1/services/ns/web/stop"),
        client.put("/v1/services/ns/web/start"),
        client.delete("/v1/services/ns/web"),
    ]

    assert [(a.status_code, a.data) for a in answers] == [(204, b"")] * 5


def test_unknown_key_is_named_in_warnings_and_refused_when_strict(api: Api) -> None:
    body = {"service_name": "web", "image_name": "a", "image_tagg": "1"}
    strict = api.client.post("/v1/services/ns?strict=true", json=body)

    assert strict.status_code == 400
    assert "did you mean image_tag?" in strict.get_json()["error"]["fields"]["image_tagg"][0]
    assert "image_tagg" in api.client.post("/v1/services/ns", json=body).get_json()["warnings"][0]


def test_link_to_a_service_that_is_not_there_is_a_warning(api: Api) -> None:
    api.create("db")
    answer = api.create(linked_to_apps={"db": "DB", "cache": "CACHE"})

    assert answer["warnings"] == ["linked_to_apps: there is no service cache in ns yet"]
    assert json.loads(answer["linked_to_apps"]) == {"db": "DB", "cache": "CACHE"}
