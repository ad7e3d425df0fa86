"""Lines that come in parts, of both streams side by side: whole in the store, whenever the worker is started anew."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from orchestrator.logs import record as records
from orchestrator.logs.lines import STDERR, STDOUT
from orchestrator.logs.position import Position, read_position
from orchestrator.logs.record import Joiner, Record, Skip
from tests.support.log_files import PART_BYTES, EngineLog, record
from tests.support.log_reader import Reader


def said(reader: Reader, stream: int) -> str:
    return "".join(message.decode() for _, which, message in reader.store.lines() if which == stream)


def test_line_beyond_a_megabyte_beside_a_half_line_is_whole_over_a_restart(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "c" / "c-json.log")
    reader = Reader(log)

    def part(number: int, stream: str, end: bytes = b"") -> None:
        log.say((b"%05d" % number).ljust(PART_BYTES - len(end), b"x"), stream, end=end)

    part(0, "stdout")
    part(1000, "stderr")
    for number in range(1, 65):
        part(number, "stdout")  # part 63 completes the first megabyte
    reader.read()
    reader.restart()
    for number in range(65, 70):
        part(number, "stdout", b"\n" if number == 69 else b"")
    part(1001, "stderr", b"\n")
    reader.finish()

    assert [number for number in range(70) if f"{number:05d}x" not in said(reader, STDOUT)] == []
    assert len(said(reader, STDOUT)) == 70 * PART_BYTES - 1
    assert len(said(reader, STDERR)) == 2 * PART_BYTES - 1


def test_half_lines_of_both_streams_and_restarts_at_any_moment_lose_and_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line also is cut where it is cut without a restart."""
    monkeypatch.setattr(records, "LONGEST_LINE", 40)
    for seed in range(30):
        dice = random.Random(seed)
        log = EngineLog(tmp_path / str(seed) / "c-json.log", max_bytes=2000, max_files=100)
        reader, steady = Reader(log), Reader(log)
        for number in range(200):
            end = b"\n" if dice.random() < 0.1 else b""
            log.write(record(b"%d," % number + end, log.now_ns, dice.choice(["stdout", "stderr"])))
            log.now_ns += 1
            if dice.random() < 0.3:
                reader.bite(dice.choice([100, 500, 5000]))
            if dice.random() < 0.2:
                reader.restart()
        reader.finish()
        steady.finish()

        assert reader.store.lines() == steady.store.lines(), f"seed {seed}"
        assert reader.store.told() == []


def test_joiner_tells_what_stands_before_a_half_line_and_cuts_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST_LINE", 4)
    parts = [Record(1, stream, message, False, 1) for stream, message in [(1, b"aa"), (2, b"x"), (1, b"bb"), (1, b"c")]]
    joiner: Joiner[int] = Joiner()

    assert list(joiner.join(parts, range(4))) == [(1, 1, b"aabb")]
    assert joiner.resume(4) == (1, Skip(1, 1, 2))
    again: Joiner[int] = Joiner(Skip(1, 1, 2))
    assert list(again.join(parts[1:], range(1, 4))) == [(1, 1, b"bb")]
    assert again.resume(4) == joiner.resume(4)


def test_position_is_read_as_it_was_written() -> None:
    for skip in (Skip(), Skip(3), Skip(3, STDERR, 16384)):
        position = Position(5, 1, None, skip)
        assert read_position(position.text()) == position
    assert read_position('{"ns":5,"count":1,"skip":3}') == Position(5, 1, None, Skip(3))


def test_lost_place_leaves_out_nothing_of_what_came_since(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "c" / "c-json.log")
    reader = Reader(log)
    log.say(b"half", "stderr", end=b"")
    log.number(1, 2, 3)
    reader.read()
    reader.restart()
    for number in range(4, 9):
        log.rotate()
        log.number(number)
    reader.read()

    assert reader.store.numbers() == [1, 2, 3, 6, 7, 8]
    assert len(reader.store.told()) == 1
