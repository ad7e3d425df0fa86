"""`python -m tests.bench`: all contestants in one run; a table of ratios, and every number in build/bench.json."""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import docker

from tests.bench.contestants import Compose, Contestant, RawSdk, Swarm
from tests.bench.converged import measure_rest
from tests.bench.races import Sample, race_healing, race_up_and_down
from tests.bench.skylark import Skylark
from tests.bench.table import lines
from tests.bench.watch import Watch, remove_all, watching
from tests.images import build
from tests.support.registry import Registry, forget_images

ROUNDS = {1: 5, 10: 3, 50: 2}  # containers: how often
KILLS = 8
RESULT = Path("build/bench.json")


def main() -> int:
    """Exit status 1 when a contestant could not run at all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--counts", type=int, nargs="*", default=list(ROUNDS), help="containers to bring up")
    parser.add_argument("--rounds", type=int, help="rounds for each count instead of the usual ones")
    parser.add_argument("--rest", type=int, default=300, help="containers of the pass at rest; 0 leaves it out")
    parser.add_argument("--without", nargs="*", default=[], help="contestants to leave out, such as Swarm")
    given = parser.parse_args()
    client = docker.APIClient(version="auto", timeout=120)
    folder = Path(tempfile.mkdtemp(prefix="skylark-bench-"))
    samples: list[Sample] = []
    missing: dict[str, str] = {}
    rest = None
    with image_in_registry(client, folder) as image, ExitStack() as stack:
        entered = list(_enter(stack, client, image, folder, given.without, missing))
        for contestant, watch in entered:  # not counted: first connections, first imports
            race_up_and_down(contestant, watch, 1, lambda sample: None)
        for count in given.counts:
            for number in range(given.rounds or ROUNDS.get(count, 2)):
                turn = number % len(entered)  # nobody always comes first
                for contestant, watch in entered[turn:] + entered[:turn]:
                    say(f"{count} containers, round {number + 1}: {contestant.name}")
                    race_up_and_down(contestant, watch, count, samples.append)
        for contestant, watch in entered:
            if contestant.heals:
                say(f"{KILLS} kills: {contestant.name}")
                race_healing(contestant, watch, client, KILLS, samples.append)
        stack.close()
        if given.rest:
            say(f"{given.rest} containers at rest")
            label = new_label("rest")
            stack.callback(remove_all, client, label)
            home = folder / "rest"
            home.mkdir()
            rest = measure_rest(lambda: Skylark(label, image, home), given.rest, idle_seconds=20, passes=20)
    shutil.rmtree(folder, ignore_errors=True)
    RESULT.parent.mkdir(exist_ok=True)
    found = {"samples": [asdict(s) for s in samples], "rest": asdict(rest) if rest else None, "missing": missing}
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join(lines(samples, rest, missing)))
    return 1 if missing else 0


def say(text: str) -> None:
    """Where the run is, for whoever waits."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def new_label(name: str) -> str:
    """An installation name that `make clean-docker` knows as a test's."""
    return f"skylark-test-bench-{name}-{secrets.token_hex(3)}"


@contextmanager
def image_in_registry(client: docker.APIClient, folder: Path) -> Iterator[str]:
    """The web server's image in a registry of our own."""
    registry = Registry(folder / "registry")
    registry.start()
    try:
        yield build.push_image(client, "web", registry.host) + ":v1"
    finally:
        registry.stop()
        forget_images(client, registry.host)


def _enter(
    stack: ExitStack, client: docker.APIClient, image: str, folder: Path, without: list[str], missing: dict[str, str]
) -> Iterator[tuple[Contestant, Watch]]:
    """The contestants that can run here; why the others cannot goes into `missing`."""
    makers: dict[str, Callable[[str], Contestant]] = {
        "Skylark": lambda label: Skylark(label, image, folder),
        "raw SDK": lambda label: RawSdk(label, image),
        "docker-compose": lambda label: Compose(label, image, folder),
        "Swarm": lambda label: Swarm(label, image),
    }
    for name, make in makers.items():
        if name in without:
            continue
        label = new_label(name.split()[0].lower())
        stack.callback(remove_all, client, label)
        try:
            contestant = make(label)
        except Exception as error:
            missing[name] = str(error)
            continue
        stack.callback(contestant.close)
        yield contestant, stack.enter_context(watching(label))


if __name__ == "__main__":
    sys.exit(main())
