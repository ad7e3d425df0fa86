"""The metric store: what was sampled is read back as windows and points, and roll-ups say what the samples said."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.metrics.query_periods import MOST_POINTS, PERIODS, Span, choose_period
from orchestrator.metrics.samples import Sample
from orchestrator.metrics.store import MetricStore, MetricStoreError
from tests.unit.metric_samples import MIB, T0, make_store, proxy, sample


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetricStore]:
    made = make_store(tmp_path / "metrics")
    yield made
    made.close()


def span(start: float, end: float, period: str = "1m") -> Span:
    """Seconds after T0."""
    return Span(int(T0 + start), int(T0 + end), PERIODS[period])


def test_store_that_was_never_written_reads_empty_and_makes_no_file(store: MetricStore, tmp_path: Path) -> None:
    assert store.window(["s"], 0, 2**50) == {}
    assert store.proxy_window(["s"], 0, 2**50) == {}
    assert store.instance_points("s", "i", span(0, 60)) == []
    assert store.service_points("s", span(0, 60)) == []
    assert not store.has_instance("s", "i")
    assert store.services() == ()
    store.forget_service("s")
    store.add([])
    assert list(tmp_path.iterdir()) == []


def test_window_gives_back_what_was_sampled_by_service_and_in_order(store: MetricStore) -> None:
    first = [sample(58, instance="a"), sample(58, instance="b", cores=None), sample(58.5, service="t", instance="c")]
    second = [sample(63, instance="b", rx=5, tx=6, rx_errors=1), sample(63.001, instance="a", limit=2.0)]
    store.add(first, [proxy(58, 3, response_ms=2.5, connections=4, bytes_in=1, bytes_out=2, errors_5xx=1)])
    store.add(second, [proxy(63, service="t")])
    start, end = (T0 + 58) * 1000, (T0 + 63) * 1000

    assert store.window(["s", "t", "unknown"], start, end + 1) == {"s": [*first[:2], *second], "t": [first[2]]}
    assert store.window(["s"], start + 1, end) == {"s": [second[0]]}
    assert store.window(["s"], end + 2, end + 10**9) == {}
    assert store.proxy_window(["s", "t"], start, end) == {
        "s": [proxy(58, 3, response_ms=2.5, connections=4, bytes_in=1, bytes_out=2, errors_5xx=1)],
        "t": [proxy(63, service="t")],
    }
    assert store.proxy_window(["s"], start + 1, end) == {}


def test_round_given_twice_counts_once(store: MetricStore) -> None:
    for _ in range(2):
        store.add([sample(1), sample(1, instance="b")], [proxy(1, 10)])
    store.add([sample(61)])
    point = store.service_points("s", span(0, 59))[0]

    assert (point.instances, point.cpu_cores, point.requests_per_second) == (2, pytest.approx(0.2), 2.0)


def test_samples_of_an_instance_are_points_newest_first(store: MetricStore) -> None:
    store.add([sample(0, cores=None, cpu_ns=5, rx=1, tx=2, memory=128 * MIB)])
    store.add([sample(5.2, cores=0.2, cpu_ns=1_000_000_005, rx=3, tx=4, rx_errors=1, memory=256 * MIB)])
    new, old = store.instance_points("s", "i", span(0, 5, "1s"))

    assert (new.time, new.last_at_ms, new.cpu_ns, new.cpu_cores) == (T0 + 5, (T0 + 5) * 1000 + 200, 1_000_000_005, 0.2)
    assert (new.memory_bytes, new.memory_fraction) == (256 * MIB, 0.5)
    assert (new.rx_bytes, new.rx_errors, new.tx_bytes, new.tx_errors) == (3, 1, 4, 0)
    assert (old.time, old.cpu_cores) == (T0, None)
    assert store.instance_points("s", "i", span(1, 4, "1s")) == []


@pytest.mark.parametrize("finished", [False, True], ids=["running minute", "rolled-up minute"])
def test_minute_is_average_maximum_and_last_counters(store: MetricStore, finished: bool) -> None:
    for at, cores, memory in ((1, None, 100), (6, 0.1, 300), (11, 0.2, 200)):
        store.add([sample(at, cores=cores, memory=memory * MIB, rx=at, cpu_ns=at)])
    if finished:
        store.add([sample(61, instance="other")])
    (point,) = store.instance_points("s", "i", span(0, 30))

    assert (point.time, point.last_at_ms) == (T0, (T0 + 11) * 1000)
    assert (point.cpu_cores, point.cpu_cores_max) == (pytest.approx(0.15), 0.2)
    assert (point.memory_bytes, point.memory_bytes_max) == (200 * MIB, 300 * MIB)
    assert (point.rx_bytes, point.cpu_ns) == (11, 11)


def test_minutes_without_samples_are_missing_and_no_zeros(store: MetricStore) -> None:
    for minute in (0, 1, 4, 5):
        store.add([sample(minute * 60 + 5)], [proxy(minute * 60 + 5)] if minute != 1 else [])
    instance = store.instance_points("s", "i", span(0, 360))
    service = store.service_points("s", span(0, 360))

    assert [(point.time - T0) // 60 for point in instance] == [5, 4, 1, 0]
    assert [(point.time - T0) // 60 for point in service] == [5, 4, 1, 0]
    assert [point.requests_per_second for point in service] == [2.0, 2.0, None, 2.0]


def test_service_is_its_instances_together_and_the_proxy(store: MetricStore) -> None:
    for at in (0, 5, 10):
        both = [sample(at, instance="a", cores=0.05, rx=at * 100, tx=at), sample(at, instance="b", cores=0.25, rx=at)]
        store.add(both, [proxy(at, at, response_ms=at or None, errors_5xx=1, connections=at, bytes_out=7)])
    (point,) = store.service_points("s", span(0, 59))

    assert (point.instances, point.cpu_cores, point.memory_bytes) == (2, pytest.approx(0.3), 200 * MIB)
    assert (point.cpu_fraction, point.cpu_fraction_max) == (pytest.approx(0.6), 1.0)
    assert (point.memory_fraction, point.memory_fraction_max) == (pytest.approx(100 / 512),) * 2
    assert (point.rx_bytes_per_second, point.tx_bytes_per_second, point.rx_errors) == (101.0, 1.0, 0)
    assert (point.requests_per_second, point.errors_5xx, point.connections, point.bytes_out) == (1.0, 3, 10, 21)
    assert point.response_ms == pytest.approx((5 * 5 + 10 * 10) / 15)


def test_instance_that_gave_way_to_another_is_not_counted_as_two(store: MetricStore) -> None:
    for at in range(0, 60, 5):
        store.add([sample(at, instance="old" if at < 30 else "new", cores=0.2)])
    (point,) = store.service_points("s", span(0, 59))

    assert (point.instances, point.cpu_cores, point.memory_bytes) == (1, pytest.approx(0.2), 100 * MIB)


@pytest.mark.parametrize("period", ["1s", "1m"])
def test_counter_that_began_anew_never_gives_a_negative_rate(store: MetricStore, period: str) -> None:
    for at, rx in ((50, 1000), (55, 1500), (60, 100), (65, 600)):  # 500, then a reset and 100, then 500
        store.add([sample(at, rx=rx)])
    rates = [point.rx_bytes_per_second for point in store.service_points("s", span(0, 119, period))]

    assert rates == ([100.0, 20.0, 100.0, None] if period == "1s" else [60.0, 100.0])


def test_counters_over_a_long_gap_tell_no_rate(store: MetricStore) -> None:
    store.add([sample(0, rx=0)])
    store.add([sample(90, rx=10**9)])

    assert [point.rx_bytes_per_second for point in store.service_points("s", span(0, 119))] == [None, None]


def test_other_limits_of_an_instance_leave_its_earlier_samples_as_they_were(store: MetricStore) -> None:
    store.add([sample(0, cores=0.2, limit=0.25)])
    store.add([sample(60, cores=0.2, limit=0.5)])

    assert [point.cpu_fraction for point in store.service_points("s", span(0, 119))] == [0.4, 0.8]
    assert len(store.instance_points("s", "i", span(0, 119))) == 2


def random_rounds(seed: int, hours: int = 3) -> Iterator[list[Sample]]:
    """Rounds of three to five instances that come and go, with gaps."""
    dice = random.Random(seed)
    at, rx = 0.0, 0
    while at < hours * 3600:
        rx = dice.choice((rx + dice.randrange(10**6),) * 20 + (0,))
        living = range(int(at // 1500), int(at // 1500) + dice.randint(3, 5))
        yield [
            sample(at + n / 1000, instance=f"i{n}", cores=dice.choice((None, 0.05, 0.2)), memory=n * MIB + rx, rx=rx)
            for n in living
        ]
        at += dice.choice((5, 5, 5, 5, 5.4, 200))


def test_roll_ups_say_the_same_as_the_samples(tmp_path: Path) -> None:
    """Until a minute is over its points come from samples: a store that only ever holds those must answer the same."""
    rolled, raw = make_store(tmp_path / "rolled"), make_store(tmp_path / "raw")
    everything = list(random_rounds(5))
    for each in everything:
        rolled.add(each)
    raw.add([one for each in everything for one in each])  # all at once: every minute is still running

    with sqlite3.connect(tmp_path / "raw" / "metrics.sqlite") as db:
        assert db.execute("SELECT count(*) FROM usage_minutes").fetchone() == (0,)
    with sqlite3.connect(tmp_path / "rolled" / "metrics.sqlite") as db:
        assert db.execute("SELECT count(*) FROM unrolled").fetchone() == (1,)
    for period in ("1m", "5m", "1h", "1d"):
        whole = span(0, 4 * 3600, period)
        assert rolled.service_points("s", whole) == raw.service_points("s", whole) != []
        for instance in ("i0", "i4", "i7"):
            points = rolled.instance_points("s", instance, whole)
            assert points == raw.instance_points("s", instance, whole) != []
    rolled.close()
    raw.close()


def test_late_samples_are_counted_in_the_minute_they_are_of(store: MetricStore) -> None:
    store.add([sample(10, rx=0)])
    store.add([sample(65, rx=55_000)])
    store.add([sample(125, rx=115_000)])
    store.add([sample(50, rx=40_000), sample(15, rx=5_000)])
    store.add([sample(185, rx=175_000)])
    minutes = store.service_points("s", span(0, 240))[::-1]

    assert [point.rx_bytes_per_second for point in minutes] == [1000.0] * 4
    assert store.instance_points("s", "i", span(0, 59))[0].rx_bytes == 40_000


def test_samples_of_before_the_clock_went_back_are_not_taken_for_those_of_now(store: MetricStore) -> None:
    """Ten quiet minutes, the clock goes back by nine, and a busy time begins."""
    for at in range(0, 600, 5):
        store.add([sample(at, cores=0.01, rx=100 * at)], [proxy(at, 1)])
    for at in range(60, 120, 5):
        store.add([sample(at + 0.5, cores=0.2, rx=60_000 + 100 * at)], [proxy(at + 0.5, 50)])
    now = (T0 + 119) * 1000

    assert {s.cpu_cores for s in store.window(["s"], now - 30_000, now)["s"]} == {0.2}
    assert {p.requests for p in store.proxy_window(["s"], now - 30_000, now)["s"]} == {50}
    for at in range(120, 240, 5):
        store.add([sample(at + 0.5, cores=0.2, rx=60_000 + 100 * at)])
    minutes = store.service_points("s", span(120, 239))
    assert [point.rx_bytes_per_second for point in minutes] == [pytest.approx(100.0)] * 2


def test_coarse_points_stand_at_multiples_of_their_period(store: MetricStore) -> None:
    for minute in range(0, 120, 10):
        store.add([sample(minute * 60, cores=minute / 1000)])
    points = store.instance_points("s", "i", span(40 * 60, 70 * 60, "30m"))

    assert [(point.time - T0) // 60 for point in points] == [60, 30]
    assert [point.cpu_cores for point in points] == [pytest.approx(0.07), pytest.approx(0.04)]


def test_past_instance_keeps_its_points_and_another_services_are_not_shown(store: MetricStore) -> None:
    store.add([sample(0, instance="past")])
    store.add([sample(3600, instance="present"), sample(3600, service="t", instance="there")])

    assert store.has_instance("s", "past")
    assert len(store.instance_points("s", "past", span(0, 7200))) == 1
    assert not store.has_instance("s", "there")
    assert store.instance_points("s", "there", span(0, 7200)) == []


def test_forgotten_service_leaves_others_alone_and_may_come_back(store: MetricStore) -> None:
    for hour in range(60):
        at = hour * 3600
        store.add([sample(at), sample(at, service="t", instance="j")], [proxy(at), proxy(at, service="t")])
    store.forget_service("s")
    whole = span(0, 60 * 3600)

    assert store.services() == ("t",)
    assert store.window(["s"], 0, 2**50) == store.proxy_window(["s"], 0, 2**50) == {}
    assert not store.has_instance("s", "i")
    assert store.instance_points("s", "i", whole) == store.service_points("s", whole) == []
    assert len(store.instance_points("t", "j", whole)) == len(store.service_points("t", whole)) == 60
    store.add([sample(60 * 3600 + 10)])
    assert len(store.instance_points("s", "i", span(0, 61 * 3600))) == 1


def test_file_that_is_no_store_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "metrics.sqlite").write_bytes(b"no database at all" * 1000)
    with pytest.raises(MetricStoreError, match="metric store"):
        make_store(tmp_path).window(["s"], 0, 1)
    with pytest.raises(MetricStoreError, match="metric store"):
        make_store(tmp_path).add([sample(0)])
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MetricStoreError, match="metric store"):
        make_store(tmp_path / "file").add([sample(0)])


def test_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "metrics.sqlite") as db:
        db.execute("PRAGMA user_version = 99")

    with pytest.raises(MetricStoreError, match="version 99"):
        make_store(tmp_path).add([sample(0)])
    with pytest.raises(MetricStoreError, match="version 99"):
        make_store(tmp_path).window(["s"], 0, 1)


def test_period_is_chosen_or_refused_with_what_is_allowed() -> None:
    day = 86_400
    assert choose_period("1s", T0, T0 + MOST_POINTS - 1).points == MOST_POINTS
    assert choose_period(None, T0, T0 + 900).period == 60
    assert choose_period(None, T0, T0 + 30 * day).period == 300
    assert choose_period(None, 0, 9_000_000_000).period == 2_592_000
    with pytest.raises(ValueError, match=r"gives 11001 points .* at most 11000 .* one of 1m, 5m"):
        choose_period("1s", T0, T0 + MOST_POINTS)
    with pytest.raises(ValueError, match="is not a period; one of 1s, 1m, 5m"):
        choose_period("2m", T0, T0)
    assert Span(T0, T0 - 1, 60).points == 0
