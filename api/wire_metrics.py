"""JSON shapes of metrics: a name, columns, and points newest first. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from api.wire import Json
from orchestrator.metrics.query_points import InstancePoint, ServicePoint

Value = int | float | None
_DIGITS = 4
_RAW_COLUMNS = ("time", "sequence_number")
_INSTANCE_COLUMNS = (
    "cpu_cumulative_usage",
    "cpu_utilization",
    "memory_usage",
    "memory_utilization",
    "rx_bytes",
    "rx_errors",
    "tx_bytes",
    "tx_errors",
)
_MAXIMA = ("cpu_utilization_max", "memory_usage_max")
_SERVICE_COLUMNS = (
    "time",
    "instances",
    "cpu_cores",
    "cpu_utilization",
    "cpu_utilization_max",
    "memory_usage",
    "memory_utilization",
    "memory_utilization_max",
    "rx_bytes_per_second",
    "tx_bytes_per_second",
    "rx_errors",
    "tx_errors",
    "requests_per_second",
    "response_ms",
    "errors_5xx",
    "connections",
    "bytes_in",
    "bytes_out",
)


def instance_metrics_json(
    service_uuid: str, instance_uuid: str, points: Sequence[InstancePoint], *, raw: bool, maxima: bool
) -> Json:
    """The contract's object. CPU in percent of one core, memory in percent of the limit."""
    columns = [*(_RAW_COLUMNS if raw else _RAW_COLUMNS[:1]), *_INSTANCE_COLUMNS, *(_MAXIMA if maxima else ())]
    return {
        "name": _name(service_uuid, instance_uuid),
        "columns": columns,
        "points": [_instance_point(point, raw=raw, maxima=maxima) for point in points],
    }


def service_metrics_json(service_uuid: str, points: Sequence[ServicePoint]) -> Json:
    """The same for a service. CPU in cores; utilisations are fractions of an instance's limit."""
    return {
        "name": _name(service_uuid),
        "columns": list(_SERVICE_COLUMNS),
        "points": [_service_point(point) for point in points],
    }


def _instance_point(point: InstancePoint, *, raw: bool, maxima: bool) -> list[Value]:
    # the time of a sample is a number that grows from one of an instance to its next: its sequence number
    when = [point.time, point.last_at_ms] if raw else [point.time]
    return [
        *when,
        point.cpu_ns,
        _percent(point.cpu_cores),
        point.memory_bytes,
        _percent(point.memory_fraction),
        point.rx_bytes,
        point.rx_errors,
        point.tx_bytes,
        point.tx_errors,
        *([_percent(point.cpu_cores_max), point.memory_bytes_max] if maxima else []),
    ]


def _service_point(point: ServicePoint) -> list[Value]:
    return [
        point.time,
        _rounded(point.instances),
        _rounded(point.cpu_cores),
        _rounded(point.cpu_fraction),
        _rounded(point.cpu_fraction_max),
        point.memory_bytes,
        _rounded(point.memory_fraction),
        _rounded(point.memory_fraction_max),
        _rounded(point.rx_bytes_per_second),
        _rounded(point.tx_bytes_per_second),
        point.rx_errors,
        point.tx_errors,
        _rounded(point.requests_per_second),
        _rounded(point.response_ms),
        point.errors_5xx,
        point.connections,
        point.bytes_in,
        point.bytes_out,
    ]


def _name(*uuids: str) -> str:
    return ".".join(["stats", *(uuid.replace("-", "_") for uuid in uuids)])


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(fraction * 100, _DIGITS)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
