"""Skylark's own processes: they may end, be killed, be doubled; users' containers and acknowledged writes stay."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import requests

from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = pytest.mark.docker

LEADS = "this worker leads"


@pytest.fixture(scope="module")
def slow(make_skylark: MakeSkylark) -> Skylark:
    """One whose tick never comes while a test waits: only wake-ups and events make it act."""
    return make_skylark(settings={"SKYLARK_TICK_SECONDS": "600"}).start()


@pytest.fixture
def web(skylark: Skylark, images: Images) -> Iterator[str]:
    """A running service of two instances."""
    skylark.api.create("web", f"{images['web']}:v1", target_num_instances=2)
    skylark.api.running("web", 2)
    yield "web"
    skylark.api.delete("web")
    eventually(lambda: not skylark.containers(), 30)


def leads(skylark: Skylark, times: int) -> bool:
    """Whether workers have taken the lead so often."""
    return skylark.log().count(LEADS) >= times


def test_write_is_carried_out_long_before_the_tick(slow: Skylark, images: Images) -> None:
    slow.api.create("quick", f"{images['web']}:v1", target_num_instances=2)
    slow.api.running("quick", 2, seconds=20)
    slow.api.update("quick", target_num_instances=1)
    slow.api.running("quick", 1, seconds=20)
    slow.api.stop("quick")
    slow.api.status("quick", "Stopped", seconds=20)
    slow.api.delete("quick", volumes=True)
    eventually(lambda: "purged" in [e["kind"] for e in slow.api.events()], 20)


def test_death_is_healed_long_before_the_tick(slow: Skylark, images: Images) -> None:
    slow.api.create("mended", f"{images['web']}:v1")
    slow.api.running("mended", seconds=20)
    before = slow.ids("mended")
    slow.docker.kill(before[0])
    eventually(lambda: slow.ids("mended") not in ([], before), 20)
    slow.api.running("mended", seconds=20)
    slow.api.delete("mended")


def test_crasher_is_tried_again_in_time_without_a_tick(slow: Skylark, images: Images) -> None:
    slow.api.create("looping", f"{images['crasher']}:latest")
    slow.api.event("looping", "instance_died", failures=3, seconds=40)
    slow.api.delete("looping")


def test_worker_ends_with_sigterm_and_the_next_adopts_everything(skylark: Skylark, web: str) -> None:
    before, seen = skylark.ids(web), skylark.log().count(LEADS)
    assert skylark.worker is not None
    assert skylark.worker.end() == 0
    assert "worker ended" in skylark.log()
    assert [c["State"] for c in skylark.containers(web)] == ["running", "running"]
    last = skylark.api.events(web)[-1]["id"]
    skylark.start_worker()
    eventually(lambda: leads(skylark, seen + 1), 20)
    skylark.api.update(web, target_num_instances=3)
    skylark.api.running(web, 3)
    assert skylark.ids(web)[:2] == before
    told = skylark.api.events(web, after=last)
    assert [e["data"]["slot"] for e in told if e["kind"] == "instance_launched"] == [2]


def test_worker_finishes_what_is_in_hand_when_asked_to_end(skylark: Skylark, images: Images) -> None:
    skylark.api.create("wide", f"{images['web']}:v1", target_num_instances=6)
    eventually(lambda: len(skylark.containers("wide")) >= 1, 20)
    assert skylark.worker is not None
    assert skylark.worker.end() == 0
    noted = {e["instance_uuid"] for e in skylark.api.events("wide") if e["kind"] == "instance_launched"}
    made = {c["Labels"]["skylark.instance"] for c in skylark.containers("wide") if c["State"] == "running"}
    assert noted == made, "what was done is written down before the worker ends"
    skylark.start_worker()
    skylark.api.running("wide", 6)
    assert len(skylark.containers("wide")) == 6
    skylark.api.delete("wide")
    eventually(lambda: not skylark.containers(), 30)


def test_second_worker_stands_by_and_takes_over_when_the_first_is_killed(skylark: Skylark, web: str) -> None:
    before, seen = skylark.ids(web), skylark.log().count(LEADS)
    first = skylark.worker
    assert first is not None
    second = skylark.start_worker()
    eventually(lambda: "another worker leads" in skylark.log(), 20)
    assert skylark.log().count(LEADS) == seen
    first.kill()
    eventually(lambda: leads(skylark, seen + 1), 8)
    assert skylark.ids(web) == before
    skylark.docker.kill(before[0])
    eventually(lambda: skylark.ids(web)[:1] not in ([], before[:1]), 20)
    skylark.api.running(web, 2)
    assert second.running()


def test_acknowledged_writes_survive_a_killed_api(skylark: Skylark, images: Images) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()

    def write(lane: int) -> None:
        number = 0
        while not stop.is_set():
            name = f"kept-{lane}-{number}"
            try:
                skylark.api.create(name, f"{images['web']}:v1", target_state="STOPPED")
            except (requests.RequestException, AssertionError):
                stop.wait(0.05)
                continue
            acknowledged.append(name)
            number += 1

    writers = [threading.Thread(target=write, args=(lane,)) for lane in range(3)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(2):
            count = len(acknowledged)
            eventually(lambda count=count: len(acknowledged) > count + 10, 30)
            assert skylark.gunicorn is not None
            skylark.gunicorn.kill()
            skylark.start_api()
        count = len(acknowledged)
        eventually(lambda: len(acknowledged) > count + 5, 30)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    for name in acknowledged:
        assert skylark.api.service(name)["service_name"] == name
        skylark.api.delete(name)


def test_everything_killed_leaves_containers_running_and_converges_again(skylark: Skylark, web: str) -> None:
    before = skylark.ids(web)
    skylark.end()
    found = skylark.docker.containers(filters={"label": [f"skylark.installation={skylark.installation}"]})
    assert sorted(c["Id"] for c in found) == sorted(before)
    skylark.start()
    skylark.api.update(web, target_num_instances=3)
    skylark.api.running(web, 3)
    assert skylark.ids(web)[:2] == before


def test_home_whose_path_is_too_long_for_a_socket_still_works(make_skylark: MakeSkylark, images: Images) -> None:
    skylark = make_skylark()
    skylark.environ["SKYLARK_HOME"] = str(skylark.folder / ("long-" * 40))
    skylark.start()
    skylark.api.create("far", f"{images['web']}:v1")
    skylark.api.running("far")
    assert "wake-ups are off" in skylark.log()
