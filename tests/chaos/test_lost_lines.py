"""No line is lost or doubled while worker, containers and engine are killed, over and over.

Fifty containers write numbered lines, and note in a volume how far they came. What the engine had of their logs is
kept by hard links to its files before they go. In the end the API must give each of the engine's lines once, in order;
and of a container that did not live through the engine's death, everything it has said. (What is in a pipe between a
container and an engine that is killed never was in the engine; no collector can have it.)

The suite runs one round; SKYLARK_CHAOS=long (`make chaos`) runs more, with more kills.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest

from tests.support.poll import eventually
from tests.support.private_engine import PrivateEngine
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SERVICES, INSTANCES = 5, 10
# With each further death in a row a slot waits longer for its next instance, so rounds are few, and kills in one many
ROUNDS, WORKER_KILLS = (2, 10) if os.environ.get("SKYLARK_CHAOS") == "long" else (1, 3)
TALK = (
    "trap exit TERM; n=0; while :; do for i in 0 1 2 3 4 5 6 7 8 9; do "
    "echo $SKYLARK_INSTANCE $n; echo $n > /kept/$SKYLARK_INSTANCE; n=$((n+1)); done; sleep 0.2; done"
)


class KeptLogs:
    """Every log file that the engine has had, by links of our own: its inode stays when the engine removes it."""

    def __init__(self, source: Path, folder: Path) -> None:
        self._source, self._folder = source, folder
        self._known: set[int] = set()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        folder.mkdir()
        self._thread.start()

    def lines(self) -> dict[str, list[int]]:
        """What the engine has of each instance: its numbers, in the order of the files."""
        found: dict[str, list[int]] = {}
        for path in sorted(self._folder.iterdir(), key=lambda path: int(path.name)):
            for entry in path.read_text().splitlines():
                with suppress(ValueError):  # torn by the engine's death
                    instance, number = json.loads(entry)["log"].split()
                    found.setdefault(instance, []).append(int(number))
        return found

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._ending.wait(0.05):
            self._look()

    def _look(self) -> None:
        for folder in self._source.iterdir():
            with suppress(FileNotFoundError):  # removed in between
                rotated = [name for name in os.listdir(folder) if "-json.log" in name]
                for name in sorted(rotated, key=_age, reverse=True):
                    self._keep(folder / name)

    def _keep(self, path: Path) -> None:
        if path.stat().st_ino not in self._known:
            link = self._folder / str(len(self._known))
            os.link(path, link)
            self._known.add(link.stat().st_ino)


def _age(name: str) -> int:
    """Of a log file: `x-json.log` is the newest, `x-json.log.2` older than `x-json.log.1`."""
    number = name.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0


@pytest.fixture
def engine() -> Iterator[PrivateEngine]:
    made = PrivateEngine()
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def skylark(engine: PrivateEngine, make_skylark: MakeSkylark) -> Iterator[Skylark]:
    region = f'[regions.SHANGHAI1]\niaas = "DOCKER"\nengine_url = "{engine.url}"\n'
    settings = {
        "SKYLARK_NETWORK_POOL": engine.pool,
        "SKYLARK_CONTAINER_LOG_MAX_SIZE": "200k",
        "SKYLARK_CONTAINER_LOG_MAX_FILE": "20",
    }
    made = make_skylark(settings=settings, config=region)
    yield made.start()
    made.end()


def names() -> list[str]:
    return [f"talk{number}" for number in range(SERVICES)]


def all_running(skylark: Skylark, client: docker.APIClient, dead: Collection[str] = (), seconds: float = 180) -> None:
    """By the engine, with others in the place of the dead, and by the API, which may tell of before for a while."""

    def there() -> bool:
        running = {container["Labels"]["skylark.instance"] for container in client.containers()}
        return len(running) == SERVICES * INSTANCES and running.isdisjoint(dead)

    eventually(there, seconds, 0.2)
    for name in names():
        skylark.api.running(name, INSTANCES, seconds)


def everybody_speaks(engine: PrivateEngine) -> None:
    """Wait until each container that runs has said something more."""
    client = docker.APIClient(engine.url, version="auto")
    files = [Path(client.inspect_container(c["Id"])["LogPath"]) for c in client.containers()]
    client.close()
    sizes = {path: path.stat().st_size for path in files if path.exists()}
    eventually(lambda: all(not p.exists() or p.stat().st_size != size for p, size in sizes.items()), 60)


def noted(engine: PrivateEngine) -> dict[str, int]:
    """How far each instance came, as it noted after each line."""
    found = {}
    for path in engine.volume_folder.glob("*/_data/*"):
        with suppress(ValueError):  # killed between emptying its note and writing it
            found[path.name] = int(path.read_text())
    return found


def answered(skylark: Skylark, began: int) -> tuple[dict[str, list[int]], list[str]]:
    """What the API gives of each instance, and what Skylark itself says in between."""
    found: dict[str, list[int]] = {}
    told = []
    for name in names():
        for line in skylark.api.ask("GET", f"/{name}/logs", params={"start_time": began, "end_time": began + 7200}):
            instance, _, number = line["message"].partition(" ")
            if number.isdecimal():
                assert instance.startswith(line["instance_id"])
                found.setdefault(instance, []).append(int(number))
            else:
                told.append(line["message"])
    return found, told


def test_kills_of_worker_containers_and_engine_lose_and_double_no_line(
    engine: PrivateEngine, skylark: Skylark, images: Images
) -> None:
    began = int(time.time()) - 1
    chance = random.Random(5)
    kept = KeptLogs(engine.log_folder, engine.kept_folder)
    volumes = [{"app_volume_dir": "/kept", "volume_type": "EBS", "size_gb": 1}]
    image = f"{images['busybox']}:latest"
    client = docker.APIClient(engine.url, version="auto", timeout=60)
    for name in names():
        command = f"sh -c '{TALK}'"
        skylark.api.create(name, image, run_command=command, target_num_instances=INSTANCES, volumes=volumes)
    all_running(skylark, client)

    survivors: set[str] = set()  # of an engine's death: what was in their pipes is nobody's
    for _ in range(ROUNDS):
        for victim in chance.sample([c["Id"] for c in client.containers()], 10):
            client.kill(victim)
        for _ in range(WORKER_KILLS):
            everybody_speaks(engine)
            assert skylark.worker is not None
            skylark.worker.kill()
            skylark.start_worker()
        all_running(skylark, client)
        survivors |= {c["Labels"]["skylark.instance"] for c in client.containers()}
        engine.kill()
        skylark.worker.kill()
        skylark.start_worker()
        engine.start()
        all_running(skylark, client, survivors)
        everybody_speaks(engine)
    client.close()
    for name in names():
        skylark.api.stop(name)
    for name in names():
        skylark.api.status(name, "Stopped", 120)
    kept.close()

    found, told = answered(skylark, began)
    assert told == []
    engines = kept.lines()
    assert found == engines
    for instance, last in noted(engine).items():
        numbers = found[instance]
        if instance not in survivors:
            assert numbers == list(range(len(numbers)))
            assert len(numbers) > last
    assert len(found) >= (1 + ROUNDS) * SERVICES * INSTANCES
