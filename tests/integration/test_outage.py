"""An engine that goes and comes back is told, acted upon in no guess, and converged again; regions stand apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.client import Json, RefusedError
from tests.support.engine_door import EngineDoor
from tests.support.poll import eventually
from tests.support.registry import Images, free_port
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def door(docker_url: str) -> Iterator[EngineDoor]:
    with TemporaryDirectory(prefix="skylark-door-") as folder:
        door = EngineDoor(Path(folder) / "docker.sock", docker_url.removeprefix("unix://"))
        door.open()
        yield door
        door.shut()


@pytest.fixture(scope="module")
def skylark(make_skylark: MakeSkylark, door: EngineDoor) -> Skylark:
    """Two regions: one behind the door, and one on an engine that is not there."""
    regions = {"SHANGHAI1": door.url, "HONGKONG1": f"tcp://127.0.0.1:{free_port()}"}
    lines = [f'[regions.{name}]\niaas = "DOCKER"\nengine_url = "{url}"\n' for name, url in regions.items()]
    return make_skylark(config="".join(lines)).start()


def told(skylark: Skylark, kind: str, url: str) -> list[Json]:
    """Events of that kind about one engine."""
    return [e for e in skylark.api.events() if e["kind"] == kind and e["data"].get("engine") == url]


def waits_for_the_engine(skylark: Skylark) -> bool:
    """Whether a dry run tells that nothing is planned on a guess."""
    plan = skylark.api.ask("POST", "/steady/plan", json={"target_num_instances": 5})
    return plan["actions"] == [] and "engine does not answer" in plan["waiting"][0]


def test_region_without_an_engine_is_told_and_harms_no_other(skylark: Skylark, images: Images) -> None:
    skylark.api.create("nowhere", f"{images['web']}:v1", region_name="HONGKONG1")
    service = skylark.api.status("nowhere", "Error")
    assert "engine does not answer" in service["status_reason"]
    skylark.api.create("here", f"{images['web']}:v1", region_name="SHANGHAI1")
    skylark.api.running("here", seconds=20)
    for name in ("here", "nowhere"):
        skylark.api.delete(name)
        skylark.api.gone(name, 0)


def test_unknown_region_is_refused_with_the_known_ones(skylark: Skylark, images: Images) -> None:
    with pytest.raises(RefusedError) as refused:
        skylark.api.create("lost", f"{images['web']}:v1", region_name="MOON1")
    assert refused.value.status == 400
    (fault,) = refused.value.error["fields"]["region_name"]
    assert all(name in fault for name in ("MOON1", "HONGKONG1", "SHANGHAI1"))


def test_outage_is_told_and_what_happened_in_it_is_made_good(
    skylark: Skylark, door: EngineDoor, images: Images
) -> None:
    skylark.api.create("steady", f"{images['web']}:v1", region_name="SHANGHAI1", target_num_instances=2)
    skylark.api.running("steady", 2)
    kept, lost = skylark.ids("steady")
    door.shut()
    try:
        (gone,) = eventually(lambda: told(skylark, "engine_unreachable", door.url), 20)
        assert "no engine answers" in gone["reason"]
        assert "engine does not answer" in skylark.api.status("steady", "Error")["status_reason"]
        eventually(lambda: waits_for_the_engine(skylark), 10)
        skylark.api.update("steady", target_num_instances=3)
        skylark.docker.remove_container(lost, force=True)
        assert skylark.ids("steady") == [kept]
    finally:
        door.open()
    eventually(lambda: told(skylark, "engine_back", door.url), 20)
    skylark.api.running("steady", 3)
    after = skylark.ids("steady")
    assert after[0] == kept
    assert len(after) == 3
    assert len(told(skylark, "engine_unreachable", door.url)) == 1
    skylark.docker.kill(after[1])
    eventually(lambda: skylark.ids("steady")[1:2] not in ([], [after[1]]), 20)
    skylark.api.running("steady", 3)
    skylark.api.delete("steady")
    eventually(lambda: not skylark.containers(), 30)


def test_logs_go_on_after_an_outage(skylark: Skylark, door: EngineDoor, images: Images) -> None:
    envvars = {"COUNT": "300", "PAUSE": "0.01"}
    skylark.api.create("talker", f"{images['chatty']}:latest", instance_envvars=envvars, region_name="SHANGHAI1")
    eventually(lambda: len(skylark.api.messages("talker")) > 50, 20)
    door.shut()
    door.open()
    wanted = sorted(f"{stream} {number}" for stream in ("out", "err") for number in range(300))
    eventually(lambda: sorted(skylark.api.messages("talker")) == wanted, 30, 0.3)
    skylark.api.delete("talker")
    eventually(lambda: not skylark.containers(), 30)
