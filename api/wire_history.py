"""JSON shapes of what lies beside a service: events, revisions, volumes, log lines and plans. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from api.wire import Json, timestamp
from orchestrator.actions import Action, Plan, Pull
from orchestrator.logs.lines import STREAM_NAMES, StoredLine
from orchestrator.store.records import EventRecord, RevisionRecord, VolumeRecord
from orchestrator.store.traffic import TrafficMinute

NANO = 1_000_000_000


def log_json(line: StoredLine) -> Json:
    """A line of a log; the instance is named by the first 8 characters of its uuid."""
    return {"instance_id": line.instance_uuid[:8], "message": line.message, "time": line.at_ns // NANO}


def followed_line_json(line: StoredLine) -> Json:
    """A line of a followed log: as in an array, with its stream and its time to the nanosecond."""
    return log_json(line) | {
        "stream": STREAM_NAMES.get(line.stream, str(line.stream)),
        "at": nano_timestamp(line.at_ns),
    }


def line_text(line: StoredLine) -> str:
    """A line of a downloaded day: time, instance, stream, message."""
    stream = STREAM_NAMES.get(line.stream, str(line.stream))
    return f"{nano_timestamp(line.at_ns)} {line.instance_uuid[:8]} {stream} {line.message}\n"


def nano_timestamp(at_ns: int) -> str:
    """2026-01-02T03:04:05.678901234Z: all digits, so that lines of one millisecond keep their order."""
    at = datetime.fromtimestamp(at_ns // NANO, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ns % NANO:09d}Z"


def traffic_json(minute: TrafficMinute) -> dict[str, Any]:
    """A minute's traffic."""
    return {
        "time": int(minute.minute.timestamp()),
        "requests": minute.requests,
        "errors_5xx": minute.errors_5xx,
        "bytes_in": minute.bytes_in,
        "bytes_out": minute.bytes_out,
        "sessions_max": minute.sessions_max,
        "response_ms": None if minute.response_ms is None else round(minute.response_ms, 1),
    }


def event_json(event: EventRecord) -> Json:
    """An event; `service` is namespace/name."""
    return {
        "id": event.id,
        "at": timestamp(event.at),
        "kind": event.kind,
        "reason": event.reason,
        "service": event.service_name,
        "service_uuid": event.service_uuid,
        "instance_uuid": event.instance_uuid,
        "data": dict(event.data),
    }


def revision_json(revision: RevisionRecord, current: int) -> Json:
    """A revision with the whole spec as of then."""
    return {
        "number": revision.number,
        "current": revision.number == current,
        "generation": revision.generation,
        "image": revision.image_ref,
        "image_id": revision.image_id,
        "image_digest": revision.image_digest,
        "fingerprint": revision.fingerprint,
        "reason": revision.reason,
        "created_at": timestamp(revision.created_at),
        "spec": revision.spec.model_dump(mode="json"),
    }


def volume_json(volume: VolumeRecord) -> Json:
    """One slot's volume. `used_bytes` is None until it was measured."""
    return {
        "name": volume.name,
        "app_volume_dir": volume.path,
        "slot": volume.slot,
        "size_gb": volume.size_gb,
        "used_bytes": volume.used_bytes,
        "used_at": timestamp(volume.used_at),
        "enforced": volume.enforced,
        "created_at": timestamp(volume.created_at),
    }


def orphan_json(volume: VolumeRecord) -> Json:
    """A volume that outlived its service (`service`: namespace/name)."""
    return volume_json(volume) | {
        "service": volume.service_name,
        "service_uuid": volume.service_uuid,
        "region": volume.region,
        "orphaned_at": timestamp(volume.orphaned_at),
        "remove_requested_at": timestamp(volume.remove_requested_at),
    }


def plan_json(plan: Plan, *, generation: int, observed_at: datetime | None, now: datetime) -> Json:
    """A plan and how old the observation is that it was made from."""
    age = None if observed_at is None else round(max(0.0, (now - observed_at).total_seconds()), 3)
    return {
        "actions": [_action(action) for action in plan.actions],
        "waiting": list(plan.waiting),
        "wake_at": timestamp(plan.wake_at),
        "observed_at": timestamp(observed_at),
        "observation_age_seconds": age,
        "generation": generation,
    }


def _action(action: Action) -> Json:
    """`Launch(slot=1, ...)` -> {"action": "launch", "slot": 1, "instance": null, "image": null, "reason": ...}."""
    values: dict[str, Any] = vars(action)
    return {
        "action": re.sub(r"(?<!^)(?=[A-Z])", "_", type(action).__name__).lower(),
        "slot": values.get("slot"),
        "instance": values.get("instance_uuid"),
        "image": action.image_ref if isinstance(action, Pull) else None,
        "reason": action.reason,
    }
