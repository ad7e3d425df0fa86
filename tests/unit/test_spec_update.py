"""Partial updates: what changes, what stays, what cannot change."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.spec import Rules, SpecError, parse_update
from tests.unit.spec_samples import CONFIG, RULES, create, short, update

VOLUMES = [{"app_volume_dir": "/a", "size_gb": 10}, {"app_volume_dir": "/b", "size_gb": 5}]


def test_only_given_keys_change() -> None:
    current = create(instance_envvars={"A": "1"}, run_command="sleep 1", image_tag="1").spec
    parsed = parse_update(current, {"image_tag": "2"}, RULES, namespace="ns")

    assert parsed.spec == current.model_copy(update={"image_tag": "2"})
    assert parsed.named == {"image_tag"}


def test_empty_body_changes_nothing() -> None:
    current = create(instance_ports=[{"container_port": 80}], volumes=VOLUMES).spec

    assert parse_update(current, {}, RULES).spec == current


def test_variables_are_replaced_as_a_whole() -> None:
    assert update({"instance_envvars": {"A": "1", "B": "2"}}, instance_envvars={"C": 3}).spec.instance_envvars == {
        "C": "3"
    }


def test_null_says_nothing_but_takes_out_of_an_application() -> None:
    spec = update({"application": "shop", "target_num_instances": 4}, application=None, target_num_instances=None).spec

    assert (spec.application, spec.target_num_instances) == (None, 4)


@pytest.mark.parametrize("key", ["service_name", "app_name"])
def test_name_may_be_repeated_and_cannot_change(key: str) -> None:
    assert update({}, **{key: "web", "target_num_instances": "3"}).spec.target_num_instances == 3
    with pytest.raises(SpecError, match="cannot be changed"):
        update({}, **{key: "other"})


def test_namespace_may_be_repeated_and_cannot_change() -> None:
    assert update({}, namespace="ns").spec == create().spec
    with pytest.raises(SpecError, match="namespace in the address is 'ns'"):
        update({}, namespace="other")


def test_region_may_be_repeated_and_cannot_change() -> None:
    assert update({}, region_name="BEIJING1").spec.region_name == "BEIJING1"
    with pytest.raises(SpecError, match="a service stays in its region; only BEIJING1"):
        update({}, region_name="SHANGHAI1")


def test_service_in_a_region_no_longer_offered_can_still_change() -> None:
    fewer = Rules(RULES.sizes, ("SHANGHAI1",), "SHANGHAI1")

    assert parse_update(create().spec, {"target_num_instances": 2}, fewer).spec.region_name == "BEIJING1"


def test_volumes_may_come_go_and_grow() -> None:
    new = [{"app_volume_dir": "/a", "size_gb": 20}, {"app_volume_dir": "/c", "size_gb": 1}]

    assert [(v.app_volume_dir, v.size_gb) for v in update({"volumes": VOLUMES}, volumes=new).spec.volumes] == [
        ("/a", 20),
        ("/c", 1),
    ]


def test_volume_cannot_shrink() -> None:
    with pytest.raises(SpecError) as caught:
        update({"volumes": VOLUMES}, volumes=[{"app_volume_dir": "/a", "size_gb": 9}])

    assert "cannot shrink; at least 10" in caught.value.fields["volumes.0.size_gb"][0]


@pytest.mark.parametrize(
    ("current", "change", "said"),
    [
        ({"volumes": VOLUMES}, {"scaling_mode": "AUTO", "autoscaling_config": CONFIG}, "not allowed with volumes"),
        ({"scaling_mode": "AUTO", "autoscaling_config": CONFIG}, {"volumes": VOLUMES}, "not allowed with volumes"),
        ({"scaling_mode": "AUTO", "autoscaling_config": CONFIG}, {"autoscaling_config": {}}, "AUTO needs"),
        ({}, {"scaling_mode": "AUTO"}, "AUTO needs"),
    ],
    ids=short,
)  # fmt: skip
def test_result_is_judged_as_a_whole(current: dict[str, Any], change: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        update(current, **change)


def test_kept_config_serves_when_auto_is_switched_on() -> None:
    assert update({"autoscaling_config": CONFIG}, scaling_mode="AUTO").spec.scaling_mode == "AUTO"


def test_manual_keeps_the_config() -> None:
    spec = update({"scaling_mode": "AUTO", "autoscaling_config": CONFIG}, scaling_mode="MANUAL").spec

    assert spec.autoscaling_config is not None


def test_ports_and_domain_can_change() -> None:
    spec = update({}, instance_ports=[{"container_port": 80}], custom_domain_name="www.myname.com").spec

    assert (spec.instance_ports[0].endpoint_type, spec.custom_domain_name) == ("http-endpoint", "www.myname.com")


def test_unknown_key_is_a_warning_and_with_strict_a_fault() -> None:
    assert "did you mean image_tag?" in update({}, imagetag="2").warnings[0]
    with pytest.raises(SpecError, match="did you mean image_tag"):
        update({}, strict=True, imagetag="2")


def test_all_faults_come_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        update({}, region_name="MARS1", app_name="x", image_tag="a b", target_num_instances=-1)

    assert set(caught.value.fields) == {"region_name", "app_name", "image_tag", "target_num_instances"}
