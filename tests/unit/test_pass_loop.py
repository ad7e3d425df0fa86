"""When passes run: requests are gathered, kept while nobody may act, and repeated where one look is not enough."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator

import pytest

from tests.support.poll import eventually
from worker.pass_loop import PassLoop

Seen = list[frozenset[str] | None]


class Passes:
    """A loop whose passes only note what they were asked for."""

    def __init__(self) -> None:
        self.seen: Seen = []
        self.may_run = True
        self.on_pass: Callable[[], None] = lambda: None
        self.loop = PassLoop(self._run, lambda: self.may_run)

    def _run(self, uuids: Collection[str] | None) -> None:
        self.seen.append(None if uuids is None else frozenset(uuids))
        self.on_pass()


@pytest.fixture
def passes() -> Iterator[Passes]:
    made = Passes()
    yield made
    made.loop.stop()


def test_requests_of_one_moment_share_a_pass(passes: Passes) -> None:
    for uuid in ("a", "b", "a"):
        passes.loop.request(uuid)
    passes.loop.start()

    eventually(lambda: passes.seen)

    assert passes.seen == [frozenset({"a", "b"})]


def test_request_for_all_is_a_full_pass(passes: Passes) -> None:
    passes.loop.request("a")
    passes.loop.request()
    passes.loop.start()

    eventually(lambda: passes.seen)

    assert passes.seen == [None]


def test_requests_wait_while_nobody_may_act(passes: Passes) -> None:
    passes.may_run = False
    passes.loop.start()
    passes.loop.request("a")
    threading.Event().wait(0.25)
    assert passes.seen == []

    passes.may_run = True

    eventually(lambda: passes.seen == [frozenset({"a"})])


def test_later_looks_follow_the_first_one(passes: Passes) -> None:
    passes.loop.start()
    passes.loop.request("a", again_seconds=(0.05, 0.1, 0.2))

    eventually(lambda: len(passes.seen) == 4)

    assert set(passes.seen) == {frozenset({"a"})}


def test_later_looks_are_those_of_the_last_request(passes: Passes) -> None:
    passes.may_run = False
    passes.loop.request("a", again_seconds=(0.01, 30.0))
    passes.loop.request("a", again_seconds=(0.01, 0.3))
    passes.loop.start()
    threading.Event().wait(0.05)
    passes.may_run = True

    eventually(lambda: len(passes.seen) == 2)
    threading.Event().wait(0.3)

    assert len(passes.seen) == 2


def test_pass_that_fails_is_followed_by_a_full_one(passes: Passes) -> None:
    def fail() -> None:
        passes.on_pass = lambda: None
        raise OSError("the database is away")

    passes.on_pass = fail
    passes.loop.start()
    passes.loop.request("a")

    eventually(lambda: passes.seen == [frozenset({"a"}), None])
