"""`python -m tests.bench.log_ingest`: log lines collected, against `docker logs -f` into files, counted line by line.

Containers write numbered lines, at a given rate or as fast as the engine takes them. The collector runs in a process
of its own, as in the worker, into the real log store; then every number is looked for in what can be read back.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import docker

from orchestrator.engine.base import LABEL_INSTALLATION
from tests.bench.watch import remove_all
from tests.images.build import build
from tests.support import collecting

URL = "unix:///var/run/docker.sock"
TICKS = os.sysconf("SC_CLK_TCK")
# About 100 bytes a line; `rate` 0: as fast as it goes, else it waits whenever it is ahead
SCRIPT = """
awk 'function now(line, parts) {{
  getline line < "/proc/uptime"; close("/proc/uptime"); split(line, parts, " "); return parts[1]
}}
BEGIN {{
  began = now()
  for (i = 0; i < {lines}; i++) {{
    print "line " i " of a service that has more to say than is good for it, 12.345 ms, path=/v1/things"
    if ({rate} && i % 200 == 199) {{ fflush(); while ((now() - began) * {rate} < i) system("usleep 10000") }}
  }}
}}'
"""


@dataclass
class Ingest:
    """One run. `cpu_seconds`: of the reader; `engine_cpu_seconds`: of dockerd meanwhile; `wanted`, `found`: lines."""

    reader: str
    containers: int
    rate: int  # wanted lines a second in all, 0: as fast as it goes
    wanted: int
    found: int
    doubled: int
    told: int
    seconds: float
    writing_seconds: float
    cpu_seconds: float
    engine_cpu_seconds: float


def main() -> int:
    """Exit status 1 when the collector lost or doubled a line without saying so."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.log_ingest", description=__doc__)
    parser.add_argument("--counts", type=int, nargs="*", default=[1, 20, 100])
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines of all containers together")
    parser.add_argument("--rate", type=int, default=50_000, help="lines a second in the run that is paced")
    parser.add_argument("--size", default="20m", help="size at which the engine rotates")
    parser.add_argument("--files", type=int, default=5, help="files the engine keeps")
    given = parser.parse_args()
    client = docker.APIClient(version="auto", timeout=120)
    folder = Path(tempfile.mkdtemp(prefix="skylark-bench-logs-"))
    runs: list[Ingest] = []
    try:
        for count in given.counts:
            for rate in (given.rate, 0):
                for read in (with_collector, with_docker_logs):
                    runs.append(race(client, folder, given, count, rate, read))
                    print(line(runs[-1]), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    Path("build").mkdir(exist_ok=True)
    Path("build/bench_logs.json").write_text(json.dumps([asdict(r) for r in runs], indent=1) + "\n")
    silent = [r for r in runs if r.reader == "skylark" and (r.doubled or (r.found < r.wanted and not r.told))]
    return 1 if silent else 0


def line(run: Ingest) -> str:
    """A run in a line."""
    per = 100_000 / max(1, run.found)
    pace = f"{run.rate} lines/s" if run.rate else "full speed"
    return (
        f"{run.reader:11} {run.containers:4} containers, {pace:13}: {run.found} of {run.wanted} lines"
        f" ({run.doubled} doubled, {run.told} told) in {run.seconds:.1f} s = {run.found / run.seconds:,.0f} lines/s"
        f" (written in {run.writing_seconds:.1f} s), CPU per 100k lines:"
        f" reader {run.cpu_seconds * per:.2f} s, engine {run.engine_cpu_seconds * per:.2f} s"
    )


@dataclass
class Read:
    """What a reader came to: every (container, number) with how often it came, and when."""

    found: Counter[tuple[str, int]]
    told: int
    cpu_seconds: float
    began: float
    wrote: float
    ended: float


Reader = Callable[[docker.APIClient, list[str], Path], Read]


def race(
    client: docker.APIClient, folder: Path, given: argparse.Namespace, count: int, rate: int, read: Reader
) -> Ingest:
    """`count` containers write, `read` reads."""
    label = f"skylark-bench-logs-{secrets.token_hex(4)}"
    each = given.lines // count
    script = SCRIPT.format(lines=each, rate=rate / count)
    kept = {"type": "json-file", "config": {"max-size": given.size, "max-file": str(given.files)}}
    host = client.create_host_config(network_mode="none", log_config=kept)
    command, labels = ["sh", "-c", script], {LABEL_INSTALLATION: label}
    image = build(client, "busybox")[0]
    try:
        ids = [client.create_container(image, command, labels=labels, host_config=host)["Id"] for _ in range(count)]
        engine_before = engine_cpu()
        run = read(client, ids, Path(tempfile.mkdtemp(dir=folder)))
        engine_used = engine_cpu() - engine_before
    finally:
        remove_all(client, label)
    found, seconds = run.found, run.ended - run.began
    doubled = sum(found.values()) - len(found)
    return Ingest(
        NAMES[read], count, rate, each * count, len(found), doubled, run.told, seconds, run.wrote - run.began,
        run.cpu_seconds, engine_used,
    )  # fmt: skip


def with_collector(client: docker.APIClient, ids: list[str], home: Path) -> Read:
    """The collector in a process of its own, drained at the end as the worker does it."""
    began = time.monotonic()
    for container in ids:
        client.start(container)
    process = collecting.start(home, URL, ids)
    wrote = wait_all(client, ids)
    cpu_seconds = collecting.finish(process)
    ended = time.monotonic()
    found: Counter[tuple[str, int]] = Counter()
    told = 0
    for container in ids:
        said, spoken = collecting.stored(home, container)
        found.update((container, int(message.split()[1])) for message in said)
        told += len(spoken)
    return Read(found, told, cpu_seconds, began, wrote, ended)


def with_docker_logs(client: docker.APIClient, ids: list[str], home: Path) -> Read:
    """`docker logs -f` for each container into a file of its own."""
    began = time.monotonic()
    for container in ids:
        client.start(container)
    processes = []
    for container in ids:
        with (home / container).open("wb") as file:
            processes.append(subprocess.Popen(["docker", "logs", "-f", container], stdout=file, stderr=file))
    wrote = wait_all(client, ids)
    cpu_seconds = 0.0
    for process in processes:
        _, process.returncode, usage = os.wait4(process.pid, 0)
        cpu_seconds += usage.ru_utime + usage.ru_stime
    ended = time.monotonic()
    found: Counter[tuple[str, int]] = Counter()
    for container in ids:
        with (home / container).open("rb") as lines:
            found.update((container, int(entry.split()[1])) for entry in lines)
    return Read(found, 0, cpu_seconds, began, wrote, ended)


NAMES: dict[Reader, str] = {with_collector: "skylark", with_docker_logs: "docker logs"}


def wait_all(client: docker.APIClient, ids: list[str]) -> float:
    """When the last of them had ended."""
    for container in ids:
        client.wait(container)
    return time.monotonic()


def engine_cpu() -> float:
    """CPU seconds that dockerd has used so far; 0 where it can't be seen."""
    pids = subprocess.run(["pgrep", "-x", "dockerd"], capture_output=True, text=True, check=False).stdout.split()
    total = 0.0
    for pid in pids[:1]:
        words = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        total += (int(words[11]) + int(words[12])) / TICKS
    return total


if __name__ == "__main__":
    sys.exit(main())
