"""Following a log: what is there, then what comes, each line once, whoever comes again and however slow he is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from werkzeug.test import TestResponse

from api import following
from orchestrator.logs.lines import SKYLARK, STDERR, SYSTEM
from tests.api.conftest import NOW, Api
from tests.support.poll import eventually
from tests.support.sse import Got, events

AT = NOW.timestamp() - 60
ONE, TWO = "a9aff249-0db5-11e5-9fa4-0240eaf5c02d", "a9afcb38-0db5-11e5-9fa4-0240eaf5c02d"
LOGS = "/v1/services/ns/web/logs?follow=true"


class Follower:
    """One client that follows: `lines(n)` waits for so many."""

    def __init__(self, api: Api, path: str = LOGS, last: str = "") -> None:
        headers = {"Last-Event-ID": last} if last else {}
        self.response: TestResponse = api.client.get(path, headers=headers, buffered=False)
        assert self.response.status_code == 200, self.response.text
        self._events: Iterator[Got] = events(self.response.iter_encoded())

    def lines(self, count: int) -> list[Got]:
        return list(islice((e for e in self._events if e.name == "message"), count))

    def messages(self, count: int) -> list[str]:
        return [e.data["message"] for e in self.lines(count)]

    def next(self) -> Got:
        return next(self._events)

    def close(self) -> None:
        self.response.close()


@pytest.fixture
def uuid(api: Api) -> str:
    found: str = api.create()["uuid"]
    return found


def test_follower_gets_the_range_and_then_what_comes(api: Api, uuid: str) -> None:
    api.log(uuid, ONE, AT - 3600, "too old")
    api.log(uuid, ONE, AT, "there", STDERR)
    follower = Follower(api)
    (line,) = follower.lines(1)
    assert follower.response.mimetype == "text/event-stream"
    assert line.data == {
        "instance_id": "a9aff249",
        "message": "there",
        "time": int(AT),
        "stream": "stderr",
        "at": "2026-01-02T03:03:05.678000000Z",
    }
    api.log(uuid, TWO, AT + 1, "new")
    api.log("another", TWO, AT + 1, "a stranger's")
    api.log(uuid, ONE, AT - 9, "late, and of an earlier time")
    assert follower.messages(2) == ["new", "late, and of an earlier time"]
    follower.close()


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("stream=stderr", ["b Two", "d two"]),
        ("query=TWO", ["b Two", "d two"]),
        ("instance=a9afcb38", ["b Two", "d two"]),
        ("limit=1", ["b Two", "c one", "d two"]),
    ],
)
def test_filters_hold_for_old_and_new_lines(api: Api, uuid: str, question: str, found: list[str]) -> None:
    api.log(uuid, ONE, AT, "a one")
    api.log(uuid, TWO, AT, "b Two", STDERR)
    follower = Follower(api, f"{LOGS}&{question}")
    assert follower.messages(1) == found[:1]
    api.log(uuid, ONE, AT + 1, "c one")
    api.log(uuid, TWO, AT + 1, "d two", STDERR)
    assert follower.messages(len(found) - 1) == found[1:]
    follower.close()


def test_own_log_and_one_instances_are_followed_too(api: Api, uuid: str) -> None:
    instance = api.add_instance(uuid)
    own = Follower(api, "/v1/logs?follow=true")
    one = Follower(api, f"/v1/services/ns/web/instances/{instance}/logs?follow=true")
    api.log(uuid, ONE, AT, "another's")
    api.log(uuid, instance, AT, "mine")
    api.log(SKYLARK, "worker", AT, "INFO pass", SYSTEM)
    assert own.messages(1) == ["INFO pass"]
    assert one.messages(1) == ["mine"]
    own.close()
    one.close()


def test_follower_that_comes_again_at_any_point_misses_and_doubles_no_line(api: Api, uuid: str) -> None:
    for number in range(10):
        api.log(uuid, ONE, AT + number % 3, f"stored {number}")
    found: list[Any] = []
    last = ""
    for turn in range(14):
        follower = Follower(api, last=last)
        if turn == 5:
            for number in range(4):
                api.log(uuid, TWO, AT - number, f"late {number}")
        (event,) = follower.lines(1)
        found.append(event.data["message"])
        last = event.id
        follower.close()
        api.later(600)  # the default range moves on, the follower's must not

    stored = [f"stored {n}" for start in range(3) for n in range(start, 10, 3)]
    assert found == stored + [f"late {n}" for n in range(4)]


def test_cursor_of_a_page_leads_into_following(api: Api, uuid: str) -> None:
    api.log(uuid, ONE, AT, "first")
    api.log(uuid, ONE, AT + 1, "second")
    page = api.client.get("/v1/services/ns/web/logs?limit=1")
    follower = Follower(api, f"{LOGS}&after={page.headers['X-Next-Cursor']}")
    assert follower.messages(1) == ["second"]
    follower.close()


def test_id_from_a_store_that_is_no_more_begins_anew(api: Api, uuid: str) -> None:
    api.log(uuid, ONE, AT, "all there is")
    for last in ("n:999999", "s:999999:1-1"):
        follower = Follower(api, last=last)
        assert follower.messages(1) == ["all there is"]
        follower.close()


def test_foreign_id_is_refused_by_name(api: Api, uuid: str) -> None:
    for path in (LOGS, "/v1/events?follow=true"):
        response = api.client.get(path, headers={"Last-Event-ID": "yesterday"})
        assert response.status_code == 400
        assert list(response.get_json()["error"]["fields"]) == ["Last-Event-ID"]


def test_slow_follower_is_not_buffered_without_end_and_still_gets_every_line(
    api: Api, uuid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BACKLOG_ITEMS", 50)
    api.logs.at_a_time = 20
    follower = Follower(api)
    api.log(uuid, ONE, AT, "first")
    assert follower.messages(1) == ["first"]
    eventually(lambda: follower.next() and api.context.log_tail._backlogs)
    (backlog,) = api.context.log_tail._backlogs
    for number in range(3000):
        api.log(uuid, ONE, AT, f"line {number}")
    eventually(lambda: not api.context.log_tail._backlogs)
    assert len(backlog._items) <= 50
    assert follower.messages(3000) == [f"line {number}" for number in range(3000)]
    api.log(uuid, ONE, AT, "and on")
    assert follower.messages(1) == ["and on"]
    follower.close()


def test_store_is_asked_once_for_all_followers_and_not_without_one(api: Api, uuid: str) -> None:
    followers = [Follower(api) for _ in range(3)]
    eventually(lambda: [f.next() for f in followers] and len(api.context.log_tail._backlogs) == 3)
    api.log(uuid, ONE, AT, "to all")
    assert [f.messages(1) for f in followers] == [["to all"]] * 3
    threads = [t for t in following.threading.enumerate() if t.name == "log tail"]
    assert len(threads) == 1
    for follower in followers:
        follower.close()
    eventually(lambda: not threads[0].is_alive())
    asked = api.logs.asked
    api.get("/v1/services/ns/web/logs")
    assert api.logs.asked == asked


def test_quiet_follower_gets_heartbeats(api: Api, uuid: str) -> None:
    follower = Follower(api)
    assert [follower.next().name for _ in range(2)] == ["comment", "comment"]
    follower.close()


def test_one_follower_too_many_is_told_and_a_place_given_back_is_free(api: Api, uuid: str) -> None:
    places = [Follower(api) for _ in range(api.followers.most)]
    refused = api.client.get(LOGS)
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "5"
    assert "3 clients follow" in refused.get_json()["error"]["message"]
    assert api.client.get("/v1/services/ns/web/logs").status_code == 200
    places[0].close()
    places[0].close()
    places[0] = Follower(api)
    assert api.client.get(LOGS).status_code == 503
    for place in places:
        place.close()


def test_head_and_refused_questions_take_no_place(api: Api, uuid: str) -> None:
    for _ in range(api.followers.most + 1):
        assert api.client.head(LOGS).status_code == 200
        assert api.client.get(f"{LOGS}&after=nonsense").status_code == 400
    Follower(api).close()


def test_ending_process_sends_its_followers_away_to_come_again(api: Api, uuid: str) -> None:
    follower = Follower(api)
    api.log(uuid, ONE, AT, "last")
    (line,) = follower.lines(1)
    api.followers.ended = lambda: True
    end = eventually(lambda: event if (event := follower.next()).name == "reconnect" else None)
    assert "Last-Event-ID" in end.data["reason"]
    api.followers.ended = lambda: False
    api.log(uuid, ONE, AT, "meanwhile")
    again = Follower(api, last=line.id)
    assert again.messages(1) == ["meanwhile"]
    again.close()


def test_store_in_trouble_is_told_and_followers_wait_until_it_answers(api: Api, uuid: str) -> None:
    follower = Follower(api)
    api.log(uuid, ONE, AT, "before")
    assert follower.messages(1) == ["before"]
    eventually(lambda: follower.next() and api.context.log_tail._backlogs)
    api.logs.broken = "disk gone"
    assert api.client.get(LOGS).status_code == 503
    asked = api.logs.asked
    eventually(lambda: api.logs.asked > asked)
    api.logs.broken = ""
    api.log(uuid, ONE, AT, "after")
    assert follower.messages(1) == ["after"]
    follower.close()
