"""Autoscaling as clients declare, change and read it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from api.models_scaling import AutoscalerAnswer
from orchestrator.autoscaler import InstancePoints, Point, Recommendation, Rule, Samples, ScaleState
from orchestrator.evaluation import keep
from orchestrator.store.autoscaling import Autoscaling
from orchestrator.store.database import session_scope
from orchestrator.store.reads import Reads
from tests.api.conftest import NOW, Api
from tests.unit.spec_samples import CONFIG, short

WEB = {"container_port": 80, "protocol": "tcp", "endpoint_type": "http-endpoint"}
SSH = {"container_port": 22, "protocol": "tcp", "endpoint_type": "tcp-endpoint"}
SENT = CONFIG | {key: int(CONFIG[key]) for key in CONFIG if CONFIG[key].isdecimal()}  # as answers show it
PATH = "/v1/services/ns/web"


def auto(api: Api, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"scaling_mode": "AUTO", "autoscaling_config": CONFIG, "target_num_instances": 2}
    return api.create(**body | changes)


def put(api: Api, **changes: Any) -> dict[str, Any]:
    response = api.client.put(PATH, json=changes)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.get_json()
    return answer


def reach(api: Api, count: int) -> None:
    """As the autoscaler does."""
    with session_scope(api.sessions, write=True) as session:
        record = Reads(session).service("ns", "web")
        assert record is not None
        assert Autoscaling(session).act(record, count, api.now)


@pytest.mark.parametrize("form", [lambda value: value, json.dumps], ids=["object", "JSON text"])
@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, {}),
        ({"wait_period": 5, "maximum_num_instances": 9}, {"wait_period": 5, "maximum_num_instances": 9}),
        ({"upper_threshold": 0.75}, {"upper_threshold": "0.75"}),
        ({"metric_stat": "SUM", "upper_threshold": "3.5"}, {"metric_stat": "SUM", "upper_threshold": "3.5"}),
        (
            {"metric_name": "REQUESTS_PER_SECOND", "upper_threshold": 120},
            {"metric_name": "REQUESTS_PER_SECOND", "upper_threshold": "120"},
        ),
        ({"minimum_num_instances": "0", "idle_seconds": "90"}, {"minimum_num_instances": 0, "idle_seconds": 90}),
        ({"dry_run": "1"}, {"dry_run": True}),
    ],
    ids=short,
)
def test_config_comes_back_as_it_was_sent(api: Api, changes: dict[str, Any], shown: dict[str, Any], form: Any) -> None:
    answer = auto(api, instance_ports=[WEB], autoscaling_config=form(CONFIG | changes))

    assert json.loads(answer["autoscaling_config"]) == SENT | shown
    assert answer["warnings"] == []
    again = put(api, autoscaling_config=answer["autoscaling_config"])
    assert again["generation"] == 1


@pytest.mark.parametrize("form", [lambda value: value, json.dumps], ids=["object", "JSON text"])
@pytest.mark.parametrize(
    ("ports", "changes", "field"),
    [
        ([WEB], {"metric_name": "REQUESTS"}, "metric_name"),
        ([], {"metric_name": "CONNECTIONS"}, "metric_name"),
        ([SSH], {"minimum_num_instances": 0}, "minimum_num_instances"),
        ([WEB], {"upper_threshold": "60"}, "upper_threshold"),
        ([WEB], {"metric_name": "CONNECTIONS", "upper_threshold": "-1"}, "upper_threshold"),
        ([WEB], {"idle_seconds": 0}, "idle_seconds"),
        ([WEB], {"dry_run": "maybe"}, "dry_run"),
    ],
    ids=short,
)
def test_config_that_cannot_work_is_refused_with_its_field(
    api: Api, ports: list[Any], changes: dict[str, Any], field: str, form: Any
) -> None:
    api.create(instance_ports=ports)
    response = api.client.put(PATH, json={"scaling_mode": "AUTO", "autoscaling_config": form(CONFIG | changes)})

    assert response.status_code == 400
    error = response.get_json()["error"]
    assert list(error["fields"]) == [f"autoscaling_config.{field}"]
    assert api.get(PATH)["scaling_mode"] == "MANUAL"


def test_target_shown_follows_the_autoscaler_and_stays_on_the_way_to_manual(api: Api) -> None:
    """As the published client does it: it reads the number and sends it back, or sends none."""
    auto(api)
    reach(api, 5)
    assert api.get(PATH)["target_num_instances"] == 5
    assert api.get(PATH)["last_autoscaled_at"] == "2026-01-02T03:04:05.678Z"
    assert api.get(PATH)["generation"] == 1

    manual = put(api, scaling_mode="MANUAL")

    assert (manual["scaling_mode"], manual["target_num_instances"], manual["generation"]) == ("MANUAL", 5, 2)


def test_put_of_a_number_wins_be_it_the_one_of_the_spec(api: Api) -> None:
    auto(api)
    reach(api, 5)

    scaled = put(api, app_name="web", target_num_instances=2)

    assert (scaled["target_num_instances"], scaled["generation"], scaled["current_status"]) == (2, 2, "Deploying")
    assert api.woken[-1] == scaled["uuid"]


def test_number_given_as_null_keeps_what_was_reached(api: Api) -> None:
    auto(api)
    reach(api, 5)

    assert put(api, target_num_instances=None, image_tag="2")["target_num_instances"] == 5


def test_plan_knows_the_number_that_a_put_would_bring(api: Api) -> None:
    auto(api)
    reach(api, 5)

    def generation_after(body: dict[str, Any]) -> int:
        generation = api.client.post(f"{PATH}/plan", json=body).get_json()["generation"]
        assert isinstance(generation, int)
        return generation

    assert generation_after({"target_num_instances": 5}) == 2
    assert generation_after({"target_num_instances": 2}) == 2
    assert generation_after({"application": None}) == 1


def test_manual_service_has_no_evaluation(api: Api) -> None:
    api.create(target_num_instances=3)
    answer = api.get(f"{PATH}/autoscaler")

    assert AutoscalerAnswer.model_validate(answer)
    assert (answer["mode"], answer["target"], answer["policy"], answer["evaluation"]) == ("MANUAL", 3, None, None)


def test_policy_is_shown_as_numbers(api: Api) -> None:
    auto(api, instance_ports=[WEB], autoscaling_config=CONFIG | {"minimum_num_instances": 0, "idle_seconds": 90})
    answer = api.get(f"{PATH}/autoscaler/")

    assert AutoscalerAnswer.model_validate(answer)
    assert (answer["mode"], answer["dry_run"], answer["target"], answer["evaluation"]) == ("AUTO", False, 2, None)
    policy = answer["policy"]
    assert (policy["metric_name"], policy["lower_threshold"], policy["upper_threshold"]) == (
        "CPU_UTILIZATION",
        0.1,
        0.6,
    )
    assert (policy["minimum_num_instances"], policy["wait_period"], policy["idle_seconds"]) == (0, 30.0, 90.0)
    assert (policy["window_seconds"], policy["sample_seconds"], policy["warmup_seconds"]) == (30.0, 5.0, 15.0)


def test_last_evaluation_is_shown_with_its_samples_and_reason(api: Api) -> None:
    uuid = auto(api)["uuid"]
    point = Point(NOW - timedelta(seconds=1), 0.83)
    samples = Samples((InstancePoints("abc", NOW - timedelta(seconds=60), (point,)), InstancePoints("def", None)))
    found = Recommendation(3, Rule.SCALE_UP, "CPU_UTILIZATION MEAN 0.83 is above 0.6: 2 -> 3", 0.83)
    kept = keep(samples, ScaleState(2), found, dry_run=False, now=NOW)
    with session_scope(api.sessions, write=True) as session:
        Autoscaling(session).keep_round(NOW, {uuid: kept})

    answer = api.get(f"{PATH}/autoscaler")

    assert AutoscalerAnswer.model_validate(answer)
    assert answer["evaluation"] == {
        "at": "2026-01-02T03:04:05.678Z",
        "samples": [
            {
                "uuid": "abc",
                "ready": True,
                "ready_at": "2026-01-02T03:03:05.678Z",
                "points": [{"at": "2026-01-02T03:04:04.678Z", "value": 0.83}],
            },
            {"uuid": "def", "ready": False, "ready_at": None, "points": []},
        ],
        "value": 0.83,
        "rule": "scale_up",
        "action": {"before": 2, "after": 3},
        "reason": "CPU_UTILIZATION MEAN 0.83 is above 0.6: 2 -> 3",
        "wait_seconds": 0.0,
        "limited": False,
        "held_back": False,
        "unsettled": "",
        "demand_at": None,
    }
    for change in ({"target_state": "STOPPED"}, {"scaling_mode": "MANUAL"}):
        put(api, **change)
        assert api.get(f"{PATH}/autoscaler")["evaluation"] is None


def test_autoscaler_of_a_service_that_is_not_there_is_404(api: Api) -> None:
    assert api.client.get(f"{PATH}/autoscaler").status_code == 404
