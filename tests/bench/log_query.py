"""`python -m tests.bench.log_query`: a minute out of millions of log lines, against `docker logs` and against grep.

One service has written a line every few milliseconds for a day. The same lines lie in Skylark's log store, in the log
of a container (a file of the engine's own format, put in the place of its own) and in a plain text file. Asked for
are minutes at the beginning, in the middle and at the end: of Skylark over HTTP, and of the engine by
`docker logs --since --until`; then a text: of Skylark with `query`, and of the file by `grep -F`. All must agree.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import docker

from orchestrator.engine.base import LABEL_INSTALLATION
from orchestrator.logs.archive import LogArchive
from orchestrator.logs.lines import STDOUT, Batch
from tests.images.build import build
from tests.support.poll import eventually
from tests.support.skylark import Skylark

URL = "unix:///var/run/docker.sock"
DAY_SECONDS = 86_400
WINDOW_SECONDS = 60
NAME, INSTANCE = "talker", "11111111-2222-4333-8444-555555555555"
_BITE = 5000  # lines in one transaction, as in a busy round of the collector
_NS = 1_000_000_000
_WORDS = ["accepted", "refused", "retried", "stored", "fetched", "sent", "dropped", "resumed"]
RARE, COMMON = "order 4f1c9e07 lost", "refused"


@dataclass(frozen=True)
class Timed:
    """One question, asked of one of them several times. `answers`: lines in an answer, of the last one."""

    question: str
    who: str
    answers: int
    seconds: tuple[float, ...]

    @property
    def p95(self) -> float:
        return quantiles(self.seconds, n=20, method="inclusive")[-1] if len(self.seconds) > 1 else self.seconds[0]


def main() -> int:
    """Exit status 1 when the answers differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.log_query", description=__doc__)
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument(
        "--times", type=int, default=20, help="how often Skylark is asked each question; others 3 times"
    )
    given = parser.parse_args()
    client = docker.APIClient(version="auto", timeout=600)
    skylark = Skylark(client, URL)
    found: list[Timed] = []
    try:
        world = World(skylark, client, given.lines)
        for title, at in places():
            pair = ask_minute(world, title, at, given.times)
            print("\n".join(told(pair)), flush=True)
            found += pair
        for text in (RARE, COMMON):
            pair = ask_text(world, text, given.times)
            print("\n".join(told(pair)), flush=True)
            found += pair
    finally:
        skylark.close()
    Path("build").mkdir(exist_ok=True)
    Path("build/bench_log_query.json").write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
    differing = [a.question for a, b in zip(found[::2], found[1::2], strict=True) if a.answers != b.answers]
    for question in differing:
        print(f"the answers to {question!r} differ", file=sys.stderr)
    return 1 if differing else 0


class World:
    """The lines in their three places; Skylark's API is there, and no worker."""

    def __init__(self, skylark: Skylark, client: docker.APIClient, lines: int) -> None:
        migrate = [sys.executable, "-m", "worker.cli", "migrate"]
        subprocess.run(migrate, env=skylark.environ, check=True, capture_output=True)
        skylark.start_api()
        eventually(lambda: skylark.api.call("GET", "/healthz").ok, 60)
        self.skylark = skylark
        image = build(client, "busybox")[0]
        self.begin = int(time.time()) // DAY_SECONDS * DAY_SECONDS - DAY_SECONDS
        self.uuid = skylark.api.create(NAME, image, target_state="STOPPED")["uuid"]
        labels = {LABEL_INSTALLATION: skylark.installation}
        kept = client.create_host_config(log_config={"type": "json-file", "config": {}}, network_mode="none")
        self.container = client.create_container(image, ["true"], labels=labels, host_config=kept)["Id"]
        client.start(self.container)
        client.wait(self.container)
        self.plain = skylark.folder / "plain.log"
        self._write(Path(client.inspect_container(self.container)["LogPath"]), lines)

    def _write(self, engine_log: Path, count: int) -> None:
        archive = LogArchive(self.skylark.home / "logs", max_bytes=None, service_max_bytes=None)
        began, used = time.monotonic(), 0.0
        with engine_log.open("w") as records, self.plain.open("w") as plain:
            for batch in batches(self.begin * _NS, count):
                for at_ns, message in batch:
                    stamp = datetime.fromtimestamp(at_ns // _NS, UTC).strftime("%Y-%m-%dT%H:%M:%S")
                    records.write(f'{{"log":"{message}\\n","stream":"stdout","time":"{stamp}.{at_ns % _NS:09d}Z"}}\n')
                    plain.write(message + "\n")
                lines = [(at_ns, STDOUT, message.encode()) for at_ns, message in batch]
                before = time.monotonic()
                archive.append([Batch(self.uuid, INSTANCE, self.container, lines, "")])
                used += time.monotonic() - before
        before = time.monotonic()
        archive.maintain(3600)
        size = archive.size_bytes()
        archive.close()
        print(
            f"{count} lines, {self.plain.stat().st_size / 1e6:.0f} MB of text, {engine_log.stat().st_size / 1e6:.0f} MB"
            f" as the engine keeps them, {size / 1e6:.0f} MB in the store: stored in {used:.0f} s ="
            f" {count / used:,.0f} lines/s, indexed in {time.monotonic() - before:.0f} s"
            f" (all written in {time.monotonic() - began:.0f} s)",
            flush=True,
        )


def batches(begin_ns: int, count: int) -> Iterator[list[tuple[int, str]]]:
    """Lines of about 100 bytes, evenly over a day; ten of them have the rare text."""
    chance = random.Random(7)
    step = DAY_SECONDS * _NS // count
    for first in range(0, count, _BITE):
        batch = []
        for number in range(first, min(count, first + _BITE)):
            is_rare = number % (count // 10) == count // 20
            text = RARE if is_rare else f"{chance.choice(_WORDS)} {chance.getrandbits(32):08x}"
            message = (
                f"line {number} of a service: {text} in {chance.random() * 50:.3f} ms, path=/v1/things/{number % 977}"
            )
            batch.append((begin_ns + number * step, message))
        yield batch


def places() -> Sequence[tuple[str, int]]:
    """Where the minutes are asked for, in seconds from the beginning; each time another one nearby."""
    return ("at the beginning", 600), ("in the middle", DAY_SECONDS // 2), ("at the end", DAY_SECONDS - 1200)


def ask_minute(world: World, title: str, at: int, times: int) -> list[Timed]:
    """The same minutes of both."""
    ours, theirs = [], []
    answers = {"ours": 0, "theirs": 0}
    for number in range(times):
        start = world.begin + at + number * 29
        ours.append(timed(lambda s=start: ask(world, start_time=s, end_time=s + WINDOW_SECONDS - 1), answers, "ours"))
        if number >= times - 3:
            theirs.append(timed(lambda s=start: docker_logs(world, s), answers, "theirs"))
    question = f"{WINDOW_SECONDS} s {title}"
    return [
        Timed(question, "Skylark over HTTP", answers["ours"], tuple(ours)),
        Timed(question, "docker logs --since --until", answers["theirs"], tuple(theirs)),
    ]


def ask_text(world: World, text: str, times: int) -> list[Timed]:
    """The same text in all lines; in a page of what is common, as nobody reads half a million lines."""
    limit = 1000
    whole = {"start_time": world.begin, "end_time": world.begin + DAY_SECONDS, "query": text, "limit": limit}
    answers = {"ours": 0, "theirs": 0}
    ours = [timed(lambda: ask(world, **whole), answers, "ours") for _ in range(times)]
    theirs = [timed(lambda: grep(world, text, limit), answers, "theirs") for _ in range(3)]
    question = f"text {text!r}, the first {limit} lines"
    return [
        Timed(question, "Skylark over HTTP", answers["ours"], tuple(ours)),
        Timed(question, f"grep -F -m {limit}", answers["theirs"], tuple(theirs)),
    ]


def timed(do: Callable[[], int], answers: dict[str, int], who: str) -> float:
    """Seconds that `do()` took; how many lines it found goes into `answers`."""
    began = time.monotonic()
    answers[who] = do()
    return time.monotonic() - began


def ask(world: World, **parameters: Any) -> int:
    """The number of lines in the API's answer."""
    return len(world.skylark.api.ask("GET", f"/{NAME}/logs", params=parameters))


def docker_logs(world: World, start: int) -> int:
    """The number of lines that the engine gives for the minute."""
    span = ["--since", str(start), "--until", f"{start + WINDOW_SECONDS - 1}.999999999"]
    return _lines(["docker", "logs", *span, world.container])


def grep(world: World, text: str, limit: int) -> int:
    """The number of lines that grep finds."""
    return _lines(["grep", "-F", "-m", str(limit), text, str(world.plain)])


def _lines(command: Sequence[str]) -> int:
    return subprocess.run(command, capture_output=True, check=True).stdout.count(b"\n")


def told(pair: Sequence[Timed]) -> Iterator[str]:
    """Both, and how many times as long the other one takes."""
    own = pair[0]
    for each in pair:
        times = median(each.seconds) / median(own.seconds)
        yield (
            f"{each.question}: {each.who:28} {each.answers:6} lines, median {median(each.seconds) * 1000:9.1f} ms,"
            f" p95 {each.p95 * 1000:9.1f} ms, {times:7.1f} x"
        )


if __name__ == "__main__":
    sys.exit(main())
