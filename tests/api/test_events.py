"""Events over HTTP: by kind, and followed as they come, on either database."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from orchestrator.store.database import session_scope
from orchestrator.store.events import Events
from tests.api.conftest import Api
from tests.support.poll import eventually
from tests.support.sse import Got, events


def tell(api: Api, *kinds: str, service: str | None = None) -> None:
    with session_scope(api.sessions, write=True) as session:
        for kind in kinds:
            Events(session).add(at=api.now, kind=kind, reason=f"because {kind}", service_uuid=service)


class Follower:
    """One client that follows events."""

    def __init__(self, api: Api, path: str = "/v1/events?follow=true", last: str = "") -> None:
        headers = {"Last-Event-ID": last} if last else {}
        self.response = api.client.get(path, headers=headers, buffered=False)
        assert self.response.status_code == 200, self.response.text
        self._events: Iterator[Got] = events(self.response.iter_encoded())

    def take(self, count: int) -> list[Got]:
        return list(islice((e for e in self._events if e.name == "message"), count))

    def kinds(self, count: int) -> list[str]:
        return [event.data["kind"] for event in self.take(count)]

    def close(self) -> None:
        self.response.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either(request: pytest.FixtureRequest) -> Api:
    found: Api = request.getfixturevalue("api" if request.param == "sqlite" else "postgres_api")
    return found


def test_kinds_are_chosen_by_name(api: Api) -> None:
    tell(api, "one", "two", "three", "one")

    assert [e["kind"] for e in api.get("/v1/events?kind=one,three")["results"]] == ["one", "three", "one"]
    assert [e["kind"] for e in api.get("/v1/events?kind=one&after=1&limit=1")["results"]] == ["one"]
    assert [e["kind"] for e in api.get("/v1/events?kind=")["results"]] == ["one", "two", "three", "one"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=One", "kind"),
        ("kind=a,,b", "kind"),
        ("after=x", "after"),
        ("limit=0", "limit"),
        ("follow=true&after=1&limit=1", "limit"),
        ("kinds=one&strict=true", "kinds"),
    ],
)
def test_wrong_question_is_refused_by_name(api: Api, query: str, field: str) -> None:
    response = api.client.get(f"/v1/events?{query}")

    assert response.status_code == 400
    assert list(response.get_json()["error"]["fields"]) == [field]


def test_follower_gets_the_newest_and_then_what_comes(either: Api) -> None:
    tell(either, "first", "second", "third")
    follower = Follower(either, "/v1/events?follow=true&limit=2")
    found = follower.take(2)
    assert [event.data["kind"] for event in found] == ["second", "third"]
    assert found[1].id == str(found[1].data["id"])
    tell(either, "fourth", "fifth")
    assert follower.kinds(2) == ["fourth", "fifth"]
    follower.close()


def test_follower_of_a_service_gets_only_its_own_and_the_kinds_asked_for(api: Api) -> None:
    uuid = api.create()["uuid"]
    api.create("other")
    follower = Follower(api, "/v1/services/ns/web/events?follow=true&kind=created,instance_died")
    assert follower.kinds(1) == ["created"]
    api.client.put("/v1/services/ns/web/stop")
    tell(api, "instance_died", service="another")
    tell(api, "instance_died", service=uuid)
    (died,) = follower.take(1)
    assert died.data["service_uuid"] == uuid
    follower.close()


def test_follower_that_comes_again_goes_on_behind_his_last_event(either: Api) -> None:
    found: list[str] = []
    tell(either, *[f"k{chr(97 + number)}" for number in range(6)])
    last = ""
    for _ in range(6):
        follower = Follower(either, "/v1/events?follow=true&after=0", last)
        (event,) = follower.take(1)
        found.append(event.data["kind"])
        last = event.id
        follower.close()

    assert found == ["ka", "kb", "kc", "kd", "ke", "kf"]


@pytest.mark.postgres
def test_event_that_is_committed_late_reaches_the_follower_too(postgres_api: Api) -> None:
    follower = Follower(postgres_api)
    tell(postgres_api, "seen")
    assert follower.kinds(1) == ["seen"]
    eventually(lambda: next(follower._events) and postgres_api.context.event_tail._backlogs)
    with postgres_api.sessions() as slow:
        Events(slow).add(at=postgres_api.now, kind="slow", reason="")
        slow.flush()
        tell(postgres_api, "quick")
        next(follower._events)  # a turn passes without either
        slow.commit()
    assert follower.kinds(2) == ["slow", "quick"]
    follower.close()


@pytest.mark.parametrize("question", ["", "&after=999999"])
def test_id_from_a_database_that_is_no_more_begins_anew(api: Api, question: str) -> None:
    tell(api, "first", "second")
    follower = Follower(api, f"/v1/events?follow=true{question}", "" if question else "999999")
    assert follower.kinds(2) == ["first", "second"]
    tell(api, "third")
    assert follower.kinds(1) == ["third"]
    follower.close()
