"""The races: N up, N down, and kill to replacement; every contestant in turn, with the same containers."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from docker import APIClient

from tests.bench.contestants import Contestant, RawSdk
from tests.bench.skylark import Skylark
from tests.bench.watch import Watch, running_ids
from tests.support.poll import eventually


@dataclass(frozen=True)
class Sample:
    """One measurement. `race`: "up", "down" or "heal"; `count`: containers of the round."""

    race: str
    count: int
    contestant: str
    seconds: float


Record = Callable[[Sample], None]


def race_up_and_down(contestant: Contestant, watch: Watch, count: int, record: Record) -> None:
    """From the request until the last container runs; from the request until the last one is removed."""
    began = time.time()
    contestant.up(count)
    record(Sample("up", count, contestant.name, watch.seconds_until("start", count, began)))
    _settle(contestant, count)
    began = time.time()
    contestant.down()
    record(Sample("down", count, contestant.name, watch.seconds_until("destroy", count, began)))
    if isinstance(contestant, Skylark):
        contestant.forget()


def race_healing(contestant: Contestant, watch: Watch, client: APIClient, kills: int, record: Record) -> None:
    """One container after the other is killed; from the kill until its replacement runs."""
    began = time.time()
    contestant.up(kills)
    watch.seconds_until("start", kills, began)
    _settle(contestant, kills)
    with contestant.healing() if isinstance(contestant, RawSdk) else nullcontext():
        # Each victim is one of the first containers: a second death in one slot would wait on purpose.
        for victim in running_ids(client, contestant.label)[:kills]:
            killed = time.time()
            client.kill(victim)
            record(Sample("heal", kills, contestant.name, watch.next_one("start", killed)[1] - killed))
            _settle(contestant, kills)
    contestant.down()
    eventually(lambda: not running_ids(client, contestant.label), 60)
    if isinstance(contestant, Skylark):
        contestant.forget()


def _settle(contestant: Contestant, count: int) -> None:
    """Skylark's own view has caught up, so that the next request finds it idle as the others are."""
    if isinstance(contestant, Skylark):
        contestant.wait_until_running(count)
