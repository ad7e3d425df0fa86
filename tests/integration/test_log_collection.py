"""Logs of real containers, collected from the engine's files and by its stream: every line once, or it is said."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.engine.base import LABEL_INSTALLATION, ContainerConfig, Engine, LogSource
from orchestrator.engine.docker import DockerEngine
from orchestrator.reconciler import Following
from tests.support import collecting
from tests.support.log_files import MemoryLogs
from tests.support.poll import eventually
from tests.support.registry import Images
from worker.log_collector import LogCollector

pytestmark = pytest.mark.docker

KEPT = {"max-size": "20m", "max-file": "5"}
COUNT = "awk 'BEGIN{for(i=0;i<%d;i++) print i \" a line of a usual length, with words that say what has happened\"}'"

Run = Callable[..., str]


class Remote:
    """The engine as a remote one: its log files can't be read from here."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def log_source(self, container_id: str) -> LogSource:
        return replace(self._engine.log_source(container_id), path="")


@pytest.fixture
def run(docker_engine: DockerEngine, images: Images) -> Run:
    """Starts a container with a shell script; answers its id."""
    image = docker_engine.pull(f"{images['busybox']}:latest").image_id

    def start(script: str, options: Mapping[str, str] = KEPT, driver: str = "json-file") -> str:
        config = ContainerConfig(
            f"skylark-test-{secrets.token_hex(4)}",
            image,
            {LABEL_INSTALLATION: docker_engine.installation},
            command=("sh", "-c", script),
            cpus=2,
            log_driver=driver,
            log_options=options,
            network="none",
        )
        container = docker_engine.create_container(config)
        docker_engine.start_container(container)
        return container

    return start


@pytest.fixture
def store() -> MemoryLogs:
    return MemoryLogs()


@pytest.fixture(params=["files", "stream"])
def engine(docker_engine: DockerEngine, request: pytest.FixtureRequest) -> Engine:
    return docker_engine if request.param == "files" else Remote(docker_engine)  # type: ignore[return-value]


@pytest.fixture
def collector(engine: Engine, store: MemoryLogs) -> Iterator[LogCollector]:
    made = LogCollector(store, {"e": engine}, lines_per_second=10**9)
    made.start()
    yield made
    made.stop()


def wait_end(engine: Engine, *containers: str) -> None:
    eventually(lambda: all(engine.inspect_container(c).state == "exited" for c in containers), 120, 0.1)


def numbers(messages: list[str]) -> list[int]:
    return [int(message.split()[0]) for message in messages]


def test_instance_of_a_moment_leaves_all_it_said(
    engine: Engine, collector: LogCollector, store: MemoryLogs, run: Run
) -> None:
    """It is gone before anybody followed it; its last line has no line end."""
    container = run("echo one; echo two >&2; printf three")
    wait_end(engine, container)
    collecting.drain(collector, engine, container)  # type: ignore[arg-type]
    engine.remove_container(container)

    assert sorted(store.messages()) == ["one", "three", "two"]


def test_megabyte_line_binary_colours_and_empty_lines_come_as_they_are(
    engine: Engine, collector: LogCollector, store: MemoryLogs, run: Run
) -> None:
    """Bytes that are no UTF-8 were replaced by the engine's json-file itself."""
    script = (
        "head -c 1000000 /dev/zero | tr '\\0' x; echo;"
        "printf '\\033[31mred\\033[0m\\n\\n\\000\\001\\377\\376end\\n\\303\\244 \\\\n \"quoted\" <&>\\n'"
    )
    container = run(script)
    wait_end(engine, container)
    collecting.drain(collector, engine, container)  # type: ignore[arg-type]

    long, *others = store.messages()
    assert (len(long), set(long)) == (1_000_000, {"x"})
    assert others == ["\x1b[31mred\x1b[0m", "", "\x00\x01\ufffd\ufffdend", 'ä \\n "quoted" <&>']


@pytest.mark.parametrize("engine", ["files"], indirect=True)
def test_rotation_at_full_speed_loses_nothing(
    engine: Engine, collector: LogCollector, store: MemoryLogs, run: Run
) -> None:
    """More than all the files that the engine keeps: 600,000 lines are about 85 MB, and it keeps 40."""
    container = run(COUNT % 600_000, {"max-size": "8m", "max-file": "5"})
    collector.follow([Following("e", "s", "i", container)], complete=True)
    wait_end(engine, container)
    collecting.drain(collector, engine, container)  # type: ignore[arg-type]

    assert store.told() == []
    assert numbers(store.messages()) == list(range(600_000))


@pytest.mark.parametrize("engine", ["stream"], indirect=True)
def test_stream_over_a_rotating_log_tells_what_it_cannot_have(
    engine: Engine, collector: LogCollector, store: MemoryLogs, run: Run
) -> None:
    """With hardly anything kept, at full speed: lines are lost in the engine, none is doubled, and it is said."""
    container = run(COUNT % 200_000, {"max-size": "1m", "max-file": "2"})
    collector.follow([Following("e", "s", "i", container)], complete=True)
    wait_end(engine, container)
    collecting.drain(collector, engine, container)  # type: ignore[arg-type]

    found = numbers(store.messages())
    assert len(found) == len(set(found))
    assert len(found) < 200_000
    assert any("lines may be missing between" in told for told in store.told())


def test_local_driver_is_read_too(engine: Engine, collector: LogCollector, store: MemoryLogs, run: Run) -> None:
    container = run(f"{COUNT % 2000}; printf '\\377'; echo", {**KEPT, "compress": "false"}, "local")
    wait_end(engine, container)
    collecting.drain(collector, engine, container)  # type: ignore[arg-type]

    assert numbers(store.messages()[:-1]) == list(range(2000))
    assert store.lines()[-1][2] == b"\xff"


def test_killed_collector_loses_and_doubles_nothing(docker_url: str, run: Run, tmp_path: Path) -> None:
    """SIGKILL, again and again, while two containers write as fast as they can, through rotation."""
    containers = [run(COUNT % 60_000, {"max-size": "2m", "max-file": "20"}) for _ in range(2)]
    pause = threading.Event()
    for number in range(5):
        process = collecting.start(tmp_path, docker_url, containers)
        pause.wait(0.2 + 0.15 * number)  # a moment to be killed in; which one does not matter
        process.kill()
        process.communicate()
    engine = DockerEngine(docker_url, "skylark-test-watching")
    wait_end(engine, *containers)
    engine.close()
    collecting.finish(collecting.start(tmp_path, docker_url, containers))

    for container in containers:
        said, told = collecting.stored(tmp_path, container)
        assert told == []
        assert numbers(said) == list(range(60_000))
