"""From actions to jobs: the right engine, image, credentials, volumes and grace for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.actions import Launch, Pull, ReleaseVolumes, Resume, Stop
from orchestrator.engine.base import RegistryAuth
from orchestrator.engine.fake import FakeEngine
from orchestrator.job_maker import JobMaker, registry_auth
from orchestrator.settings import Settings
from orchestrator.spec import ServiceSpec
from orchestrator.state import Desired, Phase
from orchestrator.status import Status
from orchestrator.store.passes import Loaded
from tests.support.world import OLD, SERVICE, UNRESOLVED, WANTED, desired, instance, observed

AUTH = RegistryAuth("ann", "secret")
ENGINE = FakeEngine("test")


def loaded(wanted: Desired, **changes: Any) -> Loaded:
    fields: dict[str, Any] = {
        "desired": wanted,
        "observed": observed(),
        "region": "SHANGHAI1",
        "shown": Status("Running", False, ""),
        "observed_generation": 1,
        "delete_volumes": False,
    }
    return Loaded(**(fields | changes))


def spec(**changes: Any) -> ServiceSpec:
    fields = {"service_name": "web", "image_name": "registry.example/web", "region_name": "SHANGHAI1"}
    return ServiceSpec.model_validate(fields | changes)


@pytest.fixture
def maker() -> JobMaker:
    return JobMaker(Settings(home=Path("/nowhere"), installation="test", registries={"registry.example": AUTH}))


def test_launch_uses_the_image_its_revision_resolved_and_the_revisions_labels(maker: JobMaker) -> None:
    new = instance(3, Phase.PENDING)
    job = maker.make(loaded(desired()), Launch(3, 2, "first"), new, spec(instance_size="S"), ENGINE, {"DB_PORT": "x"})

    assert job.config is not None
    assert (job.key, job.revision, job.container_id) == (new.uuid, 2, None)
    assert (job.config.image_id, job.config.cpus) == (WANTED.image_id, 0.5)
    assert job.config.labels["skylark.revision"] == WANTED.fingerprint
    assert job.config.labels["skylark.slot"] == "3"
    assert job.config.environment["DB_PORT"] == "x"


def test_launch_of_the_fallback_uses_the_fallbacks_image(maker: JobMaker) -> None:
    wanted = desired(revision=UNRESOLVED, fallback=OLD)
    job = maker.make(loaded(wanted), Launch(0, 1, "heals"), instance(0, Phase.PENDING), spec(), ENGINE, {})

    assert job.config is not None
    assert (job.config.image_id, job.revision) == (OLD.image_id, 1)


def test_resume_goes_on_with_its_container(maker: JobMaker) -> None:
    cut = instance(0, Phase.CREATED)
    job = maker.make(loaded(desired()), Resume(cut.uuid, 0, "cut off"), cut, spec(), ENGINE, {})

    assert job.container_id == cut.container_id
    assert job.config is not None


def test_pull_has_the_credentials_of_its_registry_and_a_key_of_its_service(maker: JobMaker) -> None:
    pull = Pull("registry.example/web:2", "deploy")
    job = maker.make(loaded(desired(revision=UNRESOLVED)), pull, None, spec(), ENGINE, {})

    assert (job.key, job.image_ref, job.auth) == (
        f"pull:{SERVICE}:registry.example/web:2",
        "registry.example/web:2",
        AUTH,
    )


def test_release_names_the_volumes_of_the_deleted_service(maker: JobMaker) -> None:
    gone = loaded(desired(started=False, deleted=True), volumes=("v1", "v2"))
    job = maker.make(gone, ReleaseVolumes("service deleted"), None, None, ENGINE, {})

    assert (job.key, job.volume_names) == (f"volumes:{SERVICE}", ("v1", "v2"))


@pytest.mark.parametrize(
    ("wish", "seconds"), [({}, 10), ({"stop_grace_seconds": 0}, 0), ({"stop_grace_seconds": 90}, 90)]
)
def test_stop_gives_the_grace_the_user_wishes(maker: JobMaker, wish: dict[str, int], seconds: int) -> None:
    stop = Stop("i0", 0, "scaled")
    job = maker.make(loaded(desired()), stop, instance(0), spec(deployment_preference=wish), ENGINE, {})

    assert (job.grace_seconds, job.container_id) == (seconds, "c-i0")


def test_stop_needs_no_spec(maker: JobMaker) -> None:
    job = maker.make(loaded(desired()), Stop("i0", 0, "scaled"), instance(0), None, ENGINE, {})

    assert job.grace_seconds == 10


def test_every_slot_and_path_has_a_volume_of_its_own(maker: JobMaker) -> None:
    both = spec(
        volumes=[
            {"app_volume_dir": "/data1", "volume_type": "EBS", "size_gb": 10},
            {"app_volume_dir": "/data2", "volume_type": "EBS", "size_gb": 20},
        ]
    )
    first = maker.volumes_wanted(loaded(desired()), 0, both)
    second = maker.volumes_wanted(loaded(desired()), 1, both)

    assert sorted(first.values()) == [("/data1", 10), ("/data2", 20)]
    assert not set(first) & set(second)


@pytest.mark.parametrize(
    ("image_ref", "host"),
    [
        ("127.0.0.1:5000/app:1", "127.0.0.1:5000"),
        ("registry.example/a/b@sha256:1", "registry.example"),
        ("localhost/app:1", "localhost"),
        ("ubuntu:22.04", "docker.io"),
        ("tutum/ubuntu:latest", "docker.io"),
    ],
)
def test_credentials_are_those_of_the_images_registry(image_ref: str, host: str) -> None:
    assert registry_auth(image_ref, {host: AUTH, "other": RegistryAuth("x", "y")}) == AUTH
    assert registry_auth(image_ref, {}) is None
