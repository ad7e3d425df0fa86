"""Services over HTTP: create, list, show, update, start, stop, delete."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from api.models import ServicePage, ServiceWritten
from orchestrator.state import Phase
from tests.api.conftest import Api
from tests.unit.spec_samples import EXAMPLE

TIMESTAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
JSON_TEXTS = {"instance_envvars", "linked_to_apps", "linked_from_apps", "linked_to", "linked_from"}
JSON_TEXTS |= {"autoscaling_config", "deployment_preference"}


def test_documents_example_is_created_and_answered_with_the_object(api: Api) -> None:
    response = api.client.post("/v1/services/madams", json=EXAMPLE)
    answer = response.get_json()

    assert response.status_code == 201
    assert response.headers["Location"] == "/v1/services/madams/test/"
    assert ServiceWritten.model_validate(answer)
    assert answer["service_name"] == "test"
    assert answer["default_domain_name"] == "test-madams.skylark.local"
    assert answer["resource_uri"] == "/api/v1/apps/test"
    assert answer["region"] == {"IaaS": "DOCKER", "name": "SHANGHAI1"}
    assert answer["unique_name"] == answer["uuid"]
    assert answer["target_num_instances"] == 2
    assert answer["current_status"] == "Deploying"
    assert api.woken == [answer["uuid"]]


def test_answer_is_one_line_with_spaces_and_ports_before_the_domain(api: Api) -> None:
    text = api.client.post("/v1/services/madams", json=EXAMPLE).text

    assert "\n" not in text
    assert re.search(r'"service_port": \d+.*"default_domain_name": "test-madams.skylark.local"', text)
    assert text == json.dumps(json.loads(text), ensure_ascii=False)


def test_json_texts_are_texts_holding_objects(api: Api) -> None:
    answer = api.client.post("/v1/services/madams", json=EXAMPLE).get_json()

    assert all(isinstance(json.loads(answer[key]), dict) for key in JSON_TEXTS)
    assert json.loads(answer["instance_envvars"]) == EXAMPLE["instance_envvars"] | {
        "__DEFAULT_DOMAIN_NAME__": "test-madams.skylark.local"
    }
    config = json.loads(answer["autoscaling_config"])
    assert (config["upper_threshold"], config["wait_period"]) == ("0.6", 30)


def test_times_have_three_decimals_and_z(api: Api) -> None:
    answer = api.create()

    assert answer["created_at"] == "2026-01-02T03:04:05.678Z"
    times = [v for k, v in answer.items() if k.endswith("_at") and v is not None]
    assert all(re.fullmatch(TIMESTAMP, time) for time in times)


def test_show_list_and_create_agree(api: Api) -> None:
    created = api.create()
    created.pop("warnings")

    assert api.get("/v1/services/ns/web/") == created
    assert api.get("/v1/services/ns") == {"count": 1, "previous": None, "results": [created], "next": None}


def test_text_that_is_not_ascii_comes_back_readable(api: Api) -> None:
    api.create(instance_envvars={"GREETING": "你好"}, application="商店")

    assert "你好" in api.client.get("/v1/services/ns/web").text


def test_ports_stand_where_their_type_says(api: Api) -> None:
    ports: list[dict[str, Any]] = [
        {"container_port": 80},
        {"container_port": 22, "endpoint_type": "direct-endpoint"},
        {"container_port": 22},
        {"container_port": 9000, "endpoint_type": "internal-endpoint"},
    ]
    created = api.create(instance_ports=ports)
    api.add_instance(created["uuid"], ports=[[22, "tcp", 32768]])
    answer = api.get("/v1/services/ns/web")
    http, tcp, internal = answer["instance_ports"]
    (instance,) = answer["instances"]

    assert (http["service_port"], http["endpoint_type"], http["ipaddress"]) == (80, "http-endpoint", "sharedip")
    assert 10000 <= tcp["service_port"] <= 65535
    assert tcp["default_domain"] == "web-ns.skylark.local"
    assert internal["default_domain"] == "web-ns.internal.skylark.local"
    assert [(p["container_port"], p["service_port"]) for p in instance["instance_ports"]] == [(22, 32768)]


def test_service_without_ports_shows_an_object(api: Api) -> None:
    assert api.create()["instance_ports"] == {}
    assert (
        api.create("other", instance_ports=[{"container_port": 9, "endpoint_type": "direct-endpoint"}])[
            "instance_ports"
        ]
        == {}
    )


def test_service_port_stays_through_updates(api: Api) -> None:
    (before,) = api.create(instance_ports=[{"container_port": 22}])["instance_ports"]
    api.client.put("/v1/services/ns/web", json={"instance_ports": []})
    after = api.client.put("/v1/services/ns/web", json={"instance_ports": [{"container_port": 22}]}).get_json()

    assert after["instance_ports"] == [before]


def test_instances_are_counted_by_their_phase(api: Api) -> None:
    uuid = api.create(target_num_instances=4)["uuid"]
    api.add_instance(uuid, 0, Phase.RUNNING, started_at=api.now)
    api.add_instance(uuid, 1, Phase.RUNNING, health="starting")
    api.add_instance(uuid, 2, Phase.PENDING)
    api.add_instance(uuid, 3, Phase.EXITED)
    answer = api.get("/v1/services/ns/web")

    assert (answer["target_num_instances"], answer["current_num_instances"]) == (4, 2)
    assert (answer["started_num_instances"], answer["staged_num_instances"]) == (1, 1)
    assert [i["instance_name"] for i in answer["instances"]] == ["web.0", "web.1", "web.2"]
    assert all(re.fullmatch(TIMESTAMP, i["started_at"]) for i in answer["instances"])


def test_volumes_show_usage_and_enforcement(api: Api) -> None:
    uuid = api.create(volumes=[{"app_volume_dir": "/data", "size_gb": 10}])["uuid"]
    api.add_volume(uuid, 0, used_bytes=100, enforced=True)
    api.add_volume(uuid, 1, used_bytes=50, enforced=False)

    assert api.get("/v1/services/ns/web")["volumes"] == [
        {"app_volume_dir": "/data", "size_gb": 10, "enforced": False, "used_bytes": 150}
    ]


def test_name_in_use_is_refused_with_the_words_clients_search_for(api: Api) -> None:
    api.create()
    response = api.client.post("/v1/services/ns", json={"service_name": "web", "image_name": "a"})

    assert response.status_code == 409
    assert response.get_json()["error"]["message"] == "App web already exists"
    assert api.create(namespace="other")["namespace"] == "other"


@pytest.mark.parametrize("slash", ["", "/"])
def test_every_path_answers_in_both_slash_forms(api: Api, slash: str) -> None:
    uuid = api.create()["uuid"]
    instance = api.add_instance(uuid)
    base = "/v1/services/ns/web"
    reads = [
        "",
        "/instances",
        f"/instances/{instance}",
        f"/instances/{instance}/logs",
        "/logs",
        "/events",
        "/revisions",
    ]
    paths = [base + path for path in [*reads, "/volumes"]]
    paths += ["/v1/services/ns", "/v1/events", "/v1/volumes/orphans", "/v1/regions", "/v1/auth/profile"]
    paths += ["/v1/auth/ns/profile", "/healthz", "/openapi.json", "/docs"]

    assert {path: api.client.get(path + slash).status_code for path in paths} == dict.fromkeys(paths, 200)
    assert api.client.post(f"/v1/services/ns{slash}", json={"app_name": "b", "image_name": "a"}).status_code == 201
    assert api.client.post(f"{base}/plan{slash}").status_code == 200
    for action in ("/stop", "/start"):
        assert api.client.put(f"{base}{action}{slash}").status_code == 200
    assert api.client.put(f"{base}{slash}", json={}).status_code == 200
    assert api.client.delete(f"{base}{slash}").status_code == 204


def test_list_has_pages_with_absolute_addresses(api: Api) -> None:
    for number in range(23):
        api.create(f"s{number}")
        api.later(1)
    first = api.client.get("/v1/services/ns/?page=1", base_url="http://paas.example:8000").get_json()
    second = api.client.get(first["next"]).get_json()

    assert ServicePage.model_validate(first)
    assert (first["count"], len(first["results"]), len(second["results"])) == (23, 20, 3)
    assert first["next"] == "http://paas.example:8000/v1/services/ns/?page=2"
    assert (first["previous"], second["next"]) == (None, None)
    assert second["previous"].endswith("?page=1")
    assert [s["service_name"] for s in first["results"]][:2] == ["s0", "s1"]


def test_list_filters_by_application_also_in_the_old_clients_way(api: Api) -> None:
    api.create("a", application="shop")
    api.create("b")

    for query in ("application=shop", "page=1?application=shop"):
        page = api.get(f"/v1/services/ns?{query}")
        assert ([s["service_name"] for s in page["results"]], page["count"]) == (["a"], 1)
    assert api.get("/v1/services/ns")["count"] == 2


def test_next_page_keeps_filter_and_size(api: Api) -> None:
    for name in ("a", "b"):
        api.create(name, application="my shop")
    page = api.get("/v1/services/ns?application=my+shop&page_size=1")

    assert page["next"].endswith("?page=2&page_size=1&application=my+shop")
    assert len(api.get(page["next"])["results"]) == 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("page=0", 404),
        ("page=2", 404),
        ("page=x", 404),
        ("page=-1", 404),
        ("page=99999999999", 404),
        ("page=", 200),
        ("page_size=0", 400),
        ("page_size=201", 400),
        ("page_size=x", 400),
        ("page_size=200", 200),
        ("application=%00", 400),
    ],
)
def test_odd_pages_get_a_clear_status(api: Api, query: str, status: int) -> None:
    api.create()

    assert api.client.get(f"/v1/services/ns?{query}").status_code == status


def test_namespace_nobody_uses_is_an_empty_list(api: Api) -> None:
    assert api.get("/v1/services/nobody") == {"count": 0, "previous": None, "results": [], "next": None}
