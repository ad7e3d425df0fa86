"""The reconcile pass on a host that is full: nothing half-made, a reason, and on it goes when there is room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rig import Rig

MIB = 1024 * 1024


@pytest.fixture
def rig(sqlite_url: str, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(sqlite_url, tmp_path, capacity_instances=3, capacity_memory_mb=4096)
    yield made
    made.close()


def test_what_the_host_has_no_room_for_is_not_begun_and_the_status_says_why(rig: Rig) -> None:
    rig.create(target_num_instances=5)
    rig.converge()

    assert len(rig.containers()) == 3
    assert len(rig.instances()) == 3
    assert rig.status() == (
        "PartialRunning",
        "limited by capacity: 3 of 3 instances are there (SKYLARK_CAPACITY_INSTANCES)",
    )
    assert [event.data["wanted"] for event in rig.events("limited_by_capacity")] == [5]


def test_a_full_host_is_told_once_and_changes_nothing_more(rig: Rig) -> None:
    rig.create(target_num_instances=5)
    rig.converge()

    calls, statements = rig.counted(lambda: rig.run_pass())

    assert set(calls) == {"list_containers"}
    assert not [text for text in statements if text.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert len(rig.events("limited_by_capacity")) == 1


def test_services_share_what_there_is(rig: Rig) -> None:
    rig.create("first", target_num_instances=2)
    rig.converge()
    rig.create("second", target_num_instances=2)
    rig.converge()

    assert len(rig.containers()) == 3
    assert rig.status("first")[0] == "Running"
    assert rig.status("second")[0] == "PartialRunning"


def test_room_that_comes_is_used(rig: Rig) -> None:
    rig.create("first", target_num_instances=3)
    rig.after(1)  # whoever was declared earlier is served first; of the same moment, whose uuid is lower
    rig.create("second", target_num_instances=1)
    rig.converge()
    assert rig.status("second")[0] == "StartError"

    rig.delete("first")
    rig.converge()

    assert rig.status("second") == ("Running", "1 of 1 instance running")


def test_sizes_count_where_the_operator_limits_memory(rig: Rig) -> None:
    rig.create(instance_size="M", target_num_instances=3)  # 2 GB each, of 4
    rig.converge()

    assert len(rig.containers()) == 2
    assert "sizes add up to 4096 MB of 4096 MB, and another takes 2048 MB" in rig.status()[1]


def test_a_host_without_memory_takes_nothing_new_and_keeps_what_it_has(rig: Rig) -> None:
    rig.create(target_num_instances=1)
    rig.converge()
    rig.free_bytes = 100 * MIB
    rig.change(target_num_instances=2)
    rig.converge()

    assert len(rig.containers()) == 1
    assert rig.status() == (
        "PartialRunning",
        "limited by capacity: the host has 100 MB of memory free, 256 MB are its own",
    )

    rig.free_bytes = 300 * MIB
    rig.converge()
    assert rig.status() == ("Running", "2 of 2 instances running")
