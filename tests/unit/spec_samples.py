"""Bodies and rules that the tests of the spec share."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.spec import Parsed, Rules, SpecError, parse_create, parse_update

RULES = Rules(("XXS", "XS", "S", "M", "L", "XL"), ("BEIJING1", "HONGKONG1", "SHANGHAI1"), "BEIJING1")
CONFIG = {
    "metric_name": "CPU_UTILIZATION",
    "metric_stat": "MEAN",
    "upper_threshold": "0.6",
    "lower_threshold": "0.1",
    "decrease_delta": "1",
    "increase_delta": "1",
    "minimum_num_instances": "1",
    "maximum_num_instances": "6",
    "wait_period": "30",
}
# the create example of the services document
EXAMPLE: dict[str, Any] = {
    "service_name": "test",
    "namespace": "madams",
    "application": "app_name_or_null",
    "image_name": "index.alauda.cn/alauda/ubuntu",
    "image_tag": "latest",
    "run_command": "",
    "instance_size": "XS",
    "scaling_mode": "MANUAL",
    "target_state": "STARTED",
    "custom_domain_name": "my-own-domain.cn",
    "target_num_instances": 2,
    "instance_envvars": {
        "POSTGRES_USER": "root",
        "POSTGRES_PASSWORD": "123456",
        "PG_HOST": "127.0.0.1",
        "PG_PORT": "5432",
        "REPO_NAME": "pypg2",
        "FILENAME": "scale_with_db",
    },
    "instance_ports": [
        {"container_port": 22, "protocol": "tcp", "endpoint_type": "tcp-endpoint"},
        {"container_port": 22, "protocol": "tcp", "endpoint_type": "direct-endpoint"},
    ],
    "autoscaling_config": CONFIG,
    "volumes": [
        {"app_volume_dir": "/data1", "volume_type": "EBS", "size_gb": 10},
        {"app_volume_dir": "/data2", "volume_type": "EBS", "size_gb": 20},
    ],
    "region_name": "SHANGHAI1",
}


def create(*, strict: bool = False, **changes: Any) -> Parsed:
    """Parse a small create body with `changes`."""
    body = {"service_name": "web", "image_name": "registry.example/web", **changes}
    return parse_create(body, RULES, namespace="ns", strict=strict)


def update(current: dict[str, Any], strict: bool = False, **changes: Any) -> Parsed:
    """Parse an update body over a small service made with `current`."""
    return parse_update(create(**current).spec, changes, RULES, namespace="ns", strict=strict)


def faults(**changes: Any) -> dict[str, str]:
    """The faults of a create body, joined per field."""
    try:
        create(**changes)
    except SpecError as error:
        return {path: "; ".join(said) for path, said in error.fields.items()}
    return {}


def short(value: Any) -> str:
    """A name for a parametrised case."""
    return json.dumps(value, default=repr)[:40] if not isinstance(value, str) else value[:40]
