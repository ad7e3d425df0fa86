"""Restart and rollback over HTTP: what they answer, and when they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from api.models import ServiceAnswer
from orchestrator.store.pass_writes import PassWrites
from tests.api.conftest import Api

BODY: dict[str, Any] = {
    "service_name": "web",
    "image_name": "registry.example/web",
    "image_tag": "1",
    "instance_size": "XS",
    "scaling_mode": "MANUAL",
    "target_state": "STARTED",
    "target_num_instances": 2,
}
WEB = "/v1/services/madams/web"
SLASHES = pytest.mark.parametrize("slash", ["", "/"])


def resolve(api: Api, uuid: str, revision: int) -> None:
    """The worker learns the image of a revision."""
    with api.sessions.begin() as session:
        PassWrites(session, api.now).resolve(uuid, revision, f"sha256:{revision}", None)


def deployed(api: Api, *tags: str) -> str:
    """A service deployed with these tags one after another, each resolved; its uuid."""
    api.client.post("/v1/services/madams", json=BODY)
    uuid = str(api.client.get(WEB).get_json()["uuid"])
    resolve(api, uuid, 1)
    for number, tag in enumerate(tags, 2):
        api.client.put(WEB, json={"image_tag": tag})
        resolve(api, uuid, number)
    return uuid


def kinds(api: Api) -> list[str]:
    return [event["kind"] for event in api.client.get(f"{WEB}/events").get_json()["results"]]


@SLASHES
def test_restart_answers_the_service_with_a_new_revision_and_wakes_the_worker(api: Api, slash: str) -> None:
    uuid = deployed(api)
    api.woken.clear()

    response = api.client.put(f"{WEB}/restart{slash}", data=b"ignored")

    shown = response.get_json()
    assert response.status_code == 200
    ServiceAnswer.model_validate(shown)
    assert (shown["revision"], shown["is_deploying"], shown["status_reason"]) == (2, True, "rolling restart")
    assert shown["image_tag"] == "1"
    assert api.woken == [uuid]
    assert "restarted" in kinds(api)


@SLASHES
def test_rollback_answers_the_service_as_it_was_then(api: Api, slash: str) -> None:
    uuid = deployed(api, "2", "3")
    api.woken.clear()

    response = api.client.post(f"{WEB}/rollback{slash}?to=1", data=b"ignored")

    shown = response.get_json()
    assert response.status_code == 200
    ServiceAnswer.model_validate(shown)
    assert (shown["revision"], shown["image_tag"], shown["is_deploying"]) == (4, "1", True)
    assert shown["target_num_instances"] == 2
    assert api.woken == [uuid]
    revisions = api.client.get(f"{WEB}/revisions{slash}").get_json()
    assert [(r["number"], r["current"], r["image_id"]) for r in revisions] == [
        (4, True, "sha256:1"),
        (3, False, "sha256:3"),
        (2, False, "sha256:2"),
        (1, False, "sha256:1"),
    ]
    assert "rolled_back" in kinds(api)


def test_rollback_without_a_number_goes_to_the_newest_that_differs(api: Api) -> None:
    deployed(api, "2", "3")

    assert api.client.post(f"{WEB}/rollback").get_json()["image_tag"] == "2"
    assert api.client.post(f"{WEB}/rollback?to=").get_json()["image_tag"] == "3"


@pytest.mark.parametrize("number", ["9", "2000000000"])
def test_rollback_to_a_revision_that_is_not_kept_is_a_conflict(api: Api, number: str) -> None:
    deployed(api, "2")

    response = api.client.post(f"{WEB}/rollback/?to={number}")

    assert response.status_code == 409
    error = response.get_json()["error"]
    assert (error["code"], f"revision {number} is not kept" in error["message"]) == ("no_revision", True)
    assert api.client.get(WEB).get_json()["revision"] == 2


def test_rollback_and_restart_before_anything_was_deployed_are_conflicts(api: Api) -> None:
    api.client.post("/v1/services/madams", json=BODY)

    for response in (api.client.post(f"{WEB}/rollback"), api.client.put(f"{WEB}/restart")):
        assert response.status_code == 409
        assert response.get_json()["error"]["code"] == "no_revision"


@pytest.mark.parametrize("number", ["0", "-1", "one", "1.5", "3000000000"])
def test_number_that_can_be_no_revision_is_invalid(api: Api, number: str) -> None:
    deployed(api, "2")

    response = api.client.post(f"{WEB}/rollback?to={number}")

    assert response.status_code == 400
    assert "to" in response.get_json()["error"]["fields"]


def test_unknown_service_and_wrong_method_are_told(api: Api) -> None:
    assert api.client.post("/v1/services/madams/none/rollback").status_code == 404
    assert api.client.put("/v1/services/madams/none/restart/").status_code == 404
    deployed(api, "2")
    assert api.client.put(f"{WEB}/rollback").status_code == 405
    assert api.client.post(f"{WEB}/restart").status_code == 405


def test_legacy_answers_of_restart_and_rollback_are_empty(legacy_api: Api) -> None:
    deployed(legacy_api, "2")

    for response in (legacy_api.client.put(f"{WEB}/restart/"), legacy_api.client.post(f"{WEB}/rollback/?to=1")):
        assert (response.status_code, response.data) == (204, b"")
    assert legacy_api.client.get(WEB).get_json()["image_tag"] == "1"


def test_minimal_answer_on_request_is_empty(api: Api) -> None:
    deployed(api, "2")

    response = api.client.put(f"{WEB}/restart/", headers={"Prefer": "return=minimal"})

    assert (response.status_code, response.data) == (204, b"")
