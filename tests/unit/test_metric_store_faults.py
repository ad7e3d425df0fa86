"""The metric store in trouble: killed writers, full disks, too much of it, readers beside the writer."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.metrics.query_periods import Span
from orchestrator.metrics.samples import Sample
from orchestrator.metrics.store import MetricStore, MetricStoreFull
from tests.unit.metric_samples import HOUR, MIB, T0, make_store, proxy, sample

ROOT = Path(__file__).resolve().parents[2]
EVER = 2**50
WRITER = """
import sys
from pathlib import Path
from tests.unit.metric_samples import make_store, proxy, sample
store = make_store(Path(sys.argv[1]))
for number in range(1_000_000):
    at = number * 5
    store.add([sample(at, instance=f"i{n}", cores=0.1, rx=at * 10) for n in range(20)], [proxy(at, 10)])
    print(number, flush=True)
"""


def round_of(at: float, instances: int = 300) -> list[Sample]:
    return [sample(at, instance=f"instance-{n}", memory=10**8 + n, rx=10**9 + n) for n in range(instances)]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes rounds as fast as it can, and says the number of each that is stored."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "m")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate(timeout=30)


def test_killed_writer_loses_no_stored_round_and_counts_none_twice(
    writer: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert writer.stdout is not None
    told = [writer.stdout.readline() for _ in range(100)]
    writer.send_signal(signal.SIGKILL)
    told += writer.stdout.readlines()
    acknowledged = len([line for line in told if line.endswith("\n")])

    store = make_store(tmp_path / "m")
    times = sorted({each.reading.at_ms for each in store.window(["s"], 0, EVER)["s"]})
    stored = len(times)
    assert acknowledged <= stored <= acknowledged + 1
    assert times == [(T0 + 5 * number) * 1000 for number in range(stored)]
    assert len(store.window(["s"], 0, EVER)["s"]) == 20 * stored

    full_minutes = stored // 12
    store.add([sample(stored * 5, instance=f"i{n}", rx=stored * 50) for n in range(20)], [proxy(stored * 5)])
    store.add([sample(stored * 5 + 120)])
    points = store.service_points("s", Span(T0, T0 + full_minutes * 60 - 1, 60))
    assert len(points) == full_minutes >= 8
    assert {(point.instances, point.requests_per_second, point.rx_bytes_per_second) for point in points} == {
        (20, 2.0, 200.0)
    }
    store.close()


def test_reader_sees_whole_rounds_while_another_process_writes(writer: subprocess.Popen[str], tmp_path: Path) -> None:
    assert writer.stdout is not None
    reader = make_store(tmp_path / "m")
    for _ in range(60):
        stored = int(writer.stdout.readline()) + 1
        samples = reader.window(["s"], (T0 + 5 * stored - 20) * 1000, (T0 + 5 * stored + 600) * 1000)["s"]
        assert len(samples) >= 20 * min(stored, 4)
        assert len(samples) % 20 == 0
        newest = reader.service_points("s", Span(T0 + 5 * stored, T0 + 5 * stored + 900, 60))[0]
        assert (newest.instances, newest.requests_per_second) == (20, 2.0)
    assert writer.poll() is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=True, timeout=30)
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=30)


def test_full_disk_is_told_loses_nothing_and_is_gone_on_from(small_disk: Path) -> None:
    hog = small_disk / "hog"
    hog.write_bytes(bytes(MIB))
    store = make_store(small_disk / "m")
    stored: list[Sample] = []
    with pytest.raises(MetricStoreFull, match="full"):
        for number in range(1000):
            refused = round_of(number * 5)
            store.add(refused)
            stored += refused
    assert len(stored) > 300 * 5

    def kept() -> list[tuple[int, str]]:
        found = store.window(["s"], 0, EVER)["s"]
        return sorted((each.reading.at_ms, each.instance_uuid) for each in found)

    assert kept() == sorted((each.reading.at_ms, each.instance_uuid) for each in stored)
    with pytest.raises(MetricStoreFull):
        store.add(refused)
    hog.unlink()
    store.add(refused)
    assert kept() == sorted((each.reading.at_ms, each.instance_uuid) for each in [*stored, *refused])
    store.close()


def ages(store: MetricStore, instance: str = "i", days: int = 60) -> list[int]:
    """Seconds since T0 of all its hours that have points."""
    return [point.time - T0 for point in store.instance_points("s", instance, Span(T0, T0 + days * 86_400, HOUR))]


def test_samples_leave_after_their_hours_and_roll_ups_after_their_days(tmp_path: Path) -> None:
    store = make_store(tmp_path, raw_hours=2, rollup_days=1)
    store.add([sample(0, instance="past"), sample(0, service="gone", instance="j")])
    for minute in range(0, 40 * 60, 5):
        store.add([sample(minute * 60)], [proxy(minute * 60)])
    newest = (40 * 60 - 5) * 60

    raw = [each.reading.at_ms // 1000 - T0 for each in store.window(["s"], 0, EVER)["s"]]
    carried = [each.at_ms // 1000 - T0 for each in store.proxy_window(["s"], 0, EVER)["s"]]
    assert raw == carried == list(range(newest - 2 * HOUR, newest + 1, 300))
    assert ages(store) == list(range(39 * HOUR, 14 * HOUR, -HOUR))
    assert ages(store, "past") == []
    assert not store.has_instance("s", "past")
    assert store.services() == ("s",)
    store.add([sample(newest - 3 * HOUR), sample(newest + 5)])
    assert len(store.window(["s"], 0, EVER)["s"]) == len(raw) + 1
    store.close()


def test_clock_that_leaps_ahead_for_a_round_does_not_empty_the_store(tmp_path: Path) -> None:
    store = make_store(tmp_path, raw_hours=24, rollup_days=30)
    for minute in range(0, 10 * 60, 5):
        store.add([sample(minute * 60)])
    store.add([sample(20 * 365 * 86_400)])
    store.add([sample(10 * HOUR)])
    store.add([sample(10 * HOUR + 60)])

    assert len(store.window(["s"], 0, (T0 + 11 * HOUR) * 1000)["s"]) >= 110
    assert len(ages(store)) >= 10
    store.close()


@pytest.mark.slow
def test_store_stays_within_its_size_and_lets_the_oldest_go(tmp_path: Path) -> None:
    store = make_store(tmp_path, max_mb=8)
    biggest = 0
    for minute in range(10 * 60):
        store.add(round_of(minute * 60, 100), [proxy(minute * 60)])
        biggest = max(biggest, size_of(tmp_path))
    assert biggest <= 8 * MIB
    newest = (10 * 60 - 1) * 60

    kept = sorted({each.reading.at_ms // 1000 - T0 for each in store.window(["s"], 0, EVER)["s"]})
    assert kept == list(range(kept[0], newest + 1, 60))
    assert 0 < kept[0] <= newest - HOUR
    hours = ages(store, "instance-7")
    assert hours == list(range(9 * HOUR, hours[-1] - 1, -HOUR))
    store.close()


@pytest.mark.slow
def test_smaller_size_makes_an_existing_store_smaller(tmp_path: Path) -> None:
    store = make_store(tmp_path, max_mb=16)
    for minute in range(100):
        store.add(round_of(minute * 60))
    store.close()
    before = size_of(tmp_path)
    store = make_store(tmp_path, max_mb=before / MIB / 2)
    for number in range(50):
        store.add(round_of(100 * 60 + number * 5))
    store.close()

    assert size_of(tmp_path) <= before / 2
    with sqlite3.connect(tmp_path / "metrics.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_round_that_can_never_fit_is_refused_whole(tmp_path: Path) -> None:
    store = make_store(tmp_path, max_mb=0.1)
    with pytest.raises(MetricStoreFull):
        store.add(round_of(0, instances=5000))

    assert store.window(["s"], 0, EVER) == {}
    store.add(round_of(0, instances=3))
    assert len(store.window(["s"], 0, EVER)["s"]) == 3
    store.close()
