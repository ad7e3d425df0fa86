"""What the containers and volumes of a service look like. Pure: a spec and its identity in, requests out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from orchestrator.addresses import Place
from orchestrator.endpoints import default_domain_name, exposed_ports, published_ports
from orchestrator.engine.base import (
    LABEL_INSTALLATION,
    LABEL_INSTANCE,
    LABEL_NAMESPACE,
    LABEL_REVISION,
    LABEL_SERVICE,
    LABEL_SERVICE_NAME,
    LABEL_SLOT,
    LABEL_VOLUME_PATH,
    ContainerConfig,
    Mount,
    NetworkConfig,
    PortBinding,
    VolumeConfig,
)
from orchestrator.sizes import Size
from orchestrator.spec import ServiceSpec

GIB = 1024**3
ENGINE_CHOICE = 0  # as host port: the engine takes a free one


def container_name(instance_uuid: str) -> str:
    """Names are unique on an engine, so a second create of one instance is refused."""
    return f"skylark-{instance_uuid}"


def network_name(installation: str, namespace: str) -> str:
    """`skylark-1a2b`, `madams` -> `skylark-1a2b-madams`."""
    return f"{installation}-{namespace}"


def network_config(installation: str, namespace: str, subnet: str) -> NetworkConfig:
    """The network of a namespace."""
    labels = {LABEL_INSTALLATION: installation, LABEL_NAMESPACE: namespace}
    return NetworkConfig(network_name(installation, namespace), labels, subnet)


def volume_name(installation: str, service_uuid: str, slot: int, path: str) -> str:
    """`skylark-1a2b`, `9f8e7d6c-...`, 0, `/data1` -> `skylark-1a2b-9f8e7d6c-0-<8 hex of the path's SHA-256>`."""
    return f"{installation}-{service_uuid[:8]}-{slot}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def container_config(
    *,
    spec: ServiceSpec,
    service_uuid: str,
    namespace: str,
    instance_uuid: str,
    slot: int,
    fingerprint: str,
    image_id: str,
    installation: str,
    size: Size,
    base_domain: str,
    pids_limit: int = 1024,
    log_driver: str = "json-file",
    log_max_size: str = "20m",
    log_max_file: int = 5,
    stop_grace_seconds: int = 10,
    link_variables: Mapping[str, str] | None = None,
    place: Place | None = None,
) -> ContainerConfig:
    """The container of one instance. `base_domain`: where the default domain names of services end.

    Of its ports only the direct-endpoints are published, each on a host port of the engine's choice. `place`: where on
    the namespace's network; None: the engine's own bridge.
    """
    published = set(published_ports(spec.instance_ports))
    return ContainerConfig(
        name=container_name(instance_uuid),
        image_id=image_id,
        labels={
            LABEL_INSTALLATION: installation,
            LABEL_SERVICE: service_uuid,
            LABEL_SERVICE_NAME: f"{namespace}/{spec.service_name}",
            LABEL_INSTANCE: instance_uuid,
            LABEL_SLOT: str(slot),
            LABEL_REVISION: fingerprint,
        },
        environment={
            **(link_variables or {}),
            **environment(spec, namespace, instance_uuid, slot, base_domain),
        },
        command=spec.command_words or None,
        entrypoint=spec.entrypoint_words or None,
        ports=tuple(
            PortBinding(number, protocol, ENGINE_CHOICE if (number, protocol) in published else None)
            for number, protocol in exposed_ports(spec.instance_ports)
        ),
        mounts=tuple(
            Mount(volume_name(installation, service_uuid, slot, volume.app_volume_dir), volume.app_volume_dir)
            for volume in spec.volumes
        ),
        cpus=size.cpus,
        memory_bytes=size.memory_bytes,
        pids_limit=pids_limit,
        log_driver=log_driver,
        log_options=log_options(log_driver, log_max_size, log_max_file),
        hostname=hostname(spec.service_name, slot),
        network=network_name(installation, namespace) if place else "bridge",
        address=place.address if place else "",
        extra_hosts=place.hosts if place else {},
        stop_grace_seconds=stop_grace_seconds,
    )


def log_options(driver: str, max_size: str, max_file: int) -> dict[str, str]:
    """How the engine rotates the log. `local` would compress what it rotates, and the collector reads it as it is."""
    options = {"max-size": max_size, "max-file": str(max_file)}
    return options | {"compress": "false"} if driver == "local" else options


def hostname(service_name: str, slot: int) -> str:
    """`web`, 2 -> `web-2`. A host name ends at 63 characters: a longer service name gives way to the slot."""
    suffix = f"-{slot}"
    return service_name[: 63 - len(suffix)].rstrip("-") + suffix


def environment(spec: ServiceSpec, namespace: str, instance_uuid: str, slot: int, base_domain: str) -> dict[str, str]:
    """The user's variables, which win, and what an instance may want to know of itself."""
    return {
        "__DEFAULT_DOMAIN_NAME__": default_domain_name(spec.service_name, namespace, base_domain),
        "SKYLARK_SERVICE": spec.service_name,
        "SKYLARK_INSTANCE": instance_uuid,
        "SKYLARK_SLOT": str(slot),
        **spec.instance_envvars,
    }


def volume_configs(
    *, spec: ServiceSpec, service_uuid: str, namespace: str, slot: int, installation: str, mode: str = "plain"
) -> tuple[VolumeConfig, ...]:
    """The volumes of one slot, in the order of the spec. `mode`: plain, quota or loop."""
    return tuple(
        VolumeConfig(
            name=volume_name(installation, service_uuid, slot, volume.app_volume_dir),
            labels={
                LABEL_INSTALLATION: installation,
                LABEL_SERVICE: service_uuid,
                LABEL_SERVICE_NAME: f"{namespace}/{spec.service_name}",
                LABEL_SLOT: str(slot),
                LABEL_VOLUME_PATH: volume.app_volume_dir,
            },
            size_bytes=volume.size_gb * GIB,
            mode=mode,
        )
        for volume in spec.volumes
    )
