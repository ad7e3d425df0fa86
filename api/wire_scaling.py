"""The autoscaler's answer, made from a record and the last evaluation. Pure: no database, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from api.wire import Json, timestamp
from orchestrator.autoscaler import Policy
from orchestrator.policy import defaults_of, is_dry, policy_of
from orchestrator.settings import Settings
from orchestrator.store.records import ServiceRecord

_AS_KEPT = ("value", "rule", "action", "reason", "wait_seconds", "limited", "held_back", "unsettled")


def autoscaler_json(record: ServiceRecord, kept: Mapping[str, Any] | None, settings: Settings) -> Json:
    """The answer. `kept`: the last evaluation; it counts only while the service scales by itself and is started."""
    config, defaults = record.spec.autoscaling_config, defaults_of(settings)
    scaled = record.spec.scaling_mode == "AUTO" and record.spec.target_state == "STARTED"
    return {
        "mode": record.spec.scaling_mode,
        "dry_run": defaults.dry_run if config is None else is_dry(config, defaults),
        "target": record.count,
        "last_autoscaled_at": timestamp(record.last_autoscaled_at),
        "policy": _policy(policy_of(config, defaults)) if config else None,
        "evaluation": _evaluation(kept) if kept and scaled else None,
    }


def _policy(policy: Policy) -> Json:
    return {
        "metric_name": policy.metric,
        "metric_stat": policy.statistic,
        "lower_threshold": policy.lower,
        "upper_threshold": policy.upper,
        "decrease_delta": policy.decrease_delta,
        "increase_delta": policy.increase_delta,
        "minimum_num_instances": policy.minimum,
        "maximum_num_instances": policy.maximum,
        "wait_period": policy.wait_seconds,
        "window_seconds": policy.window_seconds,
        "sample_seconds": policy.sample_seconds,
        "warmup_seconds": policy.warmup_seconds,
        "idle_seconds": policy.idle_seconds,
    }


def _evaluation(kept: Mapping[str, Any]) -> Json:
    return {
        "at": _time(kept["at"]),
        "samples": [_sample(sample) for sample in kept["samples"]],
        **{key: kept[key] for key in _AS_KEPT},
        "demand_at": _time(kept["demand_at"]),
    }


def _sample(sample: Mapping[str, Any]) -> Json:
    points = [{"at": _time(at), "value": value} for at, value in sample["points"]]
    return {"uuid": sample["uuid"], "ready": sample["ready"], "ready_at": _time(sample["ready_at"]), "points": points}


def _time(text: str | None) -> str | None:
    return timestamp(datetime.fromisoformat(text)) if text else None
