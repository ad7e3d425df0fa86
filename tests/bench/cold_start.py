"""`python -m tests.bench.cold_start`: what the first request of a service that sleeps waits; what the others pay."""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import docker

from orchestrator.engine.base import LABEL_INSTALLATION
from orchestrator.ingress.routes import Backend, HttpRoute, RouteTable, Server
from tests.bench.load import Answers, full
from tests.bench.lossless import PORTS, installation
from tests.bench.traffic import addresses, until
from tests.support.client import NAMESPACE
from tests.support.engine import new_installation
from tests.support.haproxy import Proxy, request
from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import Skylark

FROM_ZERO = {
    "minimum_num_instances": 0,
    "maximum_num_instances": 2,
    "lower_threshold": "0.2",
    "upper_threshold": "0.8",
    "wait_period": 0,
    "idle_seconds": 1,
}
AWAKE, ASLEEP = "awake.test", "asleep.test"
_ANSWER_SECONDS = 60


def main() -> int:
    """Exit status 1 when a request failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cold_start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how often each service is woken")
    parser.add_argument("--seconds", type=int, default=3, help="seconds of load a measurement; 0: no load")
    given = parser.parse_args()
    failed = 0
    print("| image | | times | failed | median | fastest | slowest |\n" + "|---" * 7 + "|")
    with installation() as (skylark, images):
        for image in ("web", "page"):
            answers, alone = cold_starts(skylark, images, image, given.rounds)
            bad = sum(status != 200 for status, _ in answers)
            failed += bad
            for what, times in (("first request", [seconds for _, seconds in answers]), ("engine alone", alone)):
                told = map(shown, (statistics.median(times), min(times), max(times)))
                cells = (image, what, len(times), bad if times is not alone else "-", *told)
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        if given.seconds:
            failed += neighbours(skylark, given.seconds)
    return 1 if failed else 0


def cold_starts(
    skylark: Skylark, images: Images, image: str, rounds: int
) -> tuple[list[tuple[int, float]], list[float]]:
    """(status, seconds to the whole answer) of first requests, and what the engine alone takes in the same minutes.

    The image is there already.
    """
    name = f"nap-{image}"
    host = f"{name}-{NAMESPACE}.skylark.local"
    skylark.api.create(
        name,
        f"{images[image]}:v1",
        instance_ports=PORTS,
        scaling_mode="AUTO",
        autoscaling_config=FROM_ZERO,
    )
    answers, alone = [], []
    for _ in range(rounds):
        eventually(lambda: skylark.api.service(name)["status_reason"].startswith("asleep"), 120)
        eventually(lambda: not skylark.containers(name), 60)
        answer = request(skylark.http_port, host, seconds=_ANSWER_SECONDS)
        answers.append((answer.status, answer.seconds))
        alone.append(engine_alone(skylark.docker, f"{images[image]}:v1"))
    skylark.api.delete(name)
    skylark.api.gone(name, 60)
    return answers, alone


def engine_alone(client: docker.APIClient, image: str) -> float:
    """Seconds from asking for a container to its first answer, by the engine's plain calls."""
    began = time.monotonic()
    made = client.create_container(image, labels={LABEL_INSTALLATION: new_installation()})["Id"]
    try:
        client.start(made)
        address = client.inspect_container(made)["NetworkSettings"]["IPAddress"]
        until(lambda: _serves(address))
        return time.monotonic() - began
    finally:
        client.remove_container(made, force=True)


def _serves(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def neighbours(skylark: Skylark, seconds: int, rounds: int = 3) -> int:
    """What a service that is awake gets through, as others sleep and are held for; how many requests failed."""
    server = Server("awake", next(iter(addresses(skylark, "site").values())), 80)
    names = ("nobody may sleep", "one sleeps", "one sleeps, 60 requests held")
    totals = {name: Answers() for name in names}
    used = dict.fromkeys(names, 0.0)
    failed = 0
    proxy = Proxy()
    try:
        for number in range(rounds):
            for situation in (*names[number:], *names[:number]):  # nobody always comes first
                proxy.control.apply(_table(server, sleeps=situation != names[0]))
                with held(proxy, 60 if "held" in situation else 0):
                    before = _cpu_seconds(proxy)
                    answers = full(proxy.folder, f"http://127.0.0.1:{proxy.port}/", AWAKE, seconds)
                    used[situation] += _cpu_seconds(proxy) - before
                totals[situation].requests += answers.requests
                totals[situation].seconds += answers.seconds
                failed += answers.failed
    finally:
        proxy.close()
    print(
        "\n| a neighbour that is awake | requests/s | CPU of the proxy a request | of the first |\n" + "|---" * 4 + "|"
    )
    each = {name: used[name] / max(1, totals[name].requests) for name in names}
    for name in names:
        cells = (
            name,
            f"{totals[name].per_second:,.0f}",
            f"{each[name] * 1e6:.1f} us",
            f"{each[name] / each[names[0]]:.2f}",
        )
        print("| " + " | ".join(cells) + " |")
    return failed


def _cpu_seconds(proxy: Proxy) -> float:
    """What the listening worker has used: on a busy machine a surer measure than requests a second."""
    pid = proxy.control.backend_stats()[0].worker
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def held(proxy: Proxy, count: int) -> Iterator[None]:
    """So many requests wait while the block runs; then they are given up."""
    with ThreadPoolExecutor(max(count, 1)) as pool:
        waiting = [pool.submit(request, proxy.port, ASLEEP) for _ in range(count)]
        time.sleep(0.5)
        yield
        if count:
            proxy.control.apply(RouteTable())  # without their service they are refused
        for each in waiting:
            each.result()


def _table(server: Server, *, sleeps: bool) -> RouteTable:
    awake = Backend("http_awake", "http", (server,), service_uuid="awake")
    asleep = Backend("http_asleep", "http", service_uuid="asleep", may_sleep=sleeps)
    return RouteTable((asleep, awake), (HttpRoute(ASLEEP, "http_asleep"), HttpRoute(AWAKE, "http_awake")))


def shown(seconds: float) -> str:
    """Milliseconds."""
    return f"{seconds * 1000:.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
