"""The dry run tells what would happen and does nothing; the events tell afterwards what happened and why."""

from __future__ import annotations

import pytest

from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def skylark(make_skylark: MakeSkylark) -> Skylark:
    """One whose worker has told what it sees of the engine: it does so within a second or two of its start."""
    skylark = make_skylark().start()
    eventually(lambda: _observation_told(skylark), 20)
    return skylark


def _observation_told(skylark: Skylark) -> bool:
    plan = skylark.api.ask("POST", "/nobody/plan", json={"image_name": "nothing", "instance_size": "XS"})
    return plan["observation_age_seconds"] is not None


def planned(skylark: Skylark, name: str, **change: object) -> list[tuple[str, int | None]]:
    """(action, slot) of the plan for a service, changed or as it is."""
    plan = skylark.api.ask("POST", f"/{name}/plan", **({"json": change} if change else {}))
    assert plan["observation_age_seconds"] < 15
    return [(action["action"], action["slot"]) for action in plan["actions"]]


def test_plan_tells_what_a_change_would_cause_and_does_nothing(skylark: Skylark, images: Images) -> None:
    skylark.api.create("web", f"{images['web']}:v1", target_num_instances=2)
    service = skylark.api.running("web", 2)
    before, events = skylark.ids("web"), skylark.api.events("web")
    assert planned(skylark, "web") == []
    assert planned(skylark, "web", target_num_instances=4) == [("launch", 2), ("launch", 3)]
    assert planned(skylark, "web", target_num_instances=1) == [("stop", 1)]
    assert planned(skylark, "web", target_state="STOPPED") == [("stop", 0), ("stop", 1)]
    assert planned(skylark, "web", image_tag="v2") == [("pull", None)]
    assert planned(skylark, "web", image_tag="v1") == [("pull", None)]
    assert skylark.ids("web") == before
    assert skylark.api.events("web") == events
    assert skylark.api.service("web")["generation"] == service["generation"]
    skylark.api.delete("web")


def test_plan_of_a_service_that_is_not_there_creates_nothing(skylark: Skylark, images: Images) -> None:
    change = {"image_name": images["web"], "image_tag": "v1", "target_num_instances": 2, "instance_size": "XS"}
    assert planned(skylark, "idea", **change) == [("pull", None)]
    skylark.api.gone("idea", 0)
    assert skylark.api.ask("GET")["count"] == 0


def test_events_tell_the_whole_life_of_a_service_with_reasons(skylark: Skylark, images: Images) -> None:
    skylark.api.create("told", f"{images['web']}:v1", target_num_instances=2)
    uuid = skylark.api.running("told", 2)["uuid"]
    skylark.api.update("told", image_tag="v2")
    skylark.api.running("told", 2)
    skylark.api.update("told", target_num_instances=1)
    skylark.api.running("told", 1)
    skylark.docker.kill(skylark.ids("told")[0])
    skylark.api.event("told", "instance_died")
    skylark.api.running("told", 1)
    skylark.api.stop("told")
    skylark.api.status("told", "Stopped")
    skylark.api.delete("told")
    life = eventually(lambda: _life(skylark, uuid, "purged"), 20)
    kinds = [event["kind"] for event in life if event["kind"] != "status_changed"]
    steps = ["created", "pull_started", "image_resolved", "instance_launched", "revision_created", "instance_stopped"]
    steps += ["instance_died", "stopped", "deleted", "purged"]
    assert [kinds.index(step) for step in steps] == sorted(kinds.index(step) for step in steps)
    assert all(event["reason"] for event in life)
    assert [e["id"] for e in life] == sorted(e["id"] for e in life)
    reasons = {event["reason"] for event in life if event["kind"] == "instance_stopped"}
    assert reasons == {"replaced by revision 2", "scaled to 1", "service stopped"}
    launches = [event["reason"] for event in life if event["kind"] == "instance_launched"]
    assert launches[:2] == ["slot 0 has no instance", "slot 1 has no instance"] or launches[:2] == [
        "slot 1 has no instance",
        "slot 0 has no instance",
    ]
    assert launches[-1] == "replaces an instance that died: exit code 137"


def _life(skylark: Skylark, uuid: str, until: str) -> list[dict[str, object]]:
    """All events of a service, once the last kind is among them."""
    life = [event for event in skylark.api.events() if event["service_uuid"] == uuid]
    return life if until in [event["kind"] for event in life] else []


def test_actions_are_logged_one_line_each_for_machines(skylark: Skylark, images: Images) -> None:
    skylark.api.create("lined", f"{images['web']}:v1")
    skylark.api.running("lined")
    skylark.api.delete("lined")
    eventually(lambda: not skylark.containers(), 30)
    lines = [line for line in skylark.log().splitlines() if "service=madams/lined" in line]
    assert [line.split("action=")[1].split()[0] for line in lines] == ["pull", "launch", "stop"]
    assert all("reason=" in line and "seconds=" in line and "outcome=ok" in line for line in lines)
