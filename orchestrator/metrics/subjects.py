"""Whose use is measured: the running instances with their limits, as a pass sees them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from orchestrator.sizes import DEFAULT_SIZES, Size
from orchestrator.state import Instance, Phase

_HAVING_PROCESSES = (Phase.RUNNING, Phase.STOPPING, Phase.PAUSED)


class Subject(NamedTuple):
    """A running instance: the container to read, and its limits by the size of its own revision."""

    engine_url: str
    service_uuid: str
    instance_uuid: str
    container_id: str
    cpu_limit_cores: float
    memory_limit_bytes: int


def subjects(
    engine_url: str,
    service_uuid: str,
    instances: Iterable[Instance],
    size: str,
    own_sizes: Mapping[str, str],
    sizes: Mapping[str, Size],
) -> Iterator[Subject]:
    """Those of a service that have processes now, also while they drain.

    `size`: the wanted revision's; `own_sizes`: by fingerprint, where an instance's revision has another one.
    """
    usual = _limits(size, sizes)
    for instance in instances:
        if instance.container_id and instance.phase in _HAVING_PROCESSES:
            other = own_sizes.get(instance.fingerprint) if own_sizes else None
            limits = _limits(other, sizes) if other else usual
            yield Subject(engine_url, service_uuid, instance.uuid, instance.container_id, *limits)


def _limits(size: str, sizes: Mapping[str, Size]) -> tuple[float, int]:
    found = sizes.get(size) or DEFAULT_SIZES["XS"]
    return found.cpus, found.memory_bytes
