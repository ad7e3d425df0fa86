"""What makes a container different, and the names an image goes by."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.spec import fingerprint
from tests.unit.spec_samples import CONFIG, create, short

DIGEST = "sha256:" + "a" * 64
BASE: dict[str, Any] = {
    "instance_envvars": {"A": "1", "B": "2"},
    "instance_ports": [{"container_port": 80}, {"container_port": 22}],
    "volumes": [{"app_volume_dir": "/a"}, {"app_volume_dir": "/b"}],
    "linked_to_apps": {"db": "db"},
}


@pytest.mark.parametrize(
    "change",
    [
        {"target_num_instances": 7},
        {"target_state": "STOPPED"},
        {"autoscaling_config": CONFIG},
        {"custom_domain_name": "www.myname.com"},
        {"application": "shop"},
        {"deployment_preference": {"stop_grace_seconds": 3}},
        {"instance_envvars": {"B": "2", "A": "1"}},
        {"instance_ports": BASE["instance_ports"][::-1]},
        {"volumes": BASE["volumes"][::-1]},
    ],
    ids=short,
)
def test_change_beside_the_template_keeps_the_hash(change: dict[str, Any]) -> None:
    assert create(**(BASE | change)).spec.template_hash() == create(**BASE).spec.template_hash()


@pytest.mark.parametrize(
    "change",
    [
        {"image_name": "other"},
        {"image_tag": "2"},
        {"run_command": "sleep 1"},
        {"entrypoint": "sh"},
        {"instance_size": "L"},
        {"instance_envvars": {"A": "1"}},
        {"instance_ports": [{"container_port": 80}]},
        {"volumes": [{"app_volume_dir": "/a"}]},
        {"linked_to_apps": {"db": "DB"}},
    ],
    ids=short,
)
def test_change_of_the_template_changes_the_hash(change: dict[str, Any]) -> None:
    assert create(**(BASE | change)).spec.template_hash() != create(**BASE).spec.template_hash()


@pytest.mark.parametrize(
    ("name", "tag", "reference"),
    [
        ("web", "1", "web:1"),
        ("reg.example:5000/a/web", "latest", "reg.example:5000/a/web:latest"),
        ("web", DIGEST, f"web@{DIGEST}"),
        (f"web@{DIGEST}", "latest", f"web@{DIGEST}"),
        (f"web@{DIGEST}", DIGEST, f"web@{DIGEST}"),
    ],
)
def test_image_reference_is_by_tag_or_digest(name: str, tag: str, reference: str) -> None:
    assert create(image_name=name, image_tag=tag).spec.image_ref == reference


def test_commands_are_split_as_a_shell_would() -> None:
    spec = create(run_command="sh -c 'echo  hi'", entrypoint="/bin/tini --").spec

    assert (spec.command_words, spec.entrypoint_words) == (("sh", "-c", "echo  hi"), ("/bin/tini", "--"))


def test_service_with_volumes_is_stateful() -> None:
    assert create(**BASE).spec.stateful
    assert not create().spec.stateful


def test_fingerprint_names_template_and_image() -> None:
    one = fingerprint("t1", "sha256:1")

    assert len(one) == 12
    assert len({one, fingerprint("t2", "sha256:1"), fingerprint("t1", "sha256:2")}) == 3
    assert one == fingerprint("t1", "sha256:1")
