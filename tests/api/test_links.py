"""Links in answers: shown on both sides, told when they lead nowhere, and a reason not to delete their target."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import update

from orchestrator.store.schema import ServiceRow
from tests.api.conftest import Api


def shown(api: Api, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = api.client.get(f"/v1/services/ns/{name}").get_json()
    return answer


def test_links_stand_on_both_sides_with_their_alias(api: Api) -> None:
    api.create("db")
    api.create("web", linked_to_apps={"db": "DB", "cache": None})
    api.create("api", linked_to_apps={"db": "store"})
    api.create("db", namespace="other")

    web, db = shown(api, "web"), shown(api, "db")
    assert json.loads(web["linked_to"]) == json.loads(web["linked_to_apps"]) == {"db": "DB", "cache": "cache"}
    assert json.loads(db["linked_from"]) == json.loads(db["linked_from_apps"]) == {"web": "DB", "api": "store"}
    assert web["linked_from"] == db["linked_to"] == "{}"
    (foreign,) = api.client.get("/v1/services/other").get_json()["results"]
    assert foreign["linked_from_apps"] == "{}"


def test_target_that_does_not_run_is_told_beside_the_status_of_a_running_service(api: Api) -> None:
    api.create("db", target_state="STOPPED")
    api.create("web", linked_to_apps={"db": "DB"})
    assert "linked service" not in shown(api, "web")["status_reason"]

    with api.sessions() as session:
        running = update(ServiceRow).where(ServiceRow.name == "web")
        session.execute(running.values(current_status="Running", status_reason="1 of 1 instance running"))
        session.commit()

    assert shown(api, "web")["status_reason"] == "1 of 1 instance running; linked service db is not running"


def test_target_of_links_is_deleted_by_force_only(api: Api) -> None:
    api.create("db", linked_to_apps={"db": "myself"})
    api.create("web", linked_to_apps={"db": "DB"})
    api.create("api", linked_to_apps={"db": "DB"})

    refused = api.client.delete("/v1/services/ns/db")
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (409, "linked")
    assert "service db is linked from api, web" in refused.get_json()["error"]["message"]
    assert shown(api, "db")["service_name"] == "db"

    assert api.client.delete("/v1/services/ns/db?force=true").status_code == 204
    assert api.client.get("/v1/services/ns/db").status_code == 404


def test_service_that_only_links_to_itself_or_lost_who_linked_to_it_is_deleted(api: Api) -> None:
    api.create("db", linked_to_apps={"db": "myself"})
    api.create("web", linked_to_apps={"db": "DB"})
    assert api.client.delete("/v1/services/ns/web").status_code == 204

    assert api.client.delete("/v1/services/ns/db").status_code == 204
