"""Ports, volumes and the autoscaling config of a create body, and how each fault in them is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.spec_samples import CONFIG, create, faults, short


@pytest.mark.parametrize(
    ("entry", "path", "said"),
    [
        ({}, "container_port", "is required"),
        ({"container_port": 0}, "container_port", "1 to 65535"),
        ({"container_port": 65536}, "container_port", "1 to 65535"),
        ({"container_port": "http"}, "container_port", "not a whole number"),
        ({"container_port": None}, "container_port", "not a whole number"),
        ({"container_port": 1, "protocol": "sctp"}, "protocol", "one of tcp, http, udp"),
        ({"container_port": 1, "protocol": 6}, "protocol", "one of tcp"),
        ({"container_port": 1, "endpoint_type": "http"}, "endpoint_type", "http-endpoint, direct-endpoint"),
        ({"container_port": 1, "protocol": "udp", "endpoint_type": "tcp-endpoint"}, "endpoint_type", "udp is"),
        ("80", "", "is not an object"),
    ],
    ids=short,
)  # fmt: skip
def test_fault_in_a_port_names_its_place(entry: Any, path: str, said: str) -> None:
    found = faults(instance_ports=[{"container_port": 9}, entry])

    assert said in found[f"instance_ports.1.{path}".rstrip(".")]


@pytest.mark.parametrize(
    ("entry", "protocol", "endpoint_type"),
    [
        ({"container_port": "80"}, "tcp", "http-endpoint"),
        ({"container_port": 22}, "tcp", "tcp-endpoint"),
        ({"container_port": 8080, "protocol": "http"}, "tcp", "tcp-endpoint"),
        ({"container_port": 53, "protocol": "udp"}, "udp", "direct-endpoint"),
        ({"container_port": 80, "endpoint_type": "internal-endpoint"}, "tcp", "internal-endpoint"),
        ({"container_port": 80, "endpoint_type": "", "protocol": None}, "tcp", "http-endpoint"),
    ],
    ids=short,
)
def test_port_gets_its_protocol_and_type(entry: dict[str, Any], protocol: str, endpoint_type: str) -> None:
    (port,) = create(instance_ports=[entry]).spec.instance_ports

    assert (port.protocol, port.endpoint_type) == (protocol, endpoint_type)


def test_one_port_may_have_several_types() -> None:
    types = ("tcp-endpoint", "http-endpoint", "direct-endpoint", "internal-endpoint")
    ports = [{"container_port": 80, "endpoint_type": kind} for kind in types]

    assert tuple(p.endpoint_type for p in create(instance_ports=ports).spec.instance_ports) == types


@pytest.mark.parametrize(
    ("entry", "path", "said"),
    [
        ({}, "app_volume_dir", "is required"),
        ({"app_volume_dir": "data"}, "app_volume_dir", "absolute path"),
        ({"app_volume_dir": "/a/../b"}, "app_volume_dir", "absolute path"),
        ({"app_volume_dir": "/a:b"}, "app_volume_dir", "absolute path"),
        ({"app_volume_dir": "/"}, "app_volume_dir", "cannot be a volume"),
        ({"app_volume_dir": "/proc/x"}, "app_volume_dir", "cannot be a volume"),
        ({"app_volume_dir": "/" + "a" * 300}, "app_volume_dir", "at most 255"),
        ({"app_volume_dir": 5}, "app_volume_dir", "not a text"),
        ({"app_volume_dir": "/a", "size_gb": 0}, "size_gb", "1 to"),
        ({"app_volume_dir": "/a", "size_gb": "big"}, "size_gb", "not a whole number"),
        ({"app_volume_dir": "/a", "volume_type": "a b"}, "volume_type", "not allowed"),
        ({"app_volume_dir": "/a", "backup_id": "b1"}, "backup_id", "not a backup of this installation"),
        ({"app_volume_dir": "/a", "backup_id": 5}, "backup_id", "not allowed"),
    ],
    ids=short,
)
def test_fault_in_a_volume_names_its_place(entry: Any, path: str, said: str) -> None:
    found = faults(volumes=[entry])

    assert said in found[f"volumes.0.{path}"]


def test_volume_defaults_and_texts_are_read() -> None:
    volumes = create(volumes=[{"app_volume_dir": "/a//b/"}, {"app_volume_dir": "/c", "size_gb": "7"}]).spec.volumes

    assert [(v.app_volume_dir, v.size_gb, v.volume_type) for v in volumes] == [("/a/b", 10, "EBS"), ("/c", 7, "EBS")]


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"metric_name": "DISK"}, "metric_name", "one of CPU_UTILIZATION, MEMORY_UTILIZATION"),
        ({"metric_stat": "P99"}, "metric_stat", "one of MEAN"),
        ({"upper_threshold": "60"}, "upper_threshold", "0.6 means 60 %"),
        ({"upper_threshold": "x"}, "upper_threshold", "not a fraction"),
        ({"upper_threshold": True}, "upper_threshold", "not a fraction"),
        ({"upper_threshold": "0.1"}, "upper_threshold", "not above lower_threshold"),
        ({"lower_threshold": -0.1}, "lower_threshold", "not a fraction"),
        ({"increase_delta": 0}, "increase_delta", "1 to 1000"),
        ({"decrease_delta": "x"}, "decrease_delta", "not a whole number"),
        ({"minimum_num_instances": 0}, "minimum_num_instances", "1 to 1000"),
        ({"maximum_num_instances": 0}, "maximum_num_instances", "1 to 1000"),
        ({"minimum_num_instances": 5, "maximum_num_instances": 4}, "maximum_num_instances", "below minimum"),
        ({"wait_period": -1}, "wait_period", "0 to 86400"),
    ],
    ids=short,
)
def test_fault_in_the_autoscaling_config_names_its_place(change: dict[str, Any], path: str, said: str) -> None:
    for mode in ("AUTO", "MANUAL"):
        assert said in faults(scaling_mode=mode, autoscaling_config=CONFIG | change)[f"autoscaling_config.{path}"]


def test_autoscaling_config_may_be_a_text_with_numbers() -> None:
    numbers = json.dumps(CONFIG | {"upper_threshold": 0.75, "wait_period": 5})
    config = create(scaling_mode="AUTO", autoscaling_config=numbers).spec.autoscaling_config

    assert config is not None
    assert (config.upper_threshold, config.lower_threshold, config.wait_period) == ("0.75", "0.1", 5)


@pytest.mark.parametrize("config", [{}, "{}", "", None], ids=short)
def test_auto_without_a_config_is_refused(config: Any) -> None:
    assert "AUTO needs an autoscaling_config" in faults(scaling_mode="AUTO", autoscaling_config=config)["scaling_mode"]


def test_auto_with_volumes_is_refused_with_the_reason() -> None:
    found = faults(scaling_mode="AUTO", autoscaling_config=CONFIG, volumes=[{"app_volume_dir": "/a"}])

    assert "each instance keeps its own data" in found["scaling_mode"]
