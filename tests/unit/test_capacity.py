"""Whether a host takes another instance."""

from __future__ import annotations

from orchestrator.capacity import MIB, Limits, Occupied, Tally, add_up, memory_available, room

XS = 512 * MIB
WIDE = Limits(instances=10, memory_bytes=None, reserve_bytes=256 * MIB)


def test_worked_example_of_the_docstring() -> None:
    number, reason = room(WIDE, Occupied(8), XS, 1024 * MIB, need_bytes=500 * MIB)

    assert number == 1
    assert reason == "the host has 1024 MB of memory free, 256 MB are its own, and another needs about 500 MB"


def test_number_of_instances_is_limited() -> None:
    number, reason = room(WIDE, Occupied(9), XS, None)

    assert number == 1
    assert reason == "9 of 10 instances are there (SKYLARK_CAPACITY_INSTANCES)"


def test_more_than_allowed_leaves_no_room_and_never_less_than_none() -> None:
    assert room(WIDE, Occupied(12), XS, None)[0] == 0


def test_sizes_are_limited_where_the_operator_says_so() -> None:
    limits = Limits(instances=100, memory_bytes=2048 * MIB, reserve_bytes=0)

    assert room(limits, Occupied(2, 2 * XS), XS, None)[0] == 2
    number, reason = room(limits, Occupied(4, 4 * XS), XS, None)
    assert number == 0
    assert "sizes add up to 2048 MB of 2048 MB, and another takes 512 MB" in reason


def test_sizes_may_add_up_to_more_than_the_host_has_free() -> None:
    assert room(WIDE, Occupied(5, 5 * 8192 * MIB), 8192 * MIB, 1024 * MIB)[0] == 5


def test_a_host_down_to_its_reserve_takes_none() -> None:
    number, reason = room(WIDE, Occupied(0), XS, 256 * MIB)

    assert number == 0
    assert "256 MB of memory free, 256 MB are its own" in reason


def test_places_granted_in_a_pass_are_taken() -> None:
    tally = Tally(Limits(instances=2, memory_bytes=None, reserve_bytes=0), Occupied(1), None)

    assert tally.grant(XS) == ""
    assert tally.grant(XS) == "limited by capacity: 2 of 2 instances are there (SKYLARK_CAPACITY_INSTANCES)"


def test_sizes_are_added_up_and_an_unknown_one_counts_as_the_fallback() -> None:
    assert add_up({"XS": XS, "S": 2 * XS}, {"XS": 2, "S": 1, "old": 1}, XS) == Occupied(4, 5 * XS)


def test_available_memory_is_read_from_meminfo() -> None:
    text = "MemTotal:       24605708 kB\nMemFree:        20000000 kB\nMemAvailable:   23000000 kB\n"

    assert memory_available(text) == 23_000_000 * 1024
    assert memory_available("MemTotal: 1 kB\n") is None
