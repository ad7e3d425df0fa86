"""A log file is read on through rotation, restarts and accidents: every line once, or it is said that some may miss."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from orchestrator.logs.position import read_position
from tests.support.log_files import START_NS, EngineLog, record
from tests.support.log_reader import Reader


@pytest.fixture
def log(tmp_path: Path) -> EngineLog:
    return EngineLog(tmp_path / "c" / "c-json.log")


@pytest.fixture
def reader(log: EngineLog) -> Reader:
    return Reader(log)


def test_rotation_at_any_moment_with_restarts_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Random writing, reading and restarting; the engine never gets further ahead than it keeps files."""
    for seed in range(8):
        dice = random.Random(seed)
        log = EngineLog(tmp_path / str(seed) / "c-json.log", max_bytes=3000, max_files=4)
        reader = Reader(log)
        said = 0
        for _ in range(50):
            count = dice.randrange(40)
            for number in range(said, said + count):
                if dice.random() < 0.05:
                    log.write(record(b"0" * dice.randrange(1, 5), log.now_ns, "stderr"))  # half a line
                log.say(b"%d" % number, dice.choice(["stdout", "stderr"]))
            said += count
            for _ in range(dice.randrange(4)):
                reader.bite(dice.choice([200, 1000, 256 * 1024]))
            if dice.random() < 0.3:
                reader.restart()
            reader.read()
        assert reader.store.numbers() == list(range(said)), f"seed {seed}"
        assert reader.store.told() == []


def test_worker_that_was_away_reads_the_rotated_files_first(log: EngineLog, reader: Reader) -> None:
    log.number(1, 2)
    reader.read()
    log.number(3)
    log.rotate()
    log.number(4)
    log.rotate()
    log.number(5)
    reader.restart()
    reader.read()

    assert reader.store.numbers() == [1, 2, 3, 4, 5]
    assert reader.store.told() == []


def test_file_rotated_away_unread_is_told(log: EngineLog, reader: Reader) -> None:
    log.number(1)
    reader.read()
    reader.restart()
    for number in range(2, 7):
        log.number(number)
        log.rotate()
    log.number(7)
    reader.read()

    assert reader.store.numbers() == [1, 5, 6, 7]
    assert reader.store.told() == ["lines may be missing: the engine rotated its log away before it was read"]


def test_files_held_open_are_read_though_the_engine_has_removed_them(log: EngineLog, reader: Reader) -> None:
    log.number(1)
    reader.read()
    for number in range(2, 6):
        log.number(number)
        log.rotate()
        assert reader.track.source is not None
        reader.source.pending()
        reader.source.tail._extend()

    log.number(6)
    reader.read()
    assert reader.store.numbers() == [1, 2, 3, 4, 5, 6]
    assert reader.store.told() == []


def test_reader_that_lags_does_not_keep_ever_more_removed_files(log: EngineLog, reader: Reader) -> None:
    log.number(1)
    reader.read()
    for number in range(2, 20):
        log.number(number)
        log.rotate()
        reader.source.tail._extend()
    assert len(reader.source.tail._files) <= 5
    reader.read()

    assert reader.store.numbers()[-3:] == [17, 18, 19]
    (told,) = reader.store.told()
    assert told.startswith("lines may be missing: the engine rotated its log away before it was read (")


def test_log_cut_to_nothing_by_an_operator_is_told_and_read_on(log: EngineLog, reader: Reader) -> None:
    log.number(1, 2)
    reader.read()
    size = log.path.stat().st_size
    os.truncate(log.path, 0)
    log.number(3)
    reader.read()

    assert reader.store.numbers() == [1, 2, 3]
    (told,) = reader.store.told()
    assert told.startswith(f"lines may be missing: its log file was cut from {size} to ")


def test_log_copied_and_cut_by_an_operator_is_read_on_in_the_copy(log: EngineLog, reader: Reader) -> None:
    log.number(1)
    reader.read()
    log.number(2)
    shutil.copy(log.path, f"{log.path}.1")
    os.truncate(log.path, 0)
    log.number(3, 4)
    reader.read()

    assert reader.store.numbers() == [1, 2, 3, 4]
    assert reader.store.told() == []


def test_removed_log_file_is_read_on_while_it_is_open(log: EngineLog, reader: Reader) -> None:
    log.number(1)
    reader.read()
    log.path.unlink()
    log.number(2)
    reader.source.rest()
    reader.read()

    assert reader.store.numbers() == [1, 2]


def test_quiet_log_gives_its_file_back_and_is_found_again(log: EngineLog, reader: Reader) -> None:
    log.number(1)
    reader.read()
    reader.source.rest()
    assert reader.source.tail._files == []
    log.rotate()
    log.number(2)
    reader.read()

    assert reader.store.numbers() == [1, 2]
    assert reader.store.told() == []


def test_inode_used_anew_for_another_file_does_not_deceive(log: EngineLog, reader: Reader) -> None:
    log.number(1)
    reader.read()
    position = reader.store.positions["c"]
    log.close()
    log.path.write_bytes(b"".join(record(b"%d" % n + b"\n", START_NS + n * 10**9) for n in range(5, 9)))
    inode = log.path.stat().st_ino
    old = read_position(position)
    assert old is not None
    assert old.place is not None
    assert old.place.inode == inode
    reader.restart()
    reader.read()

    assert reader.store.numbers() == [1, 5, 6, 7, 8]
    assert len(reader.store.told()) == 1


def test_long_line_is_joined_of_its_parts_and_whole(log: EngineLog, reader: Reader) -> None:
    line = bytes(65 + n % 26 for n in range(1024 * 1024 - 100))
    log.say(line)
    log.say(b"after")
    reader.read()

    assert reader.store.messages() == [line.decode(), "after"]


def test_line_without_end_comes_in_pieces_of_a_megabyte(log: EngineLog, reader: Reader) -> None:
    log.say(b"x" * (2 * 1024 * 1024 + 5))
    reader.read()

    assert [len(message) for message in reader.store.messages()] == [1024 * 1024, 1024 * 1024, 5]


def test_half_line_waits_and_survives_a_restart_beside_the_other_stream(log: EngineLog, reader: Reader) -> None:
    log.say(b"half ", end=b"")
    log.say(b"1", "stderr")
    reader.read()
    assert reader.store.messages() == ["1"]
    reader.restart()
    log.say(b"2", "stderr")
    log.rotate()
    log.say(b"and half")
    log.say(b"3", "stderr")
    reader.read()

    assert reader.store.messages() == ["1", "2", "half and half", "3"]


def test_last_line_without_line_end_is_stored_when_the_container_has_ended(log: EngineLog, reader: Reader) -> None:
    log.say(b"first")
    log.say(b"no end", end=b"")
    reader.finish()
    reader.restart()
    reader.finish()

    assert reader.store.messages() == ["first", "no end"]


def test_record_that_the_engine_is_writing_is_waited_for(log: EngineLog, reader: Reader) -> None:
    data = record(b"hello\n", START_NS)
    for end in range(1, len(data)):
        log.write(data[end - 1 : end])
        assert not reader.bite()
    log.write(data[-1:])
    reader.read()

    assert reader.store.messages() == ["hello"]


def test_damaged_record_is_told_and_its_neighbours_are_kept(log: EngineLog, reader: Reader) -> None:
    log.number(1)
    log.write(b'\0\0\0{"log":"torn{"log":"x"\n')
    log.number(2)
    reader.read()

    assert reader.store.numbers() == [1, 2]
    assert reader.store.told() == ["a damaged record of the engine's log was left out: 26 bytes"]


def test_stretch_of_zeros_is_skipped_and_told(log: EngineLog, reader: Reader) -> None:
    log.number(1)
    log.write(bytes(600 * 1024) + b"\n")
    log.number(2)
    reader.read()

    assert reader.store.numbers() == [1, 2]
    assert any("can't be read (262144 bytes)" in told for told in reader.store.told())


@pytest.mark.parametrize(
    "message",
    [
        b"\x1b[31mred\x1b[0m",
        b'{"level":"info","html":"<a href=\\"x\\">&</a>"}',
        b"ends in a backslash \\",
        b"two \\\\",
        b"backslash n \\n",
        "Lerche 云雀 \U0001f426 \u2028".encode(),
        b"\t\r\x00\x7f",
        b"",
    ],
)
def test_whatever_is_in_a_line_is_kept(log: EngineLog, reader: Reader, message: bytes) -> None:
    log.say(message)
    log.say(message, end=b"")
    log.say(message, "stderr")
    reader.finish()

    assert sorted(line[1:] for line in reader.store.lines()) == [(1, message), (1, message), (2, message)]


def test_two_lines_in_one_nanosecond_are_two_in_their_order(log: EngineLog, reader: Reader) -> None:
    for number in range(4):
        log.say(b"%d" % number, step_ns=0)
        reader.read()
        reader.restart()

    assert reader.store.numbers() == [0, 1, 2, 3]
    assert {at_ns for at_ns, _, _ in reader.store.lines()} == {START_NS}


def test_clock_that_jumps_loses_nothing(log: EngineLog, reader: Reader) -> None:
    for number, step in enumerate([10**9, -3600 * 10**9, 10**9, 7200 * 10**9, -1, 5]):
        log.say(b"%d" % number, step_ns=step)
        reader.read()
        reader.restart()

    assert reader.store.numbers() == list(range(6))


def test_lines_beyond_the_limit_are_counted_told_and_passed(log: EngineLog) -> None:
    reader = Reader(log, per_second=10)
    for number in range(120):
        log.say(b"%d" % number, step_ns=1000)
    reader.read()
    reader.restart()
    assert reader.store.told() == []
    log.say(b"120", step_ns=6 * 10**9)
    reader.read()

    assert reader.store.numbers() == [*range(50), 120]
    (told,) = reader.store.told()
    assert told.startswith("70 lines dropped: more than 10 lines/s, 2026-")


def test_lines_dropped_before_silence_are_told_then(log: EngineLog) -> None:
    reader = Reader(log, per_second=1)
    for number in range(7):
        log.say(b"%d" % number, step_ns=1000)
    reader.read()
    reader.bite(now=2.0)

    assert reader.store.numbers() == list(range(5))
    assert reader.store.told()[0].startswith("2 lines dropped: more than 1 lines/s")


@pytest.mark.parametrize("call", ["open", "pread"])
def test_log_of_which_a_file_cannot_be_read_leaves_no_file_open(
    log: EngineLog, reader: Reader, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    log.number(1)
    reader.read()
    reader.restart()
    for number in (2, 3):
        log.rotate()
        log.number(number)
    real, opened = getattr(os, call), len(os.listdir("/proc/self/fd"))

    def failing(file: object, *args: int) -> object:
        old = file if isinstance(file, str) else os.readlink(f"/proc/self/fd/{file}")
        if str(old).endswith(".2"):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(file, *args)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing)
        for _ in range(3):
            with pytest.raises(OSError, match="Too many"):
                reader.read()
    reader.source.close()
    assert len(os.listdir("/proc/self/fd")) == opened
    reader.read()
    assert reader.store.numbers() == [1, 2, 3]
