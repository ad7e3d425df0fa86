"""Followers of logs and events against the real server: many at once, through its end, and in bounded memory."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import requests

from api.followers import MOST_FOLLOWERS
from orchestrator.logs.archive import LogArchive
from orchestrator.logs.lines import STDOUT, Batch
from orchestrator.store.database import make_engine, make_sessions, migrate, session_scope
from orchestrator.store.events import Events
from tests.support.poll import eventually
from tests.support.skylark import TOKEN, Skylark
from tests.support.sse import Got, events

pytestmark = pytest.mark.docker
ONE = "a9aff249-0db5-11e5-9fa4-0240eaf5c02d"
LINES = 200_000


class Follower:
    """One client that follows; `next()` waits for the next event that is no heartbeat."""

    def __init__(self, skylark: Skylark, path: str, last: str = "") -> None:
        headers = {"Authorization": f"Token {TOKEN}"} | ({"Last-Event-ID": last} if last else {})
        self.response = requests.get(f"http://{skylark.address}{path}", headers=headers, stream=True, timeout=60)
        assert self.response.status_code == 200, self.response.text
        self._events: Iterator[Got] = (e for e in events(self.response.iter_content(None)) if e.name != "comment")

    def take(self, count: int) -> list[Got]:
        return list(islice(self._events, count))

    def close(self) -> None:
        self.response.close()


def gunicorn_processes(skylark: Skylark) -> list[int]:
    """The server's worker processes."""
    assert skylark.gunicorn is not None
    master = skylark.gunicorn.pid
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def peak_kb(pid: int) -> int:
    """The most memory that a process ever held."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.fixture
def server(make_skylark: Any) -> Skylark:
    """An API without a worker: the test writes logs and events itself."""
    skylark: Skylark = make_skylark()
    migrate(f"sqlite:///{skylark.home / 'skylark.sqlite'}")
    skylark.start_api()
    eventually(lambda: skylark.api.call("GET", "/healthz").ok, 60)
    return skylark


@pytest.fixture
def archive(server: Skylark) -> Iterator[LogArchive]:
    made = LogArchive(server.home / "logs", max_bytes=None, service_max_bytes=None)
    yield made
    made.close()


def write(archive: LogArchive, service: str, *messages: str, at_ns: int = 0) -> None:
    at_ns = at_ns or time.time_ns()
    lines = [(at_ns + index, STDOUT, message.encode()) for index, message in enumerate(messages)]
    archive.append([Batch(service, ONE, ONE, lines, "")])


def tell(server: Skylark, *kinds: str) -> None:
    engine = make_engine(f"sqlite:///{server.home / 'skylark.sqlite'}")
    with session_scope(make_sessions(engine), write=True) as session:
        for kind in kinds:
            Events(session).add(at=datetime.now(UTC), kind=kind, reason="because")
    engine.dispose()


def test_forty_followers_get_everything_while_others_are_served(server: Skylark, archive: LogArchive) -> None:
    uuid = server.api.create("web", "registry.example/web:1", target_state="STOPPED")["uuid"]
    path = "/v1/services/madams/web/logs?follow=true"
    with ExitStack() as stack, ThreadPoolExecutor(40) as pool:
        followers = list(pool.map(lambda _: Follower(server, path), range(40)))
        for follower in followers:
            stack.callback(follower.close)
        for number in range(20):
            write(archive, uuid, *[f"line {number} {n}" for n in range(50)])
            assert server.api.service("web")["uuid"] == uuid
        got = list(pool.map(lambda follower: follower.take(1000), followers))
    wanted = [f"line {number} {n}" for number in range(20) for n in range(50)]
    assert all([event.data["message"] for event in one] == wanted for one in got)


def test_full_server_refuses_more_followers_in_words_and_serves_everybody_else(server: Skylark) -> None:
    with ExitStack() as stack:
        refused: list[requests.Response] = []
        for _ in range(2 * MOST_FOLLOWERS + 1):
            headers = {"Authorization": f"Token {TOKEN}"}
            url = f"http://{server.address}/v1/events?follow=true"
            response = requests.get(url, headers=headers, stream=True, timeout=60)
            stack.callback(response.close)
            if response.status_code != 200:
                refused.append(response)
        assert refused
        assert {response.status_code for response in refused} == {503}
        assert refused[0].json()["error"]["code"] == "too_many_followers"
        assert refused[0].headers["Retry-After"] == "5"
        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(lambda _: server.api.call("GET", "/v1/regions").ok, range(100)))
    follower = eventually(lambda: Follower(server, "/v1/events?follow=true"))  # hung up: the places are free again
    follower.close()


def test_ended_server_lets_followers_go_and_they_miss_nothing(server: Skylark, archive: LogArchive) -> None:
    uuid = server.api.create("web", "registry.example/web:1", target_state="STOPPED")["uuid"]
    logs, told = "/v1/services/madams/web/logs?follow=true", "/v1/events?follow=true&kind=one,two"
    of_logs, of_events = Follower(server, logs), Follower(server, told)
    write(archive, uuid, "one")
    tell(server, "one")
    (line,), (event,) = of_logs.take(1), of_events.take(1)

    assert server.gunicorn is not None
    os.kill(server.gunicorn.pid, signal.SIGTERM)
    assert [one.take(1)[0].name for one in (of_logs, of_events)] == ["reconnect", "reconnect"]
    assert server.gunicorn.wait(14) == 0  # less than gunicorn's patience with requests in hand

    write(archive, uuid, "two")
    tell(server, "two")
    server.start_api()
    eventually(lambda: server.api.call("GET", "/healthz").ok, 60)
    assert Follower(server, logs, line.id).take(1)[0].data["message"] == "two"
    assert Follower(server, told, event.id).take(1)[0].data["kind"] == "two"


def test_client_that_takes_nothing_costs_no_memory_and_loses_no_line(server: Skylark, archive: LogArchive) -> None:
    uuid = server.api.create("web", "registry.example/web:1", target_state="STOPPED")["uuid"]
    follower = Follower(server, "/v1/services/madams/web/logs?follow=true")
    write(archive, uuid, "first")
    assert follower.take(1)[0].data["message"] == "first"
    before = max(map(peak_kb, gunicorn_processes(server)))
    text = "x" * 2000
    for number in range(60):  # 120 MB
        write(archive, uuid, *[f"{number * 1000 + n} {text}" for n in range(1000)])
    got = follower.take(60_000)
    follower.close()

    assert [int(event.data["message"].split()[0]) for event in got] == list(range(60_000))
    assert max(map(peak_kb, gunicorn_processes(server))) - before < 60_000


def test_memory_of_an_answer_does_not_grow_with_the_range(server: Skylark, archive: LogArchive) -> None:
    """200,000 lines are 50 MB as JSON; a server that gathered them first would hold them several times."""
    uuid = server.api.create("web", "registry.example/web:1", target_state="STOPPED")["uuid"]
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    start = int(day.timestamp())
    text = "a line of some length, as services write them: GET /index.html HTTP/1.1 200 512 curl/7.88 - " * 2
    for first in range(0, LINES, 10_000):
        messages = [f"{first + n} {text}" for n in range(10_000)]
        write(archive, uuid, *messages, at_ns=(start + first // 10) * 1_000_000_000)
    small = {"start_time": start, "end_time": start}
    server.api.call("GET", "/v1/services/madams/web/logs", params=small)
    before = max(map(peak_kb, gunicorn_processes(server)))

    url, headers = f"http://{server.address}/v1/services/madams/web", {"Authorization": f"Token {TOKEN}"}
    whole = {"start_time": str(start), "end_time": str(start + 86_400)}
    counted = 0
    with requests.get(f"{url}/logs", params=whole, headers=headers, stream=True, timeout=60) as response:
        for piece in response.iter_content(1 << 20):
            counted += piece.count(b'"instance_id": ')
    assert counted == LINES

    address = json.loads(requests.get(f"{url}/logs-download/{day:%Y%m%d}/", headers=headers, timeout=60).text)
    with requests.get(address, stream=True, timeout=60) as response:
        assert sum(len(piece) for piece in response.iter_content(1 << 20)) > 100_000
    assert max(map(peak_kb, gunicorn_processes(server))) - before < 50_000
