"""How many more instances the autoscaler may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rig import Rig
from worker.room import Room

MIB = 1024 * 1024


@pytest.fixture
def rig(sqlite_url: str, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(sqlite_url, tmp_path, capacity_instances=10)
    yield made
    made.close()


def test_room_is_what_the_operators_limit_leaves(rig: Rig) -> None:
    rig.create(target_num_instances=4)
    rig.converge()

    room = Room(rig.sessions, rig.settings, lambda url: None, lambda uuid: 0)

    assert room(rig.service()) == (6, "4 of 10 instances are there (SKYLARK_CAPACITY_INSTANCES)")


def test_room_is_what_the_hosts_memory_leaves_by_what_instances_really_use(rig: Rig) -> None:
    rig.create(instance_size="M")
    rig.converge()

    room = Room(rig.sessions, rig.settings, lambda url: (256 + 250) * MIB, lambda uuid: 100 * MIB)

    assert room(rig.service()) == (
        2,
        "the host has 506 MB of memory free, 256 MB are its own, and another needs about 100 MB",
    )


def test_an_instance_is_never_expected_to_use_more_than_its_size(rig: Rig) -> None:
    rig.create(instance_size="XXS")  # 256 MB
    rig.converge()

    room = Room(rig.sessions, rig.settings, lambda url: (256 + 600) * MIB, lambda uuid: 900 * MIB)

    assert room(rig.service())[0] == 2


def test_what_came_meanwhile_is_counted_a_moment_later(rig: Rig) -> None:
    now = [0.0]
    room = Room(rig.sessions, rig.settings, lambda url: None, lambda uuid: 0, monotonic=lambda: now[0])
    rig.create(target_num_instances=1)
    rig.converge()
    assert room(rig.service())[0] == 9

    rig.change(target_num_instances=3)
    rig.converge()
    now[0] += 2.0

    assert room(rig.service())[0] == 7
