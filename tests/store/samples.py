"""Specs, times and ports that the tests of the store share."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy.orm import Session

from orchestrator.spec import ServiceSpec
from orchestrator.store.records import ServiceRecord
from orchestrator.store.services import ServiceStore

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def later(seconds: float) -> datetime:
    """So many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def a_spec(name: str = "web", **changes: Any) -> ServiceSpec:
    """A started service of two instances, with `changes`."""
    fields = {
        "service_name": name,
        "image_name": "registry.example/web",
        "image_tag": "1",
        "target_num_instances": 2,
        "region_name": "SHANGHAI1",
        "instance_envvars": {"PASSWORD": "very-secret"},
        "application": "shop",
    }
    return ServiceSpec.model_validate(fields | changes)


def endpoint(container_port: int, endpoint_type: str = "tcp-endpoint") -> dict[str, Any]:
    """An entry of instance_ports."""
    return {"container_port": container_port, "protocol": "tcp", "endpoint_type": endpoint_type}


def counting(first: int = 20000) -> Callable[[], int]:
    """A `choose_port` that counts upwards."""
    numbers = itertools.count(first)
    return lambda: next(numbers)


def create(session: Session, spec: ServiceSpec, *, namespace: str = "ns", now: datetime = NOW) -> ServiceRecord:
    """Create the service under a new uuid."""
    return ServiceStore(session).create(
        namespace, spec, uuid=str(uuid4()), created_by="ann", now=now, choose_port=counting()
    )


def replace(
    session: Session,
    service: ServiceRecord,
    *,
    recheck_image: bool = False,
    now: datetime = later(60),  # noqa: B008
    choose_port: Callable[[], int] | None = None,
    reason: str = "",
    counted: bool = False,
    **changes: Any,
) -> ServiceRecord:
    """Replace the spec of `service`, as it was read, by one with `changes`."""
    spec = ServiceSpec.model_validate(service.spec.model_dump(mode="json") | changes)
    return ServiceStore(session).replace_spec(
        service.uuid,
        spec,
        now=now,
        expected_generation=service.generation,
        recheck_image=recheck_image,
        reason=reason,
        choose_port=choose_port or counting(),
        counted=counted,
    )
