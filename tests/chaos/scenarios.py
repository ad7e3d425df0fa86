"""What a user asks for while the worker dies, what must be true in the end, and beside which calls it may die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.poll import eventually
from tests.support.skylark import Skylark

VOLUMES = [{"app_volume_dir": "/data", "volume_type": "EBS", "size_gb": 1}]
Step = Callable[[Skylark, str, str], None]


@dataclass(frozen=True)
class Scenario:
    """`prepare` with a sound worker, `ask` while the trapped one runs, `check` what the next sound one made of it.

    `calls`: (method, number) of the engine calls that the trap can wait for. The scenario makes each of them.
    """

    prepare: Step
    ask: Step
    check: Step
    calls: tuple[tuple[str, int], ...]


def create(skylark: Skylark, name: str, image: str, **fields: object) -> None:
    skylark.api.create(name, f"{image}:v1", target_num_instances=2, **fields)


def create_stateful(skylark: Skylark, name: str, image: str) -> None:
    create(skylark, name, image, volumes=VOLUMES)


def running_pair(skylark: Skylark, name: str, image: str) -> None:
    create(skylark, name, image)
    skylark.api.running(name, 2)


def running_stateful(skylark: Skylark, name: str, image: str) -> None:
    create_stateful(skylark, name, image)
    skylark.api.running(name, 2)


def runs(skylark: Skylark, name: str, count: int, volumes: int) -> None:
    """Exactly the declared instances run: by the API, by Docker, in each slot one, of the revision's own image."""
    service = skylark.api.running(name, count, seconds=60)

    def exactly() -> bool:
        containers = skylark.containers(name)
        assert [c["State"] for c in containers] == ["running"] * count, containers
        assert [int(c["Labels"]["skylark.slot"]) for c in containers] == list(range(count))
        return True

    eventually(exactly, 30)
    containers = skylark.containers(name)
    assert [c["Labels"]["skylark.instance"] for c in containers] == [i["uuid"] for i in service["instances"]]
    revision = skylark.api.ask("GET", f"/{name}/revisions")[0]
    assert {c["ImageID"] for c in containers} == {revision["image_id"]}
    assert {c["Labels"]["skylark.revision"] for c in containers} == {revision["fingerprint"]}
    assert len(skylark.volumes()) == volumes


def stopped(skylark: Skylark, name: str) -> None:
    """No instance, by the API and by Docker; the volumes stay."""
    assert skylark.api.status(name, "Stopped", seconds=60)["instances"] == []
    eventually(lambda: not skylark.containers(name), 30)
    assert len(skylark.volumes()) == 2


def gone(skylark: Skylark, name: str) -> None:
    """Nothing is left: no service, no container, no volume, no orphan."""
    skylark.api.gone(name)
    eventually(lambda: not skylark.containers() and not skylark.volumes(), 60)
    eventually(lambda: skylark.api.events()[-1]["kind"] == "purged", 30)
    assert skylark.api.call("GET", "/v1/volumes/orphans").json() == []


SCENARIOS = {
    "create": Scenario(
        prepare=lambda skylark, name, image: None,
        ask=create_stateful,
        check=lambda skylark, name, image: runs(skylark, name, 2, 2),
        calls=(
            ("list_containers", 1),
            ("list_containers", 3),
            ("pull", 1),
            ("ensure_volume", 1),
            ("ensure_volume", 2),
            ("create_container", 1),
            ("create_container", 2),
            ("start_container", 1),
            ("start_container", 2),
        ),
    ),
    "scale-up": Scenario(
        prepare=running_pair,
        ask=lambda skylark, name, image: void(skylark.api.update(name, target_num_instances=4)),
        check=lambda skylark, name, image: runs(skylark, name, 4, 0),
        calls=(("create_container", 1), ("create_container", 2), ("start_container", 1), ("start_container", 2)),
    ),
    "scale-down": Scenario(
        prepare=running_pair,
        ask=lambda skylark, name, image: void(skylark.api.update(name, target_num_instances=1)),
        check=lambda skylark, name, image: runs(skylark, name, 1, 0),
        calls=(("stop_container", 1), ("inspect_container", 1), ("remove_container", 1)),
    ),
    "update": Scenario(
        prepare=running_pair,
        ask=lambda skylark, name, image: void(skylark.api.update(name, image_tag="v2")),
        check=lambda skylark, name, image: runs(skylark, name, 2, 0),
        calls=(
            ("pull", 1),
            ("create_container", 1),
            ("start_container", 1),
            ("stop_container", 1),
            ("inspect_container", 1),
            ("remove_container", 1),
            ("create_container", 2),
            ("start_container", 2),
            ("stop_container", 2),
            ("remove_container", 2),
        ),
    ),
    "update-stateful": Scenario(
        prepare=running_stateful,
        ask=lambda skylark, name, image: void(skylark.api.update(name, image_tag="v2")),
        check=lambda skylark, name, image: runs(skylark, name, 2, 2),
        calls=(
            ("stop_container", 1),
            ("inspect_container", 1),
            ("remove_container", 1),
            ("ensure_volume", 1),
            ("create_container", 1),
            ("start_container", 1),
            ("stop_container", 2),
            ("start_container", 2),
        ),
    ),
    "stop": Scenario(
        prepare=running_stateful,
        ask=lambda skylark, name, image: void(skylark.api.stop(name)),
        check=lambda skylark, name, image: stopped(skylark, name),
        calls=(
            ("stop_container", 1),
            ("stop_container", 2),
            ("inspect_container", 1),
            ("remove_container", 1),
            ("remove_container", 2),
        ),
    ),
    "delete": Scenario(
        prepare=running_stateful,
        ask=lambda skylark, name, image: skylark.api.delete(name, volumes=True),
        check=lambda skylark, name, image: gone(skylark, name),
        calls=(
            ("list_containers", 3),
            ("stop_container", 1),
            ("inspect_container", 2),
            ("remove_container", 1),
            ("remove_container", 2),
            ("remove_volume", 1),
            ("remove_volume", 2),
        ),
    ),
}

# One for each kind of call and moment that has ever been interesting; the others belong to the long form.
SHORT = (
    ("create", "after", "pull", 1),
    ("create", "after", "ensure_volume", 1),
    ("create", "before", "create_container", 1),
    ("create", "after", "create_container", 1),
    ("create", "after", "start_container", 1),
    ("scale-up", "after", "create_container", 2),
    ("update", "after", "start_container", 1),
    ("update", "after", "stop_container", 1),
    ("update-stateful", "after", "remove_container", 1),
    ("stop", "before", "stop_container", 1),
    ("stop", "after", "inspect_container", 1),
    ("delete", "after", "remove_container", 2),
    ("delete", "after", "remove_volume", 1),
    ("delete", "before", "list_containers", 3),
)

ALL = tuple(
    (name, moment, method, number)
    for name, scenario in SCENARIOS.items()
    for method, number in scenario.calls
    for moment in ("before", "after")
)


def void(answer: object) -> None:
    """For lambdas that only act."""
