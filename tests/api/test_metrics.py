"""Metrics as users and old clients read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api.models_metrics import InstanceMetrics, ServiceMetrics
from orchestrator.metrics.query_periods import PERIODS
from orchestrator.metrics.samples import ProxySample, Reading, Sample
from orchestrator.metrics.store import MetricStore
from orchestrator.settings import Settings
from tests.api.conftest import NOW, Api

MIB = 1024 * 1024
MINUTE = 1_767_322_980  # a whole minute, 65 s before NOW
UUID = "a9aff249-0db5-11e5-9fa4-0240eaf5c02d"
OTHER = "a9afcb38-0db5-11e5-9fa4-0240eaf5c02d"
SERVICE = "/v1/services/ns/web"
COLUMNS = [
    "time", "sequence_number", "cpu_cumulative_usage", "cpu_utilization", "memory_usage", "memory_utilization",
    "rx_bytes", "rx_errors", "tx_bytes", "tx_errors",
]  # fmt: skip


@pytest.fixture
def store(settings: Settings) -> Iterator[MetricStore]:
    """The worker's side of the store that the API reads."""
    made = MetricStore(settings.metric_folder, raw_hours=24, rollup_days=30, max_bytes=64 * MIB)
    yield made
    made.close()


def sample(service: str, at: float, instance: str = UUID, *, cores: float | None = 0.05, memory: int = 64) -> Sample:
    """Memory in MiB; the limits of size XS."""
    reading = Reading(int(at * 1000), int(at), memory * MIB, 1000 + int(at) - MINUTE, 1, 2000, 2)
    return Sample(service, instance, reading, cores, 0.25, 512 * MIB)


def refused(api: Api, path: str) -> dict[str, Any]:
    """The fields of the 400 that `path` gives."""
    response = api.client.get(path)
    assert response.status_code == 400, response.text
    fields: dict[str, Any] = response.get_json()["error"]["fields"]
    return fields


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The points by the names of their columns."""
    return [dict(zip(found["columns"], point, strict=True)) for point in found["points"]]


def test_instance_metrics_are_the_contracts_object(api: Api, store: MetricStore) -> None:
    uuid = api.create()["uuid"]
    api.add_instance(uuid)
    store.add([sample(uuid, MINUTE + 1, cores=None)])
    store.add([sample(uuid, MINUTE + 6, memory=128)])
    found = api.get(f"{SERVICE}/instances/{UUID}/metrics?point_per_period=1s&application=a")

    assert InstanceMetrics.model_validate(found)
    assert found["name"] == f"stats.{uuid.replace('-', '_')}.a9aff249_0db5_11e5_9fa4_0240eaf5c02d"
    assert found["columns"] == COLUMNS
    assert found["points"] == [
        [MINUTE + 6, (MINUTE + 6) * 1000, MINUTE + 6, 5.0, 128 * MIB, 25.0, 1006, 1, 2000, 2],
        [MINUTE + 1, (MINUTE + 1) * 1000, MINUTE + 1, None, 64 * MIB, 12.5, 1001, 1, 2000, 2],
    ]


def test_aggregated_instance_metrics_have_no_sequence_number(api: Api, store: MetricStore) -> None:
    uuid = api.create()["uuid"]
    for at, cores in ((0, 0.05), (5, 0.15), (60, 0.1)):
        store.add([sample(uuid, MINUTE + at, cores=cores)])
    found = api.get(f"{SERVICE}/instances/{UUID}/metrics/")
    wide = api.get(f"{SERVICE}/instances/{UUID}/metrics?point_per_period=1h&maxima=true")

    assert found["columns"] == [column for column in COLUMNS if column != "sequence_number"]
    assert [point[0] for point in found["points"]] == [MINUTE + 60, MINUTE]
    assert [row["cpu_utilization"] for row in rows(found)] == [10.0, 10.0]
    assert rows(found)[1]["rx_bytes"] == 1005
    assert [row["cpu_utilization_max"] for row in rows(wide)] == [15.0]
    assert wide["columns"][-2:] == ["cpu_utilization_max", "memory_usage_max"]


def test_past_instance_shows_its_metrics_with_or_without_its_row(api: Api, store: MetricStore) -> None:
    uuid = api.create()["uuid"]
    gone = api.add_instance(uuid, 1, "gone", gone_at=NOW)
    store.add([sample(uuid, MINUTE, gone), sample(uuid, MINUTE, OTHER)])

    assert len(api.get(f"{SERVICE}/instances/{gone}/metrics")["points"]) == 1
    assert len(api.get(f"{SERVICE}/instances/{OTHER}/metrics")["points"]) == 1


def test_instance_of_another_service_or_of_none_is_404(api: Api, store: MetricStore) -> None:
    api.create()
    store.add([sample(api.create("other")["uuid"], MINUTE)])

    for uuid in (UUID, OTHER, "%00", "x" * 50):
        assert api.client.get(f"{SERVICE}/instances/{uuid}/metrics").status_code == 404
    assert api.client.get("/v1/services/ns/nothing/metrics").status_code == 404


def test_service_metrics_are_all_instances_and_the_proxy(api: Api, store: MetricStore) -> None:
    uuid = api.create()["uuid"]
    for at in (0, 5):
        carried = ProxySample(uuid, (MINUTE + at) * 1000, 5.0, 50, 1, 3, 10, 20, 12.5)
        both = [sample(uuid, MINUTE + at, cores=0.05), sample(uuid, MINUTE + at, OTHER, cores=0.2, memory=192)]
        store.add(both, [carried])
    store.add([], [ProxySample(uuid, (MINUTE + 60) * 1000, 5.0, 0, 0, 0, 0, 0, None)])
    found = api.get(f"{SERVICE}/metrics")
    newest, minute = rows(found)

    assert ServiceMetrics.model_validate(found)
    assert found["name"] == f"stats.{uuid.replace('-', '_')}"
    assert minute == {
        "time": MINUTE,
        "instances": 2.0,
        "cpu_cores": 0.25,
        "cpu_utilization": 0.5,
        "cpu_utilization_max": 0.8,
        "memory_usage": 256 * MIB,
        "memory_utilization": 0.25,
        "memory_utilization_max": 0.375,
        "rx_bytes_per_second": 2.0,
        "tx_bytes_per_second": 0.0,
        "rx_errors": 0,
        "tx_errors": 0,
        "requests_per_second": 10.0,
        "response_ms": 12.5,
        "errors_5xx": 2,
        "connections": 3,
        "bytes_in": 20,
        "bytes_out": 40,
    }
    assert {key for key, value in newest.items() if value is not None} == {
        "time", "requests_per_second", "errors_5xx", "connections", "bytes_in", "bytes_out",
    }  # fmt: skip


@pytest.mark.parametrize("where", ["/metrics", f"/instances/{UUID}/metrics"])
def test_range_defaults_to_the_last_quarter_of_an_hour(api: Api, store: MetricStore, where: str) -> None:
    uuid, now = api.create()["uuid"], int(NOW.timestamp())
    for age in (1000, 890, 0):
        store.add([sample(uuid, now - age)])

    assert [point[0] for point in api.get(f"{SERVICE}{where}?point_per_period=1s")["points"]] == [now, now - 890]
    assert [point[0] for point in api.get(f"{SERVICE}{where}?point_per_period=")["points"]] == [
        at // 60 * 60 for at in (now, now - 890)
    ]
    assert api.get(f"{SERVICE}{where}?end_time={now - 950}&point_per_period=1s")["points"][0][0] == now - 1000
    assert api.get(f"{SERVICE}{where}?start_time={now}&end_time={now - 1}")["points"] == []
    assert len(api.get(f"{SERVICE}{where}?start_time=0")["points"]) == 1  # 30 days a point


def test_too_many_points_are_refused_with_what_is_allowed(api: Api) -> None:
    api.create()
    for period, start, allowed in (("1s", NOW.timestamp() - 86_400, "1m, 5m"), ("1d", 0, "7d, 30d")):
        fields = refused(api, f"{SERVICE}/metrics?point_per_period={period}&start_time={int(start)}")
        assert "at most 11000 are answered" in fields["point_per_period"][0]
        assert f"one of {allowed}" in fields["point_per_period"][0]


def test_unknown_period_or_time_is_refused_with_what_is_allowed(api: Api) -> None:
    api.create()

    assert "'30m', '1h'" in refused(api, f"{SERVICE}/metrics?point_per_period=2m")["point_per_period"][0]
    assert set(refused(api, f"{SERVICE}/metrics?start_time=today&end_time=-1")) == {"start_time", "end_time"}


def test_every_period_of_the_contract_is_answered(api: Api, store: MetricStore) -> None:
    store.add([sample(api.create()["uuid"], NOW.timestamp())])

    for period in PERIODS:
        assert len(api.get(f"{SERVICE}/metrics?point_per_period={period}")["points"]) == 1, period


def test_nothing_sampled_yet_is_no_points(api: Api, settings: Settings) -> None:
    uuid = api.create()["uuid"]
    instance = api.add_instance(uuid)

    assert api.get(f"{SERVICE}/metrics")["points"] == []
    assert api.get(f"{SERVICE}/instances/{instance}/metrics")["points"] == []
    assert not settings.metric_folder.exists()


def test_damaged_store_is_503_and_told_in_words(api: Api, settings: Settings) -> None:
    api.create()
    settings.metric_folder.mkdir()
    (settings.metric_folder / "metrics.sqlite").write_bytes(b"no database at all" * 1000)
    response = api.client.get(f"{SERVICE}/metrics")

    assert (response.status_code, response.get_json()["error"]["code"]) == (503, "unavailable")
