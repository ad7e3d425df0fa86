"""What lies beside a service: instances, logs, plan, events, revisions, volumes, orphans, regions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from api import models
from orchestrator.ingress.traffic import Tally
from orchestrator.store.database import session_scope
from orchestrator.store.lease import beat
from orchestrator.store.schema import RevisionRow
from orchestrator.store.traffic import Traffic
from tests.api.conftest import NOW, Api

SECOND = 1_433_753_256


def test_instances_and_one_of_them(api: Api) -> None:
    uuid = api.create()["uuid"]
    living = api.add_instance(uuid, ports=[[22, "tcp", 32768]], started_at=NOW)
    past = api.add_instance(uuid, 1, "gone", gone_at=NOW, exit_code=3, reason="died")
    listed = api.get("/v1/services/ns/web/instances")

    assert models.Instances.model_validate(listed)
    assert [i["uuid"] for i in listed] == [living]
    assert api.get(f"/v1/services/ns/web/instances/{living}") == listed[0]
    assert listed[0]["instance_ports"][0]["service_port"] == 32768
    gone = api.get(f"/v1/services/ns/web/instances/{past}/")
    assert (gone["phase"], gone["exit_code"], gone["reason"]) == ("gone", 3, "died")


def test_instance_of_another_service_is_404(api: Api) -> None:
    api.create()
    stranger = api.add_instance(api.create("other")["uuid"])

    assert api.client.get(f"/v1/services/ns/web/instances/{stranger}").status_code == 404


def test_logs_are_an_array_with_both_ends_included(api: Api) -> None:
    uuid = api.create()["uuid"]
    one, two = "a9aff249-0db5-11e5-9fa4-0240eaf5c02d", "a9afcb38-0db5-11e5-9fa4-0240eaf5c02d"
    api.log(uuid, one, SECOND - 0.5, "before")
    api.log(uuid, one, SECOND, '"GET /alauda.jpg HTTP/1.1" 200 -')
    api.log(uuid, two, SECOND + 4.9, "“last”")
    api.log(uuid, one, SECOND + 5, "after")
    response = api.client.get(f"/v1/services/ns/web/logs?start_time={SECOND}&end_time={SECOND + 4}")

    assert response.text == (
        '[{"instance_id": "a9aff249", "message": "\\"GET /alauda.jpg HTTP/1.1\\" 200 -", "time": 1433753256}, '
        '{"instance_id": "a9afcb38", "message": "“last”", "time": 1433753260}]'
    )


def test_logs_default_to_the_last_quarter_of_an_hour(api: Api) -> None:
    uuid = api.create()["uuid"]
    now = NOW.timestamp()
    for age, message in ((1000, "old"), (890, "young"), (-0.2, "now")):
        api.log(uuid, uuid, now - age, message)

    assert [line["message"] for line in api.get("/v1/services/ns/web/logs")] == ["young", "now"]
    assert api.get(f"/v1/services/ns/web/logs?end_time={int(now) - 950}")[0]["message"] == "old"


def test_logs_of_one_instance_are_its_own(api: Api) -> None:
    uuid = api.create()["uuid"]
    one, two = api.add_instance(uuid), api.add_instance(uuid, 1)
    api.log(uuid, one, SECOND, "mine")
    api.log(uuid, two, SECOND, "other")

    lines = api.get(f"/v1/services/ns/web/instances/{one}/logs?start_time={SECOND}&end_time={SECOND}&application=a")
    assert [line["message"] for line in lines] == ["mine"]


def test_long_logs_come_in_full_and_in_order(api: Api) -> None:
    uuid = api.create()["uuid"]
    for number in range(1200):
        api.log(uuid, uuid, SECOND, f"line {number}")
    lines = api.get(f"/v1/services/ns/web/logs?start_time={SECOND}&end_time={SECOND}")

    assert [line["message"] for line in lines] == [f"line {number}" for number in range(1200)]


@pytest.mark.parametrize("query", ["", "?start_time=9000000000", f"?start_time={SECOND}&end_time={SECOND - 1}"])
def test_logs_of_nothing_are_an_empty_array(api: Api, query: str) -> None:
    api.create()

    assert api.client.get(f"/v1/services/ns/web/logs{query}").text == "[]"


@pytest.mark.parametrize("query", ["start_time=x", "end_time=-1", "start_time=1.5", "end_time=99999999999999999999"])
def test_logs_with_a_bad_time_are_refused_by_name(api: Api, query: str) -> None:
    api.create()
    response = api.client.get(f"/v1/services/ns/web/logs?{query}")

    assert response.status_code == 400
    assert list(response.get_json()["error"]["fields"]) == [query.split("=")[0]]


def resolve(api: Api, service_uuid: str) -> None:
    """The image of revision 1 was pulled; its instances carry the fingerprint of `Api.add_instance`."""
    with api.sessions.begin() as session:
        row = session.get_one(RevisionRow, (service_uuid, 1))
        row.image_id, row.fingerprint = "sha256:1", "0123456789ab"


def plan(api: Api, body: dict[str, Any] | None = None, name: str = "web") -> dict[str, Any]:
    response = api.client.post(f"/v1/services/ns/{name}/plan", json=body)
    assert response.status_code == 200, response.text
    assert models.PlanAnswer.model_validate(response.get_json())
    answer: dict[str, Any] = response.get_json()
    return answer


def test_plan_of_a_converged_service_is_empty(api: Api) -> None:
    uuid = api.create()["uuid"]
    resolve(api, uuid)
    api.add_instance(uuid, started_at=NOW)
    with api.sessions.begin() as session:
        beat(session, "engine:unix:///var/run/docker.sock", NOW)
    api.later(2.5)
    answer = api.client.post("/v1/services/ns/web/plan").get_json()

    assert (answer["actions"], answer["waiting"], answer["generation"]) == ([], [], 1)
    assert answer["observed_at"] == "2026-01-02T03:04:05.678Z"
    assert answer["observation_age_seconds"] == 2.5


def test_plan_of_a_change_says_what_it_would_do_and_stores_nothing(api: Api) -> None:
    uuid = api.create()["uuid"]
    resolve(api, uuid)
    api.add_instance(uuid, started_at=NOW)

    (launch,) = plan(api, {"target_num_instances": 2})["actions"]
    assert (launch["action"], launch["slot"]) == ("launch", 1)
    assert plan(api, {"image_tag": "2"})["actions"][0]["image"] == "registry.example/web:2"
    assert [a["action"] for a in plan(api, {"target_state": "STOPPED"})["actions"]] == ["stop"]
    assert [a["action"] for a in plan(api, {"image_tag": "latest"})["actions"]] == ["pull"]
    assert plan(api, {"imagetag": "2"})["warnings"]
    assert api.get("/v1/services/ns/web")["generation"] == 1


def test_plan_of_a_new_name_is_that_of_its_create(api: Api) -> None:
    answer = plan(api, {"image_name": "reg.example/a", "image_tag": "7"}, name="fresh")

    assert [(a["action"], a["image"]) for a in answer["actions"]] == [("pull", "reg.example/a:7")]
    assert api.client.get("/v1/services/ns/fresh").status_code == 404


def test_plan_without_a_body_for_an_unknown_name_is_404(api: Api) -> None:
    assert api.client.post("/v1/services/ns/none/plan").status_code == 404


def test_plan_of_a_bad_change_is_refused(api: Api) -> None:
    api.create()

    assert api.client.post("/v1/services/ns/web/plan", json={"target_num_instances": -1}).status_code == 400


def test_plan_over_an_engine_in_trouble_waits(api: Api) -> None:
    api.create()
    with api.sessions.begin() as session:
        beat(session, "engine:unix:///var/run/docker.sock", NOW, trouble="connection refused")
    answer = plan(api, {})

    assert (answer["actions"], answer["waiting"]) == ([], ["connection refused"])


def test_events_tell_the_story_and_go_on_after_an_id(api: Api) -> None:
    api.create()
    api.client.put("/v1/services/ns/web/stop")
    first = api.get("/v1/services/ns/web/events")
    api.client.put("/v1/services/ns/web/start")
    later = api.get(f"/v1/services/ns/web/events?after={first['last_id']}")

    assert models.EventsAnswer.model_validate(first)
    assert [e["kind"] for e in first["results"]] == ["created", "stopped"]
    assert [e["kind"] for e in later["results"]] == ["started"]
    assert first["results"][0]["service"] == "ns/web"
    assert [e["kind"] for e in api.get("/v1/services/ns/web/events?limit=1")["results"]] == ["started"]


def test_operators_see_events_of_all_services(api: Api) -> None:
    api.create("a")
    api.create("b")
    api.client.delete("/v1/services/ns/a")

    assert [e["service"] for e in api.get("/v1/events")["results"]] == ["ns/a", "ns/b", "ns/a"]
    assert len(api.get("/v1/events?after=1&limit=1")["results"]) == 1
    assert api.client.get("/v1/events?limit=0").status_code == 400


def test_twenty_revisions_are_kept(api: Api) -> None:
    api.create()
    for number in range(25):
        api.client.put("/v1/services/ns/web", json={"image_tag": f"t{number}"})
    revisions = api.get("/v1/services/ns/web/revisions")

    assert models.Revisions.model_validate(revisions)
    assert [r["number"] for r in revisions] == list(range(26, 6, -1))
    assert [r["number"] for r in revisions if r["current"]] == [26]
    assert revisions[0]["spec"]["image_tag"] == "t24"


def test_volumes_are_shown_slot_by_slot(api: Api) -> None:
    uuid = api.create(volumes=[{"app_volume_dir": "/data"}])["uuid"]
    api.add_volume(uuid, 0, used_bytes=5, used_at=NOW, enforced=True)
    api.add_volume(uuid, 1)
    volumes = api.get("/v1/services/ns/web/volumes")

    assert models.Volumes.model_validate(volumes)
    assert [(v["slot"], v["app_volume_dir"], v["used_bytes"], v["enforced"]) for v in volumes] == [
        (0, "/data", 5, True),
        (1, "/data", None, False),
    ]


def test_orphan_is_listed_and_marked_for_removal(api: Api) -> None:
    name = api.add_volume("gone", orphaned_at=NOW)
    api.add_volume("living")
    (orphan,) = api.get("/v1/volumes/orphans")

    assert models.OrphanAnswer.model_validate(orphan)
    assert (orphan["name"], orphan["service"], orphan["remove_requested_at"]) == (name, "ns/web", None)
    assert api.client.delete(f"/v1/volumes/orphans/{name}/").status_code == 204
    assert api.client.delete(f"/v1/volumes/orphans/{name}").status_code == 204
    (orphan,) = api.get("/v1/volumes/orphans")
    assert orphan["remove_requested_at"] == "2026-01-02T03:04:05.678Z"
    assert [e["kind"] for e in api.get("/v1/events")["results"]] == ["volume_removal_requested"]
    assert api.woken == ["gone", "gone"]


def test_volume_in_use_is_no_orphan(api: Api) -> None:
    name = api.add_volume("living")

    assert api.client.delete(f"/v1/volumes/orphans/{name}").status_code == 404
    assert api.client.delete("/v1/volumes/orphans/a%00").status_code == 404


def test_regions_are_listed_with_the_default(api: Api) -> None:
    regions = api.get("/v1/regions/")

    assert models.Regions.model_validate(regions)
    assert [(r["name"], r["IaaS"], r["default"]) for r in regions] == [
        ("BEIJING1", "DOCKER", True),
        ("HONGKONG1", "DOCKER", False),
        ("SHANGHAI1", "DOCKER", False),
    ]


def test_traffic_is_shown_by_the_minute_and_only_in_the_range(api: Api) -> None:
    uuid = api.create()["uuid"]
    with session_scope(api.sessions, write=True) as session:
        Traffic(session).add(api.now, {uuid: Tally(4, 1, 40, 400, 2, 10.0)})
        Traffic(session).add(api.now - timedelta(hours=2), {uuid: Tally(9)})
    minute = int(api.now.timestamp()) // 60 * 60

    (shown,) = api.get("/v1/services/ns/web/traffic")
    assert shown == {
        "time": minute,
        "requests": 4,
        "errors_5xx": 1,
        "bytes_in": 40,
        "bytes_out": 400,
        "sessions_max": 2,
        "response_ms": 2.5,
    }
    older = api.get(f"/v1/services/ns/web/traffic?start_time={minute - 9000}&end_time={minute - 60}")
    assert [m["requests"] for m in older] == [9]
    assert older[0]["response_ms"] == 0
    assert api.client.get("/v1/services/ns/web/traffic?start_time=soon").status_code == 400
