"""Going on with a container's log where the store has it."""

from __future__ import annotations

import random

from orchestrator.engine.base import LogLine
from orchestrator.logs.resume import Moment, Resumed, since_seconds


def logged(*times: int) -> list[LogLine]:
    """Lines of these times, each with its place in the log as its message."""
    return [LogLine(at, "stdout", str(number).encode()) for number, at in enumerate(times)]


def resume(position: Moment | None, lines: list[LogLine]) -> list[LogLine]:
    return list(Resumed(position).of(lines))


def test_without_a_position_everything_is_new() -> None:
    assert resume(None, logged(1, 1, 2)) == logged(1, 1, 2)
    assert since_seconds(None) == 0


def test_lines_before_the_position_and_the_counted_ones_at_it_are_skipped() -> None:
    found = resume(Moment(12, 2), logged(10, 12, 12, 12, 13))

    assert [(new.at_ns, new.message) for new in found] == [(12, b"3"), (13, b"4")]


def test_engine_that_lost_the_stored_lines_gives_only_new_ones() -> None:
    assert resume(Moment(12, 2), logged(15, 16)) == logged(15, 16)


def test_line_stamped_out_of_order_is_neither_lost_nor_doubled() -> None:
    lines = logged(10, 12, 11, 12, 13)

    assert [new.message for new in resume(Moment(12, 1), lines)] == [b"2", b"3", b"4"]
    assert [new.message for new in resume(Moment(12, 2), lines)] == [b"3", b"4"]


def test_engine_is_asked_from_a_second_before_the_position() -> None:
    assert since_seconds(Moment(1_700_000_000_999_999_999, 1)) == 1_699_999_999
    assert since_seconds(Moment(5, 1)) == 0


def test_log_read_with_interruptions_anywhere_is_whole() -> None:
    dice = random.Random(4)
    times = [max(0, number // 3 + dice.choice((0, 0, -2))) for number in range(600)]
    lines, stored, position = logged(*times), list[LogLine](), None
    done = 0
    while done < len(lines):
        done += dice.randint(1, 40)  # what had been stored when the collector died
        stored += resume(position, lines[:done])
        position = Moment(stored[-1].at_ns, sum(line.at_ns == stored[-1].at_ns for line in stored))

    assert [line.message for line in stored] == [str(number).encode() for number in range(600)]
