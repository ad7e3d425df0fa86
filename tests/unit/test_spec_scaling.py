"""Metrics, thresholds and the own keys of an autoscaling_config, and what they need of the service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.spec_samples import CONFIG, create, faults, short, update

WEB = {"container_port": 80, "endpoint_type": "http-endpoint"}
SSH = {"container_port": 22, "endpoint_type": "tcp-endpoint"}
DIRECT = {"container_port": 22, "endpoint_type": "direct-endpoint"}
FORMS = (lambda config: config, json.dumps)  # as an object, and as JSON text


def config_of(*ports: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The config as it is kept, after `changes`; the same in both forms."""
    kept = [
        create(scaling_mode="AUTO", instance_ports=[*ports], autoscaling_config=form(CONFIG | changes)).spec
        for form in FORMS
    ]
    assert kept[0] == kept[1]
    config = kept[0].autoscaling_config
    assert config is not None
    return config.model_dump(mode="json")


@pytest.mark.parametrize(
    ("changes", "upper"),
    [
        ({"upper_threshold": "0.75"}, "0.75"),
        ({"upper_threshold": 0.75}, "0.75"),
        ({"upper_threshold": "1"}, "1"),
        ({"metric_name": "MEMORY_UTILIZATION", "upper_threshold": ".5"}, ".5"),
        ({"metric_stat": "MAX", "upper_threshold": 1.0}, "1.0"),
        ({"metric_stat": "SUM", "upper_threshold": 2.5}, "2.5"),
        ({"metric_stat": "SUM", "upper_threshold": "12"}, "12"),
        ({"metric_stat": "COUNT", "lower_threshold": 0, "upper_threshold": 4}, "4"),
        ({"metric_name": "REQUESTS_PER_SECOND", "upper_threshold": 120}, "120"),
        ({"metric_name": "REQUESTS_PER_SECOND", "upper_threshold": "99.5"}, "99.5"),
        ({"metric_name": "CONNECTIONS", "metric_stat": "MAX", "upper_threshold": "1000"}, "1000"),
    ],
    ids=short,
)
def test_threshold_of_its_kind_is_kept_as_text(changes: dict[str, Any], upper: str) -> None:
    assert config_of(WEB, **changes)["upper_threshold"] == upper


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric_stat": "MAX", "upper_threshold": 2}, "a threshold is a fraction from 0 to 1, 0.6 means 60 %"),
        ({"metric_stat": "MIN", "upper_threshold": "1.01"}, "above 1"),
        ({"metric_name": "MEMORY_UTILIZATION", "upper_threshold": "60"}, "0.6 means 60 %"),
        ({"metric_stat": "SUM", "upper_threshold": -1}, "any number from 0 on"),
        ({"metric_stat": "SUM", "upper_threshold": "many"}, "any number from 0 on"),
        ({"metric_name": "CONNECTIONS", "upper_threshold": "1e3"}, "any number from 0 on"),
        ({"metric_name": "CONNECTIONS", "upper_threshold": True}, "any number from 0 on"),
        ({"metric_name": "CONNECTIONS", "upper_threshold": None}, "any number from 0 on"),
        ({"metric_name": "CONNECTIONS", "lower_threshold": 5, "upper_threshold": 4}, "not above lower_threshold 5"),
    ],
    ids=short,
)
def test_threshold_of_another_kind_is_refused(changes: dict[str, Any], said: str) -> None:
    for form in FORMS:
        found = faults(instance_ports=[WEB], scaling_mode="AUTO", autoscaling_config=form(CONFIG | changes))
        assert said in found["autoscaling_config.upper_threshold"]


@pytest.mark.parametrize("metric", ["REQUESTS_PER_SECOND", "CONNECTIONS"])
def test_proxy_metric_needs_an_endpoint_behind_the_proxy(metric: str) -> None:
    assert config_of(SSH, metric_name=metric)["metric_name"] == metric
    for ports in ([], [DIRECT]):
        found = faults(instance_ports=ports, autoscaling_config=CONFIG | {"metric_name": metric})
        assert "needs an http-endpoint or a tcp-endpoint" in found["autoscaling_config.metric_name"]


@pytest.mark.parametrize("minimum", [0, "0"])
def test_minimum_zero_needs_an_http_endpoint(minimum: Any) -> None:
    assert config_of(WEB, minimum_num_instances=minimum)["minimum_num_instances"] == 0
    for ports in ([], [SSH], [DIRECT]):
        found = faults(instance_ports=ports, autoscaling_config=CONFIG | {"minimum_num_instances": minimum})
        assert "only with an http-endpoint" in found["autoscaling_config.minimum_num_instances"]


def test_endpoint_that_the_config_needs_cannot_be_taken_away() -> None:
    sleepy = {"instance_ports": [WEB], "autoscaling_config": CONFIG | {"minimum_num_instances": 0}}

    kept = update(sleepy, scaling_mode="AUTO").spec
    assert kept.autoscaling_config is not None
    with pytest.raises(ValueError, match="only with an http-endpoint"):
        update(sleepy, instance_ports=[SSH])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"idle_seconds": 60}, {"idle_seconds": 60}),
        ({"idle_seconds": "86400"}, {"idle_seconds": 86400}),
        ({"dry_run": True}, {"dry_run": True}),
        ({"dry_run": "true"}, {"dry_run": True}),
        ({"dry_run": "1"}, {"dry_run": True}),
        ({"dry_run": 0}, {"dry_run": False}),
        ({"dry_run": "false"}, {"dry_run": False}),
        ({"dry_run": None, "idle_seconds": None}, {}),
        ({}, {}),
    ],
    ids=short,
)
def test_own_keys_are_shown_only_where_they_were_given(given: dict[str, Any], kept: dict[str, Any]) -> None:
    shown = config_of(WEB, **given)

    assert {key: shown[key] for key in ("idle_seconds", "dry_run") if key in shown} == kept


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"idle_seconds": 0}, "idle_seconds", "1 to 86400"),
        ({"idle_seconds": 86401}, "idle_seconds", "1 to 86400"),
        ({"idle_seconds": "soon"}, "idle_seconds", "not a whole number"),
        ({"dry_run": "yes"}, "dry_run", "one of true, false, 1, 0"),
        ({"dry_run": 2}, "dry_run", "one of true, false, 1, 0"),
        ({"dry_run": []}, "dry_run", "one of true, false, 1, 0"),
        ({"minimum_num_instances": -1}, "minimum_num_instances", "0 to 1000"),
    ],
    ids=short,
)
def test_fault_in_the_own_keys_names_its_place(change: dict[str, Any], path: str, said: str) -> None:
    assert said in faults(instance_ports=[WEB], autoscaling_config=CONFIG | change)[f"autoscaling_config.{path}"]


def test_number_given_as_null_is_not_named() -> None:
    assert update({}, target_num_instances=None, image_tag="2").named == {"image_tag"}
