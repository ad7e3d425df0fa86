"""What Skylark relies on of pulls, the same for Docker with a real registry and for the fake."""

from __future__ import annotations

import pytest

from orchestrator.engine.base import RegistryAuth
from orchestrator.engine.errors import EngineError, Fault
from tests.contract.worlds import RIGHT, WRONG, World
from tests.support.poll import eventually


def pull_fault(world: World, ref: str, auth: RegistryAuth | None = None) -> EngineError:
    """How the pull fails."""
    with pytest.raises(EngineError) as caught:
        world.engine.pull(ref, auth)
    return caught.value


def test_pull_by_tag_names_the_image_and_its_digest(world: World) -> None:
    ref = world.ref("web", "v1")
    image = world.engine.pull(ref)
    assert image.image_id.startswith("sha256:")
    assert image.image_digest is not None
    assert image.image_digest.startswith(ref.rpartition(":")[0] + "@sha256:")
    assert world.engine.has_image(image.image_id)


def test_pull_by_digest_gives_the_same_image_after_the_tag_moved(world: World) -> None:
    world.move_tag("web", "moving", "v1")
    before = world.engine.pull(world.ref("web", "moving"))
    world.move_tag("web", "moving", "v2")
    assert before.image_digest is not None
    assert world.engine.pull(before.image_digest) == before


def test_pull_of_moved_tag_gives_the_new_image(world: World) -> None:
    world.move_tag("web", "moving", "v1")
    before = world.engine.pull(world.ref("web", "moving"))
    world.move_tag("web", "moving", "v2")
    after = world.engine.pull(world.ref("web", "moving"))
    assert after.image_id != before.image_id
    assert after == world.engine.pull(world.ref("web", "v2"))


def test_second_tag_of_one_image_resolves_to_the_same_id(world: World) -> None:
    assert world.engine.pull(world.ref("web", "latest")) == world.engine.pull(world.ref("web", "v1"))


def test_unknown_image_id_is_not_there(world: World) -> None:
    assert not world.engine.has_image("sha256:" + "1" * 64)


@pytest.mark.parametrize(
    ("kind", "fault", "transient"),
    [
        ("tag", Fault.IMAGE_NOT_FOUND, False),
        ("repository", Fault.IMAGE_NOT_FOUND, False),
        ("digest", Fault.IMAGE_NOT_FOUND, False),
        ("host", Fault.REGISTRY_UNKNOWN_HOST, False),
        ("refused", Fault.REGISTRY_UNREACHABLE, True),
    ],
)
def test_failing_pull_says_what_is_wrong(world: World, kind: str, fault: Fault, transient: bool) -> None:
    error = pull_fault(world, world.failing_ref(kind))
    assert (error.fault, error.transient) == (fault, transient)
    assert error.message


@pytest.mark.parametrize("auth", [None, WRONG], ids=["without", "wrong"])
def test_pull_with_wrong_or_no_password_is_denied(world: World, auth: RegistryAuth | None) -> None:
    error = pull_fault(world, world.locked_ref("web"), auth)
    assert error.fault is Fault.REGISTRY_DENIED
    assert "wrong" not in error.message  # the password


def test_pull_with_the_right_password_works(world: World) -> None:
    assert world.engine.has_image(world.engine.pull(world.locked_ref("web"), RIGHT).image_id)


def test_registry_outage_is_transient_and_over_when_it_is_back(world: World) -> None:
    ref = world.ref("web", "v1")
    before = world.engine.pull(ref)
    world.outage(True)
    try:
        error = pull_fault(world, ref)
        assert (error.fault, error.transient) == (Fault.REGISTRY_UNREACHABLE, True)
    finally:
        world.outage(False)
    assert eventually(lambda: world.engine.pull(ref)) == before
