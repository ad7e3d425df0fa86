"""`python -m tests.bench.traffic`: the proxy's throughput beside others, and how fast it follows what happens."""

from __future__ import annotations

import argparse
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TypeVar

from orchestrator.ingress.haproxy import HaProxy
from orchestrator.ingress.machine import proxy_settings
from tests.bench import proxies
from tests.bench.load import full
from tests.bench.lossless import HOST, installation, prepare, settled
from tests.support.haproxy import request
from tests.support.skylark import Skylark

LIMIT_SECONDS = 60.0
T = TypeVar("T")


def main() -> int:
    """Exit status 1 when a proxy could not run at all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.traffic", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the throughput, and of each delay")
    parser.add_argument("--seconds", type=int, default=5, help="of load in each round")
    parser.add_argument("--backends", type=int, nargs="*", default=[10, 100, 1000], help="for the reloads")
    given = parser.parse_args()
    missing: dict[str, str] = {}
    with installation() as (skylark, images):
        prepare(skylark, images, 1)
        (address,) = addresses(skylark, "site").values()
        throughput(address, given.rounds, given.seconds, missing)
        ready, out = [], []
        for _ in range(given.rounds):
            ready.append(ready_to_traffic(skylark))
            out.append(kill_to_out(skylark))
    print(f"instance answers -> gets traffic: {shown(ready)}")
    print(f"kill -> out of the proxy:         {shown(out)}")
    for count in given.backends:
        print(f"one more service beside {count:>4} backends, reloaded: {shown(reloads(count, given.rounds))}")
    for name, reason in missing.items():
        print(f"{name} could not run: {reason}")
    return 1 if missing else 0


def throughput(address: str, rounds: int, seconds: int, missing: dict[str, str]) -> None:
    """Requests/s of each way to one container, in turn; the median of the rounds."""
    folder = Path(tempfile.mkdtemp(prefix="sky-px-"))
    rates: dict[str, list[float]] = {}
    failed: dict[str, int] = {}
    try:
        with proxies.running(folder, address, missing) as urls:
            for number in range(rounds):
                order = list(urls)[number % len(urls) :] + list(urls)[: number % len(urls)]
                for name in order:
                    answers = full(folder, urls[name], proxies.HOST, seconds)
                    rates.setdefault(name, []).append(answers.per_second)
                    failed[name] = failed.get(name, 0) + answers.failed
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    direct = median(rates["direct"])
    print("| way | requests/s | of direct | failed |\n|---|---|---|---|")
    for name, found in rates.items():
        print(f"| {name} | {median(found):,.0f} | {median(found) / direct:.2f} | {failed[name]} |", flush=True)


def ready_to_traffic(skylark: Skylark) -> float:
    """From the new instance's own first answer to its first through the proxy."""
    settled(skylark, 1)
    known = set(addresses(skylark, "site"))
    answered: list[float] = []

    def ask_it() -> None:
        new = until(lambda: [a for container, a in addresses(skylark, "site").items() if container not in known])
        until(lambda: _answers(new[0]))
        answered.append(time.monotonic())

    thread = threading.Thread(target=ask_it, daemon=True)
    skylark.api.update("site", target_num_instances=2)
    thread.start()
    until(lambda: "site-1" in request(skylark.http_port, HOST).body)
    reached = time.monotonic()
    thread.join(LIMIT_SECONDS)
    return max(0.0, reached - answered[0])


def _answers(address: str) -> bool:
    try:
        socket.create_connection((address, 80), timeout=1).close()
    except OSError:
        return False
    return True


def kill_to_out(skylark: Skylark) -> float:
    """From SIGKILL of the second instance until the proxy has it no more, without any request in between."""
    settled(skylark, 2)
    victim = skylark.containers("site")[1]
    uuid = victim["Labels"]["skylark.instance"]
    control = HaProxy(skylark.home / "haproxy", proxy_settings(skylark.http_port))
    began = time.monotonic()
    skylark.docker.kill(victim["Id"])
    until(lambda: not any(row.name == uuid and row.status in ("UP", "no check") for row in control.stats()))
    seconds = time.monotonic() - began
    skylark.api.update("site", target_num_instances=1)
    settled(skylark, 1)
    return seconds


def reloads(count: int, rounds: int) -> list[float]:
    """What it takes to bring one more service into effect: checked, written, reloaded and seen."""
    folder = Path(tempfile.mkdtemp(prefix="sky-px-"))
    found = []
    try:
        with proxies.our_haproxy(folder) as (proxy, _):
            for _ in range(rounds):
                proxy.apply(proxies.backends(count, "127.9.9.9"))
                applied = proxy.apply(proxies.backends(count + 1, "127.9.9.9"))
                assert applied.how == "reload", applied
                found.append(applied.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def addresses(skylark: Skylark, name: str) -> dict[str, str]:
    """Container id -> address of a service's running containers."""
    found = {}
    for container in skylark.containers(name):
        networks = container["NetworkSettings"]["Networks"].values()
        address = next((network["IPAddress"] for network in networks if network["IPAddress"]), "")
        if address:
            found[container["Id"]] = address
    return found


def until(check: Callable[[], T]) -> T:
    """Ask every two milliseconds until the answer is a true one."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (answer := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {LIMIT_SECONDS:g} s")
        time.sleep(0.002)
    return answer


def shown(seconds: list[float]) -> str:
    """Median and worst."""
    return f"{median(seconds):.3f} s (worst of {len(seconds)}: {max(seconds):.3f} s)"


if __name__ == "__main__":
    sys.exit(main())
