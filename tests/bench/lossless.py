"""`python -m tests.bench.lossless`: what changes under a steady load cost in failed requests; a Markdown table."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import docker

from tests.bench.load import Answers, steady
from tests.support.haproxy import request
from tests.support.poll import eventually
from tests.support.registry import Images, Registry, forget_images
from tests.support.skylark import MakeSkylark, Skylark

PORTS = [{"container_port": 80, "endpoint_type": "http-endpoint"}]
HOST = "site-madams.skylark.local"
AS_DELIVERED = {"SKYLARK_TICK_SECONDS": "5", "SKYLARK_STOP_GRACE_SECONDS": "10"}  # the tests' are shorter


def main() -> int:
    """Exit status 1 when a request failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lossless", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="how often each change is done")
    rounds = parser.parse_args().rounds
    failed = 0
    print("| change | rounds | requests | failed | requests/s | slowest answer |\n|---|---|---|---|---|---|")
    with installation() as (skylark, images):
        folder = skylark.folder
        url = f"http://127.0.0.1:{skylark.http_port}/"
        for name, change in CHANGES.items():
            total, rates = Answers(), []
            for _ in range(rounds):
                prepare(skylark, images, 2 if name.startswith("scale") else 4)
                with steady(folder, url, HOST) as answers:
                    change(skylark, images)
                total.requests += answers.requests
                total.failed += answers.failed
                total.slowest_ms = max(total.slowest_ms, answers.slowest_ms)
                rates.append(answers.per_second)
            failed += total.failed
            rate = sum(rates) / len(rates)
            cells = (name, rounds, total.requests, total.failed, f"{rate:.0f}", f"{total.slowest_ms:.0f} ms")
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    return 1 if failed else 0


@contextmanager
def installation() -> Iterator[tuple[Skylark, Images]]:
    """A Skylark with a proxy, and a registry; all of it is gone afterwards."""
    client = docker.APIClient(version="auto", timeout=120)
    folder = Path(tempfile.mkdtemp(prefix="skylark-bench-"))
    registry = Registry(folder / "registry")
    maker = MakeSkylark(client, "unix:///var/run/docker.sock")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(forget_images, client, registry.host)
        stack.callback(registry.stop)
        registry.start()
        stack.callback(maker.close)
        images = Images(client, registry)
        skylark = maker.with_proxy(**AS_DELIVERED).start()
        skylark.api.create("site", f"{images['page']}:v1", target_num_instances=2, instance_ports=PORTS)
        skylark.api.running("site", 2)
        yield skylark, images


def prepare(skylark: Skylark, images: Images, count: int) -> None:
    """`count` instances of version 1, all at rest."""
    skylark.api.update("site", target_num_instances=count, image_name=images["page"], image_tag="v1")
    settled(skylark, count)
    eventually(lambda: request(skylark.http_port, HOST).status == 200)


def settled(skylark: Skylark, count: int) -> None:
    """Wait until it runs as declared, in Docker's eyes too."""

    def check() -> bool:
        seen: dict[str, Any] = skylark.api.service("site")
        assert seen["current_status"] == "Running", seen["status_reason"]
        assert seen["generation"] == seen["observed_generation"]
        assert seen["started_num_instances"] == count
        assert not seen["is_deploying"]
        assert len(skylark.ids("site")) == count
        return True

    eventually(check, 120)


def scale(skylark: Skylark, images: Images) -> None:
    for count in (10, 2):
        skylark.api.update("site", target_num_instances=count)
        settled(skylark, count)


def update(skylark: Skylark, images: Images) -> None:
    with replaced(skylark):
        skylark.api.update("site", image_tag="v2")


def restart(skylark: Skylark, images: Images) -> None:
    with replaced(skylark):
        skylark.api.ask("PUT", "/site/restart/")


@contextmanager
def replaced(skylark: Skylark) -> Iterator[None]:
    """Wait until no container of before is left."""
    before = set(skylark.ids("site"))
    yield
    eventually(lambda: not before & set(skylark.ids("site")), 120)
    settled(skylark, 4)


def kill(skylark: Skylark, images: Images) -> None:
    victim = skylark.ids("site")[1]
    skylark.docker.kill(victim)
    eventually(lambda: victim not in skylark.ids("site"), 60)
    settled(skylark, 4)


def restart_worker(skylark: Skylark, images: Images) -> None:
    assert skylark.worker is not None
    skylark.worker.end()
    skylark.start_worker()
    scaled_by_one(skylark)


def kill_worker(skylark: Skylark, images: Images) -> None:
    assert skylark.worker is not None
    skylark.worker.kill()
    skylark.start_worker()
    scaled_by_one(skylark)


def scaled_by_one(skylark: Skylark) -> None:
    """The new worker acts."""
    skylark.api.update("site", target_num_instances=5)
    settled(skylark, 5)


def reload_proxy(skylark: Skylark, images: Images) -> None:
    """A new service is a reload, and so is its deletion."""
    neighbour(skylark, images)
    skylark.api.delete("near")
    eventually(lambda: skylark.api.call("GET", "/v1/services/madams/near/").status_code == 404, 30)


def stop_neighbour(skylark: Skylark, images: Images) -> None:
    neighbour(skylark, images)
    skylark.api.stop("near")
    skylark.api.status("near", "Stopped", seconds=60)
    skylark.api.delete("near")
    eventually(lambda: skylark.api.call("GET", "/v1/services/madams/near/").status_code == 404, 30)


def neighbour(skylark: Skylark, images: Images) -> None:
    ports = [{"container_port": 80, "endpoint_type": "tcp-endpoint"}]
    skylark.api.create("near", f"{images['web']}:v1", target_num_instances=2, instance_ports=ports)
    skylark.api.running("near", 2)


CHANGES: dict[str, Callable[[Skylark, Images], None]] = {
    "scale 2 -> 10 -> 2": scale,
    "rolling update of 4": update,
    "restart of 4": restart,
    "SIGKILL of 1 of 4": kill,
    "worker restarted (SIGTERM)": restart_worker,
    "worker killed (SIGKILL)": kill_worker,
    "proxy reloaded, twice": reload_proxy,
    "neighbour made, stopped, deleted": stop_neighbour,
}


if __name__ == "__main__":
    sys.exit(main())
