"""`python -m tests.bench.sampling`: what it costs to measure many containers, by each way of reading them."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import docker

from orchestrator.engine.base import LABEL_INSTALLATION
from orchestrator.engine.docker import DockerEngine
from orchestrator.metrics.reader import EngineReader
from orchestrator.metrics.reader_stats import StatsReader
from orchestrator.metrics.store import MetricStore
from orchestrator.metrics.subjects import Subject
from tests.bench.watch import remove_all
from tests.images import build
from tests.support.engine import new_installation
from worker.metric_sampler import MetricSampler

SOCKET = "/var/run/docker.sock"
URL = f"unix://{SOCKET}"
INTERVAL_SECONDS = 5.0
CHUNK = 25  # containers made before the next look at how it goes
AT_ONCE = 4
LIMIT_SECONDS = 300.0
MIB = 1024 * 1024


@dataclass(frozen=True)
class Cost:
    """Medians of one round: time on the clock, CPU of this process and of the engine, and who answered."""

    way: str
    seconds: float
    own_cpu: float
    engine_cpu: float
    answers: int


def main() -> int:
    """Exit status 1 when a container was not measured by the files or the one-shot stats."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sampling", description=__doc__)
    parser.add_argument("--containers", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=20, help="of the files; the slower ways take a few")
    given = parser.parse_args()
    client = docker.APIClient(URL, version="auto", timeout=120, max_pool_size=64)
    label, folder = new_installation(), Path(tempfile.mkdtemp(prefix="skylark-bench-"))
    engine = DockerEngine(URL, label)
    try:
        ids = sleeping(client, label, given.containers)
        costs = [
            cost("whole round, into the store", given.rounds, whole_round(engine, ids, folder)),
            cost("cgroup files", given.rounds, by_files(engine, ids)),
            cost("one-shot stats, 64 at a time", 5, by_one_shot(engine, ids)),
            cost("SDK stats, 64 at a time", 2, by_sdk(client, ids)),
        ]
    finally:
        remove_all(client, label)
        engine.close()
        client.close()
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(lines(costs, len(ids))))
    return 0 if all(each.answers == len(ids) for each in costs[:3]) else 1


def lines(costs: Collection[Cost], containers: int) -> Iterator[str]:
    """A table; in brackets how many times as much as the cgroup files take."""
    (files,) = (each for each in costs if each.way == "cgroup files")
    yield f"{containers} containers, one round; % of a core at one round each {INTERVAL_SECONDS:g} s"
    yield f"{'':<30}{'answers':>9}{'seconds':>19}{'CPU of the reader':>27}{'CPU of the engine':>20}"
    for each in costs:
        times = each.seconds / files.seconds, each.own_cpu / files.own_cpu
        clock, own = f"{each.seconds:.4f} ({times[0]:.1f})", f"{percent(each.own_cpu)} ({times[1]:.1f})"
        yield f"{each.way:<30}{each.answers:>9}{clock:>19}{own:>27}{percent(each.engine_cpu):>20}"


def percent(cpu_seconds: float) -> str:
    """Of one core, at one round an interval."""
    return f"{cpu_seconds * 1000:.1f} ms = {cpu_seconds / INTERVAL_SECONDS * 100:.2f} %"


def cost(way: str, rounds: int, read: Callable[[], int]) -> Cost:
    """The first round finds the files and connects; it does not count."""
    read()
    engine = engine_pid()
    clocks, own, answers = [], [], []
    engine_before = cpu_of(engine)
    for _ in range(rounds):
        began, used = time.perf_counter(), own_cpu()
        answers.append(read())
        clocks.append(time.perf_counter() - began)
        own.append(own_cpu() - used)
    return Cost(way, median(clocks), median(own), (cpu_of(engine) - engine_before) / rounds, min(answers))


def by_files(engine: DockerEngine, ids: Collection[str]) -> Callable[[], int]:
    reader = EngineReader(URL, engine)
    return lambda: len(reader.read(ids, LIMIT_SECONDS))


def by_one_shot(engine: DockerEngine, ids: Collection[str]) -> Callable[[], int]:
    reader = StatsReader(engine)
    return lambda: len(reader.read(ids, LIMIT_SECONDS))


def by_sdk(client: docker.APIClient, ids: Collection[str]) -> Callable[[], int]:
    """As its documentation shows: `stats(stream=False)`, which waits for a second reading."""

    def read() -> int:
        with ThreadPoolExecutor(64) as pool:
            return sum("cpu_stats" in answer for answer in pool.map(lambda i: client.stats(i, stream=False), ids))

    return read


def whole_round(engine: DockerEngine, ids: Collection[str], folder: Path) -> Callable[[], int]:
    """What the worker does: read, reckon, store. 10 instances to a service."""
    store = MetricStore(folder, raw_hours=24, rollup_days=30, max_bytes=1024 * MIB)
    reader = EngineReader(URL, engine)
    sampler = MetricSampler(store, {URL: reader}, seconds=INTERVAL_SECONDS, may_act=lambda: True)
    sampler.watch(
        [Subject(URL, f"service {n // 10}", f"instance {n}", i, 0.25, 512 * MIB) for n, i in enumerate(ids)],
        complete=True,
    )

    def read() -> int:
        began_ms = time.time_ns() // 1_000_000
        sampler.measure()
        services = {f"service {n // 10}" for n in range(len(ids))}
        if not read.counted:  # type: ignore[attr-defined]
            read.counted = sum(map(len, store.window(services, began_ms, began_ms + 60_000).values()))  # type: ignore[attr-defined]
        return int(read.counted)  # type: ignore[attr-defined]

    read.counted = 0  # type: ignore[attr-defined]
    return read


def sleeping(client: docker.APIClient, label: str, count: int) -> list[str]:
    """`count` running containers that do nothing."""
    (image,) = build.build(client, "busybox")

    def start(_: int) -> str:
        host = client.create_host_config(init=True, mem_limit=64 * MIB)
        made = client.create_container(image, ["sleep", "86400"], labels={LABEL_INSTALLATION: label}, host_config=host)
        client.start(made["Id"])
        return str(made["Id"])

    ids: list[str] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while len(ids) < count:
            ids += pool.map(start, range(min(CHUNK, count - len(ids))))
            print(f"bench: {len(ids)} of {count} containers run", file=sys.stderr, flush=True)
    return ids


def own_cpu() -> float:
    """CPU seconds of this process, of all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def engine_pid() -> int:
    """The process behind the engine's socket."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(SOCKET)
        credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
