"""The contract's shapes, made from records without a database."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from api.models import ServiceAnswer
from api.wire import ServiceView, service_json, timestamp
from orchestrator.settings import Settings
from orchestrator.spec import ServiceSpec
from orchestrator.state import Health, Phase
from orchestrator.store.records import InstanceRecord, PortRecord, ServiceRecord
from tests.unit.spec_samples import CONFIG, create

AT = datetime(2015, 4, 14, 9, 46, 39, 457_999, tzinfo=UTC)
SETTINGS = Settings(home=Path("/nowhere"), installation="test", base_domain="alaudacn.me")
# the order of the document's list example
DOCUMENT_KEYS = [
    "unique_name", "service_name", "namespace", "updated_at", "allocation_group", "target_state", "instance_envvars",
    "started_at", "uuid", "linked_to_apps", "stopped_at", "is_deploying", "created_by", "autoscaling_config",
    "instance_ports", "linked_to", "run_command", "custom_domain_name", "deployment_preference", "scaling_mode",
    "image_name", "image_tag", "instance_size", "linked_from_apps", "target_num_instances", "last_autoscaled_at",
    "current_num_instances", "linked_from", "staged_num_instances", "started_num_instances", "instances", "region",
    "created_at", "volumes", "default_domain_name", "resource_uri",
]  # fmt: skip


def a_record(spec: ServiceSpec, **changes: Any) -> ServiceRecord:
    values: dict[str, Any] = {
        "uuid": "1cd688e2-b4eb-4bf8-9113-5caccdec2db6",
        "namespace": "madams",
        "name": spec.service_name,
        "name_key": f"madams/{spec.service_name}",
        "created_by": "madams",
        "application": spec.application,
        "spec": spec,
        "generation": 1,
        "observed_generation": 1,
        "revision": 1,
        "scale_target": None,
        "good_revision": None,
        "rollout_failure": "",
        "recheck_image": False,
        "image_missing": False,
        "pull_failures": 0,
        "pull_retry_at": None,
        "pull_reason": "",
        "current_status": "Running",
        "status_reason": "",
        "is_deploying": False,
        "created_at": AT,
        "updated_at": AT,
        "started_at": None,
        "stopped_at": None,
        "last_redeployed_at": None,
        "last_autoscaled_at": None,
        "deleted_at": None,
        "delete_volumes": False,
    }
    return ServiceRecord(**values | changes)


def an_instance(slot: int = 0, phase: Phase = Phase.RUNNING, health: Health = Health.NONE) -> InstanceRecord:
    return InstanceRecord(
        uuid=f"92d03b63-e34b-11e4-9fa4-0240eaf5c02{slot}",
        service_uuid="1cd688e2-b4eb-4bf8-9113-5caccdec2db6",
        slot=slot,
        revision=1,
        fingerprint="0123456789ab",
        phase=phase,
        health=health,
        container_id="c",
        address="",
        ports=(),
        ready_at=None,
        unready="",
        exit_code=None,
        oom_killed=False,
        reason="",
        created_at=AT,
        started_at=AT if phase is Phase.RUNNING else None,
        finished_at=None,
        gone_at=None,
    )


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, None),
        (AT, "2015-04-14T09:46:39.457Z"),
        (AT.replace(microsecond=0), "2015-04-14T09:46:39.000Z"),
        (AT.astimezone(timezone(timedelta(hours=8))), "2015-04-14T09:46:39.457Z"),
    ],
)
def test_timestamp_has_three_decimals_in_utc(at: datetime | None, text: str | None) -> None:
    assert timestamp(at) == text


def test_service_has_the_documents_keys_in_its_order_and_no_others_than_documented() -> None:
    shape = service_json(ServiceView(a_record(create().spec)), SETTINGS)

    assert list(shape)[: len(DOCUMENT_KEYS)] == DOCUMENT_KEYS
    assert set(shape) == set(ServiceAnswer.model_fields)
    assert ServiceAnswer.model_validate(shape)


def test_documents_values_come_out_as_documented() -> None:
    shape = service_json(ServiceView(a_record(create(service_name="test").spec), (an_instance(),)), SETTINGS)

    assert shape["default_domain_name"] == "test-madams.alaudacn.me"
    assert shape["created_at"] == "2015-04-14T09:46:39.457Z"
    assert shape["instance_ports"] == {}
    assert (shape["linked_to"], shape["linked_from"], shape["linked_from_apps"]) == ("{}", "{}", "{}")
    assert (shape["autoscaling_config"], shape["deployment_preference"]) == ("{}", "{}")
    assert shape["instances"][0]["instance_name"] == "test.0"
    counts = [shape[f"{kind}_num_instances"] for kind in ("target", "current", "started", "staged")]
    assert counts == [1, 1, 1, 0]


def test_unwell_instances_are_current_but_not_started() -> None:
    instances = tuple(
        an_instance(n, health=h) for n, h in enumerate((Health.HEALTHY, Health.UNHEALTHY, Health.STARTING))
    )
    shape = service_json(ServiceView(a_record(create().spec), instances), SETTINGS)

    assert (shape["current_num_instances"], shape["started_num_instances"]) == (3, 1)


@pytest.mark.parametrize("phase", [Phase.EXITED, Phase.VANISHED, Phase.GONE])
def test_ended_instances_are_not_shown(phase: Phase) -> None:
    assert service_json(ServiceView(a_record(create().spec), (an_instance(0, phase),)), SETTINGS)["instances"] == []


def test_instance_that_never_ran_shows_when_it_was_made() -> None:
    shape = service_json(ServiceView(a_record(create().spec), (an_instance(0, Phase.PENDING),)), SETTINGS)

    assert shape["instances"][0]["started_at"] == "2015-04-14T09:46:39.457Z"
    assert shape["staged_num_instances"] == 1


def test_endpoint_without_its_port_yet_is_left_out() -> None:
    spec = create(instance_ports=[{"container_port": 22}, {"container_port": 23}]).spec
    view = ServiceView(a_record(spec), ports=(PortRecord(12345, "u", 23, "tcp-endpoint"),))

    assert service_json(view, SETTINGS)["instance_ports"] == [
        {
            "container_port": 23,
            "protocol": "tcp",
            "endpoint_type": "tcp-endpoint",
            "service_port": 12345,
            "default_domain": "web-madams.alaudacn.me",
            "ipaddress": "sharedip",
        }
    ]


def test_target_follows_the_autoscaler_while_it_rules() -> None:
    auto = create(scaling_mode="AUTO", autoscaling_config=CONFIG, target_num_instances=2).spec

    assert a_record(auto, scale_target=5).count == 5
    assert a_record(auto).count == 2
    manual = auto.model_copy(update={"scaling_mode": "MANUAL"})
    assert a_record(manual, scale_target=5).count == 2


def test_region_no_longer_configured_still_shows_texts() -> None:
    record = a_record(create().spec.model_copy(update={"region_name": "MARS1"}))

    assert service_json(ServiceView(record), SETTINGS)["region"] == {"IaaS": "", "name": "MARS1"}


def test_users_own_default_domain_variable_never_wins() -> None:
    spec = create(instance_envvars={"A": "1"}).spec
    shape = service_json(ServiceView(replace(a_record(spec))), SETTINGS)

    assert json.loads(shape["instance_envvars"]) == {"A": "1", "__DEFAULT_DOMAIN_NAME__": "web-madams.alaudacn.me"}
