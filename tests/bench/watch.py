"""One clock for all contestants: the engine's own events say when a container ran, died and was gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from docker import APIClient

from orchestrator.engine.base import LABEL_INSTALLATION

LIMIT_SECONDS = 300.0


@dataclass
class Watch:
    """Times (epoch seconds) at which containers of one installation label did something, by action."""

    label: str
    _times: dict[str, dict[str, float]] = field(default_factory=lambda: {"start": {}, "die": {}, "destroy": {}})
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def note(self, action: str, container_id: str, at: float) -> None:
        with self._changed:
            self._times[action].setdefault(container_id, at)
            self._changed.notify_all()

    def seconds_until(self, action: str, count: int, since: float) -> float:
        """From `since` until `count` containers did `action` after it."""
        return self._nth(action, count, since)[1] - since

    def next_one(self, action: str, since: float) -> tuple[str, float]:
        """Id and time of the first container that did `action` after `since`."""
        return self._nth(action, 1, since)

    def _nth(self, action: str, count: int, since: float) -> tuple[str, float]:
        deadline = time.monotonic() + LIMIT_SECONDS
        with self._changed:
            while True:
                after = sorted((at, i) for i, at in self._times[action].items() if at >= since)
                if len(after) >= count:
                    at, container_id = after[count - 1]
                    return container_id, at
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"{self.label}: {len(after)} of {count} {action} in {LIMIT_SECONDS:g} s")


@contextmanager
def watching(label: str) -> Iterator[Watch]:
    """Follow the events of all containers whose label skylark.installation is `label`."""
    client = APIClient(version="auto", timeout=None)
    watch = Watch(label)
    filters = {"type": "container", "label": f"{LABEL_INSTALLATION}={label}", "event": list(watch._times)}
    stream = client.events(decode=True, filters=filters)

    def follow() -> None:
        for event in stream:
            watch.note(event["Action"], event["Actor"]["ID"], event["timeNano"] / 1e9)

    thread = threading.Thread(target=follow, name=f"watch {label}", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stream.close()
        thread.join(5)
        client.close()


def running_ids(client: APIClient, label: str) -> list[str]:
    """Ids of the running containers with this installation label."""
    return [c["Id"] for c in client.containers(filters={"label": f"{LABEL_INSTALLATION}={label}"})]


def remove_all(client: APIClient, label: str) -> None:
    """Leave no container of this installation label."""
    for container in client.containers(all=True, filters={"label": f"{LABEL_INSTALLATION}={label}"}):
        client.remove_container(container["Id"], force=True)
