"""What a container and its volumes look like, from a spec and an identity."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.engine.base import ContainerConfig, Mount, PortBinding
from orchestrator.engine.container_config import (
    GIB,
    container_config,
    hostname,
    log_options,
    volume_configs,
    volume_name,
)
from orchestrator.sizes import DEFAULT_SIZES
from orchestrator.spec import ServiceSpec

SERVICE = "9f8e7d6c-0000-4000-8000-000000000001"
INSTANCE = "11111111-2222-4333-8444-555555555555"


def made(**fields: Any) -> ContainerConfig:
    """The container of slot 0 of a service of these fields."""
    spec = ServiceSpec.model_validate({"service_name": "test", "image_name": "host/web"} | fields)
    return container_config(
        spec=spec,
        service_uuid=SERVICE,
        namespace="madams",
        instance_uuid=INSTANCE,
        slot=0,
        fingerprint="0123456789ab",
        image_id="sha256:" + "a" * 64,
        installation="skylark-1a2b",
        size=DEFAULT_SIZES["XS"],
        base_domain="skylark.local",
        log_max_size="5m",
        stop_grace_seconds=7,
    )


def test_identity_stands_in_name_labels_and_host_name() -> None:
    config = made()
    assert config.name == f"skylark-{INSTANCE}"
    assert config.hostname == "test-0"
    assert config.labels == {
        "skylark.installation": "skylark-1a2b",
        "skylark.service": SERVICE,
        "skylark.service_name": "madams/test",
        "skylark.instance": INSTANCE,
        "skylark.slot": "0",
        "skylark.revision": "0123456789ab",
    }


def test_image_is_the_resolved_one_and_limits_are_those_of_the_size() -> None:
    config = made(image_tag="v9")
    assert config.image_id == "sha256:" + "a" * 64
    assert (config.cpus, config.memory_bytes) == (0.25, 512 * 1024 * 1024)
    assert config.log_options == {"max-size": "5m", "max-file": "5"}
    assert config.stop_grace_seconds == 7


def test_local_log_is_not_compressed_as_the_collector_reads_it() -> None:
    assert log_options("local", "1m", 2) == {"max-size": "1m", "max-file": "2", "compress": "false"}


def test_environment_holds_the_default_domain_and_the_instance_s_own_names() -> None:
    assert made(instance_envvars={"PG_HOST": "127.0.0.1"}).environment == {
        "__DEFAULT_DOMAIN_NAME__": "test-madams.skylark.local",
        "SKYLARK_SERVICE": "test",
        "SKYLARK_INSTANCE": INSTANCE,
        "SKYLARK_SLOT": "0",
        "PG_HOST": "127.0.0.1",
    }


def test_variable_of_the_user_wins() -> None:
    assert made(instance_envvars={"SKYLARK_SLOT": "mine"}).environment["SKYLARK_SLOT"] == "mine"


@pytest.mark.parametrize(
    ("text", "words"),
    [("", None), ("sleep 60", ("sleep", "60")), ("sh -c 'echo \"a b\"; sleep 1'", ("sh", "-c", 'echo "a b"; sleep 1'))],
)
def test_command_and_entrypoint_are_split_into_words(text: str, words: tuple[str, ...] | None) -> None:
    assert made(run_command=text).command == words
    assert made(entrypoint=text).entrypoint == words


def test_only_direct_endpoints_are_published_and_each_port_stands_once() -> None:
    ports = [
        {"container_port": 22, "protocol": "tcp", "endpoint_type": "tcp-endpoint"},
        {"container_port": 22, "protocol": "tcp", "endpoint_type": "direct-endpoint"},
        {"container_port": 80, "protocol": "tcp", "endpoint_type": "http-endpoint"},
        {"container_port": 9000, "protocol": "tcp", "endpoint_type": "internal-endpoint"},
    ]
    assert made(instance_ports=ports).ports == (
        PortBinding(22, "tcp", 0),
        PortBinding(80, "tcp", None),
        PortBinding(9000, "tcp", None),
    )


def test_volumes_are_per_slot_and_named_alike_in_container_and_volume() -> None:
    spec = ServiceSpec.model_validate(
        {
            "service_name": "test",
            "image_name": "host/web",
            "volumes": [{"app_volume_dir": "/data1", "size_gb": 10}, {"app_volume_dir": "/data2", "size_gb": 20}],
        }
    )
    names = []
    for slot in (0, 1):
        volumes = volume_configs(
            spec=spec, service_uuid=SERVICE, namespace="madams", slot=slot, installation="skylark-1a2b", mode="loop"
        )
        assert [volume.size_bytes for volume in volumes] == [10 * GIB, 20 * GIB]
        assert volumes[0].labels["skylark.volume_path"] == "/data1"
        assert volumes[0].labels["skylark.installation"] == "skylark-1a2b"
        assert volumes[0].mode == "loop"
        names += [volume.name for volume in volumes]
    assert len(set(names)) == 4
    config = made(volumes=[{"app_volume_dir": "/data1", "size_gb": 10}])
    assert config.mounts == (Mount(names[0], "/data1"),)


def test_volume_name_never_changes() -> None:
    """Another name would lose the users' data."""
    assert volume_name("skylark-1a2b", SERVICE, 0, "/data1") == "skylark-1a2b-9f8e7d6c-0-2a3891a8"


def test_long_service_name_gives_way_to_the_slot_in_the_host_name() -> None:
    assert hostname("web", 2) == "web-2"
    assert hostname("a" * 63, 12) == "a" * 60 + "-12"
    assert hostname("a" * 59 + "-bcd", 123) == "a" * 59 + "-123"
