"""Log lines reach the user complete and once, whatever happens to the worker, and outlive their containers."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from urllib.request import urlopen

import pytest
import requests

from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import TOKEN, Skylark
from tests.support.sse import Got, events

pytestmark = pytest.mark.docker


def complete(messages: list[str], count: int, instances: int = 1) -> bool:
    """Every numbered line of both streams is there, once for each instance, in order within its stream."""
    for stream in ("out", "err"):
        numbers = [int(m.split()[1]) for m in messages if m.startswith(stream)]
        assert len(numbers) <= count * instances, f"{len(numbers)} lines of {stream}: some came twice"
        assert sorted(set(numbers)) == sorted(numbers) or instances > 1, f"{stream}: some came twice"
        if len(numbers) < count * instances:
            return False
        assert sorted(numbers) == sorted(list(range(count)) * instances)
        assert instances > 1 or numbers == sorted(numbers)
    return True


def test_all_lines_of_both_streams_come_once_and_in_order(skylark: Skylark, images: Images) -> None:
    skylark.api.create("chatty", f"{images['chatty']}:latest", instance_envvars={"COUNT": "3000"})
    skylark.api.running("chatty")
    eventually(lambda: complete(skylark.api.messages("chatty"), 3000), 30, 0.3)
    (instance,) = skylark.api.service("chatty")["instances"]
    assert {line["instance_id"] for line in skylark.api.logs("chatty")} == {instance["uuid"][:8]}
    skylark.api.stop("chatty")
    skylark.api.status("chatty", "Stopped")
    assert complete(skylark.api.messages("chatty"), 3000)
    skylark.api.delete("chatty")


def test_killed_worker_loses_and_doubles_no_line(skylark: Skylark, images: Images) -> None:
    envvars = {"COUNT": "400", "PAUSE": "0.01"}
    skylark.api.create("steady", f"{images['chatty']}:latest", instance_envvars=envvars)
    for lines in (100, 300):
        eventually(lambda lines=lines: len(skylark.api.messages("steady")) > lines, 30)
        assert skylark.worker is not None
        skylark.worker.kill()
        skylark.start_worker()
    eventually(lambda: complete(skylark.api.messages("steady"), 400), 40, 0.3)
    skylark.api.delete("steady")


def test_container_that_ends_while_no_worker_runs_keeps_its_lines(skylark: Skylark, images: Images) -> None:
    skylark.api.create("brief", f"{images['chatty']}:latest", instance_envvars={"COUNT": "500"})
    skylark.api.running("brief")
    assert skylark.worker is not None
    skylark.worker.kill()
    for container in skylark.ids("brief"):
        skylark.docker.kill(container)
    skylark.start_worker()
    skylark.api.event("brief", "instance_removed")
    skylark.api.running("brief")
    eventually(lambda: complete(skylark.api.messages("brief"), 500, instances=2), 30, 0.3)
    skylark.api.delete("brief")


def test_short_lived_instance_leaves_its_lines_and_each_instance_has_its_own(skylark: Skylark, images: Images) -> None:
    command = "sh -c 'echo from $SKYLARK_SLOT; sleep 1000'"
    skylark.api.create("pair", f"{images['busybox']}:latest", run_command=command, target_num_instances=2)
    service = skylark.api.running("pair", 2)
    eventually(lambda: sorted(skylark.api.messages("pair")) == ["from 0", "from 1"], 20)
    for slot, instance in enumerate(service["instances"]):
        lines = skylark.api.logs("pair", instance["uuid"])
        assert [line["message"] for line in lines] == [f"from {slot}"]
    skylark.api.update("pair", target_num_instances=1)
    skylark.api.running("pair", 1)
    assert sorted(skylark.api.messages("pair")) == ["from 0", "from 1"]
    gone = service["instances"][1]["uuid"]
    assert [line["message"] for line in skylark.api.logs("pair", gone)] == ["from 1"]
    skylark.api.delete("pair")
    eventually(lambda: not skylark.containers(), 30)


def test_service_its_events_and_the_worker_are_followed_as_they_go(skylark: Skylark, images: Images) -> None:
    headers = {"Authorization": f"Token {TOKEN}"}
    with ExitStack() as stack:

        def follow(path: str) -> Iterator[Got]:
            response = requests.get(f"http://{skylark.address}{path}", headers=headers, stream=True, timeout=60)
            stack.callback(response.close)
            assert response.status_code == 200, response.text
            return (e for e in events(response.iter_content(None)) if e.name == "message")

        told = follow("/v1/events?follow=true&limit=1")
        own = follow("/v1/logs?follow=true&query=madams/followed&limit=1")
        command = "sh -c 'n=0; while true; do echo tick $n; n=$((n+1)); sleep 0.2; done'"
        skylark.api.create("followed", f"{images['busybox']}:latest", run_command=command)
        lines = follow("/v1/services/madams/followed/logs?follow=true")
        first = next(lines).data["message"]
        assert first == "tick 0"
        assert [next(lines).data["message"] for _ in range(5)] == [f"tick {n}" for n in range(1, 6)]
        wanted = ["created", "pull_started", "image_resolved", "instance_launched"]
        seen = (e.data["kind"] for e in told if e.data["service"] == "madams/followed")
        assert list(islice((kind for kind in seen if kind in wanted), 4)) == wanted
        launched = next(e.data["message"] for e in own if "action=launch" in e.data["message"])
        assert 'reason="slot 0 has no instance"' in launched
        assert "outcome=ok" in launched
    skylark.api.delete("followed")


def test_day_is_listed_and_fetched_as_the_published_client_does_it(skylark: Skylark, images: Images) -> None:
    skylark.api.create("daily", f"{images['chatty']}:latest", instance_envvars={"COUNT": "50"})
    eventually(lambda: complete(skylark.api.messages("daily"), 50), 30, 0.3)
    (day, *_) = skylark.api.ask("GET", "/daily/logs-download/")
    address = skylark.api.call("GET", f"/v1/services/madams/daily/logs-download/{day}/").text.strip('"')
    with urlopen(address, timeout=30) as response:
        lines = gzip.decompress(response.read()).decode().splitlines()
    assert complete([line.split(" ", 3)[3] for line in lines], 50)
    skylark.api.delete("daily")
