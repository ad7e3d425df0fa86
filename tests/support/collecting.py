"""A log collector in a process of its own: `python -m tests.support.collecting HOME URL CONTAINER...`.

It follows at once, into the real log store in HOME; each container is its own service and instance. A line on its input
makes it drain all and end; it answers with the CPU seconds it has used. It may be killed at any moment.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from orchestrator.actions import Remove
from orchestrator.engine.docker import DockerEngine
from orchestrator.engine.errors import EngineError
from orchestrator.jobs import Job
from orchestrator.logs.archive import LogArchive
from orchestrator.logs.lines import SYSTEM, Wanted
from orchestrator.reconciler import Following
from worker.log_collector import LogCollector


def main(home: str, url: str, *containers: str) -> None:
    """See above."""
    engine = DockerEngine(url, "skylark-test-collecting")
    archive = LogArchive(Path(home), max_bytes=None, service_max_bytes=None)
    collector = LogCollector(archive, {url: engine}, lines_per_second=10**9)
    collector.start()
    collector.follow([Following(url, c, c, c) for c in containers], complete=True)
    print("ready", flush=True)
    if not sys.stdin.readline():
        return
    for container in containers:
        drain(collector, engine, container)
    print(time.process_time(), flush=True)
    collector.stop()
    archive.close()


def drain(collector: LogCollector, engine: DockerEngine, container: str) -> None:
    """As the worker does it before it removes a container: again, while the log is still being read."""
    job = Job(container, container, "ns/web", 1, Remove(container, 0, "ended"), engine, container, container)
    while True:
        try:
            collector.drain(job, container)
            return
        except EngineError as error:
            print(error.message, file=sys.stderr, flush=True)


def start(home: Path, url: str, containers: list[str]) -> subprocess.Popen[str]:
    """The process, once it follows."""
    command = [sys.executable, "-m", "tests.support.collecting", str(home), url, *containers]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: subprocess.Popen[str]) -> float:
    """Drain and end it; the CPU seconds it has used."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("drain\n")
    process.stdin.flush()
    cpu_seconds = float(process.stdout.readline())
    process.wait(60)
    process.stdin.close()
    process.stdout.close()
    return cpu_seconds


def stored(home: Path, container: str) -> tuple[list[str], list[str]]:
    """What the container said, and what Skylark said, as read back from the store."""
    said: list[str] = []
    told: list[str] = []
    archive = LogArchive(home, max_bytes=None, service_max_bytes=None)
    for line in archive.read(Wanted(container, 0, 2**62)):
        (told if line.stream == SYSTEM else said).append(line.message)
    archive.close()
    return said, told


if __name__ == "__main__":
    main(*sys.argv[1:])
