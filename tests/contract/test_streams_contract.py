"""What Skylark relies on of an engine's logs and events, the same for Docker and for the fake."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from orchestrator.engine.base import LABEL_SLOT, EngineEvent
from orchestrator.engine.errors import EngineError
from tests.contract.conftest import Launch
from tests.contract.worlds import LINES, World
from tests.support.poll import eventually


class Listener:
    """Collects events in a thread of its own until the engine is closed."""

    def __init__(self, world: World, since: float | None = None) -> None:
        self.seen: list[EngineEvent] = []
        self._stream: Iterator[EngineEvent] = world.engine.events(since)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        try:
            for event in self._stream:
                self.seen.append(event)
        except EngineError:
            return

    def actions(self, container_id: str) -> list[str]:
        return [event.action for event in self.seen if event.container_id == container_id]


def chatter(world: World, launch: Launch, name: str = "a") -> str:
    """A container that says its lines on both streams and then is idle."""
    return launch(name, "chatty", environment={"COUNT": str(LINES)})


def test_log_tells_the_streams_apart_in_order(world: World, launch: Launch) -> None:
    container_id = chatter(world, launch)
    lines = eventually(lambda: len(got := list(world.engine.logs(container_id))) == 2 * LINES and got)
    for stream, word in (("stdout", b"out"), ("stderr", b"err")):
        assert [line.message for line in lines if line.stream == stream] == [b"%s %d" % (word, i) for i in range(LINES)]
    stamps = [line.at_ns for line in lines]
    assert stamps == sorted(stamps)
    assert stamps[0] > 1_600_000_000 * 10**9


def test_log_since_a_second_leaves_out_what_came_before(world: World, launch: Launch) -> None:
    container_id = chatter(world, launch)
    lines = eventually(lambda: len(got := list(world.engine.logs(container_id))) == 2 * LINES and got)
    first_second = lines[0].at_ns // 10**9
    assert list(world.engine.logs(container_id, since_seconds=first_second)) == lines
    assert list(world.engine.logs(container_id, since_seconds=lines[-1].at_ns // 10**9 + 1)) == []


def test_log_of_dead_container_can_be_read(world: World, launch: Launch) -> None:
    container_id = launch("a", "crasher")
    eventually(lambda: world.engine.list_containers()[0].state == "exited")
    assert [line.message for line in world.engine.logs(container_id)] == [b"crashing"]


def test_followed_log_ends_with_the_container(world: World, launch: Launch) -> None:
    container_id = chatter(world, launch)
    got: list[bytes] = []
    follower = threading.Thread(
        target=lambda: got.extend(line.message for line in world.engine.logs(container_id, follow=True)), daemon=True
    )
    follower.start()
    eventually(lambda: len(got) == 2 * LINES)
    assert follower.is_alive()
    world.kill(container_id)
    follower.join(10)
    assert not follower.is_alive()


def test_death_and_removal_are_told_with_labels(world: World, launch: Launch) -> None:
    listener = Listener(world)
    container_id = launch("a")
    eventually(lambda: "start" in listener.actions(container_id))
    world.kill(container_id)
    eventually(lambda: "die" in listener.actions(container_id))
    world.take_away(container_id)
    eventually(lambda: "destroy" in listener.actions(container_id))
    death = next(event for event in listener.seen if event.action == "die")
    assert death.labels[LABEL_SLOT] == "0"
    assert death.labels["exitCode"] == "137"


def test_health_is_told(world: World, launch: Launch) -> None:
    listener = Listener(world)
    container_id = launch("a", "web:healthy")
    eventually(lambda: "health_status: healthy" in listener.actions(container_id))


def test_events_since_a_moment_tell_what_was_missed(world: World, launch: Launch) -> None:
    container_id = launch("a")
    world.kill(container_id)
    eventually(lambda: world.engine.list_containers()[0].state == "exited")
    listener = Listener(world, since=world.now() - 60)
    eventually(lambda: {"start", "die"} <= set(listener.actions(container_id)))


def test_events_of_another_installation_are_not_told(world: World, launch: Launch) -> None:
    seen: list[EngineEvent] = []
    stranger = threading.Thread(target=lambda: seen.extend(world.other.events()), daemon=True)
    stranger.start()
    listener = Listener(world)
    container_id = launch("a")
    eventually(lambda: "start" in listener.actions(container_id))
    assert seen == []


def test_close_ends_the_streams(world: World, launch: Launch) -> None:
    listener = Listener(world)
    container_id = chatter(world, launch)
    follower = threading.Thread(target=lambda: _exhaust(world, container_id), daemon=True)
    follower.start()
    eventually(lambda: "start" in listener.actions(container_id))
    world.engine.close()
    listener.thread.join(5)
    follower.join(5)
    assert not listener.thread.is_alive()
    assert not follower.is_alive()


def _exhaust(world: World, container_id: str) -> None:
    with contextlib.suppress(EngineError):
        list(world.engine.logs(container_id, follow=True))
