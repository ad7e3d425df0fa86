"""From a request body to a ServiceSpec: synonyms, unknown keys, partial updates, and all faults at once. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from orchestrator.endpoints import HTTP
from orchestrator.spec_maps import json_array, json_object
from orchestrator.spec_models import PortSpec, ServiceSpec, VolumeSpec
from orchestrator.spec_scaling import AutoscalingConfig
from orchestrator.spec_text import shown

PATH_KEYS = frozenset({"service_name", "app_name", "namespace"})
KNOWN_KEYS = frozenset(ServiceSpec.model_fields) | PATH_KEYS
PREFERENCE_KEYS = frozenset({"health", "rollout", "stop_grace_seconds"})
# What answers carry beside the spec. Clients read a service and send it back; these keys say nothing then.
READ_ONLY_KEYS = frozenset(
    re.findall(
        r"\w+",
        """
        unique_name uuid created_by created_at updated_at started_at stopped_at last_autoscaled_at last_redeployed_at
        allocation_group is_deploying current_status current_state status_reason current_num_instances
        started_num_instances staged_num_instances instances linked_from_apps linked_to linked_from linked_services
        linked_to_services region default_domain_name resource_uri exec_endpoint space_name warnings generation
        observed_generation revision
        """,
    )
)
_PORT_KEYS = frozenset(PortSpec.model_fields)
_PORT_READ_ONLY = frozenset({"service_port", "default_domain", "ipaddress", "customer_domain"})
_VOLUME_KEYS = frozenset(VolumeSpec.model_fields)
_VOLUME_READ_ONLY = frozenset({"enforced", "used_bytes"})
_CONFIG_KEYS = frozenset(AutoscalingConfig.model_fields)

Faults = dict[str, list[str]]


class SpecError(ValueError):
    """A body is wrong. `fields`: path in the body -> what is wrong and what is allowed."""

    def __init__(self, fields: Faults) -> None:
        super().__init__("; ".join(f"{path}: {fault}" for path, faults in fields.items() for fault in faults))
        self.fields = fields


@dataclass(frozen=True)
class Rules:
    """What this installation allows: names of sizes and regions, and the ids of its backups."""

    sizes: tuple[str, ...]
    regions: tuple[str, ...]
    default_region: str
    backups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Parsed:
    """A valid spec, what the user should hear about it, and the known keys that the body gave a value."""

    spec: ServiceSpec
    warnings: tuple[str, ...] = ()
    named: frozenset[str] = field(default_factory=frozenset)


def parse_create(body: Any, rules: Rules, *, namespace: str = "", strict: bool = False) -> Parsed:
    """The spec of a new service. Raises SpecError with every fault.

    A key with null counts as absent. `strict` makes unknown keys faults; without it they become warnings.
    """
    given = _object(body)
    faults: Faults = {}
    warnings = _judge_unknown(given, faults, strict)
    values = {key: value for key, value in given.items() if value is not None}
    if "service_name" not in values and "app_name" in values:
        values["service_name"] = values["app_name"]
    _check_repeated(values, faults, str(values.get("service_name")), namespace)
    spec = _validate(values, rules, faults)
    _check_domain(values.get("service_name"), namespace, faults)
    return _finish(spec, faults, warnings, given)


def parse_update(current: ServiceSpec, body: Any, rules: Rules, *, namespace: str = "", strict: bool = False) -> Parsed:
    """The spec after a partial update: only given keys change, the result is valid as a whole. Raises SpecError.

    A key with null counts as absent, but `application: null` takes the service out of its application. Name,
    namespace and region may be repeated and cannot change. `volumes` replaces the list: paths may come and go (a
    path that goes keeps its volumes, and finds them again when it comes back), a size may grow and never shrink.
    """
    given = _object(body)
    faults: Faults = {}
    warnings = _judge_unknown(given, faults, strict)
    changes = {key: value for key, value in given.items() if value is not None or key == "application"}
    _check_repeated(changes, faults, current.service_name, namespace)
    region = changes.pop("region_name", None)
    if region not in (None, "", current.region_name):
        faults.setdefault("region_name", []).append(
            f"{shown(region)} is not allowed: a service stays in its region; only {current.region_name}"
        )
    for key in PATH_KEYS:
        changes.pop(key, None)
    kept = replace(  # what the service already has stays allowed, whatever the installation offers today
        rules,
        sizes=tuple(dict.fromkeys([*rules.sizes, current.instance_size])),
        regions=tuple(dict.fromkeys([*rules.regions, current.region_name])),
        backups=rules.backups | {v.backup_id for v in current.volumes if v.backup_id},
    )
    spec = _validate(current.model_dump(mode="json") | changes, kept, faults)
    if spec is not None:
        _check_sizes(current, spec, faults)
    return _finish(spec, faults, warnings, given)


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise SpecError({"": [f"{shown(body)} is not an object; the body must be a JSON object"]})
    return body


def _check_repeated(values: Mapping[str, Any], faults: Faults, name: str, namespace: str) -> None:
    """service_name, app_name and namespace may repeat what is already said, never say something else."""
    for key, expected in (("service_name", name), ("app_name", name), ("namespace", namespace)):
        if key in values and expected and values[key] != expected:
            meant = "the namespace in the address is" if key == "namespace" else "the service is called"
            faults.setdefault(key, []).append(
                f"{shown(values[key])} is not allowed: {meant} {shown(expected)} and cannot be changed here"
            )


def _check_domain(name: Any, namespace: str, faults: Faults) -> None:
    label = f"{name}-{namespace}"
    if isinstance(name, str) and namespace and len(name) <= 63 < len(label):
        faults.setdefault("service_name", []).append(
            f"with the namespace it makes a domain label of {len(label)} characters; at most 63 are allowed, "
            f"so at most {62 - len(namespace)} for the name here"
        )


def _check_sizes(current: ServiceSpec, spec: ServiceSpec, faults: Faults) -> None:
    had = {volume.app_volume_dir: volume.size_gb for volume in current.volumes}
    for index, volume in enumerate(spec.volumes):
        least = had.get(volume.app_volume_dir, 1)
        if volume.size_gb < least:
            faults.setdefault(f"volumes.{index}.size_gb", []).append(
                f"{volume.size_gb} is not allowed: a volume cannot shrink; at least {least}"
            )


def _validate(values: Mapping[str, Any], rules: Rules, faults: Faults) -> ServiceSpec | None:
    """The model's own judgement, its faults added to `faults`."""
    try:
        return ServiceSpec.model_validate(values, context=rules)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            path = ".".join(str(step) for step in fault["loc"])
            faults.setdefault(path, []).append(_say(fault["type"], fault["msg"], fault["input"]))
        return None


def _say(kind: str, message: str, value: Any) -> str:
    """Our words for the model's own faults; those of the readers say it already."""
    if kind == "missing":
        return "is required"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"{shown(value)} is not an object"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    return f"{shown(value)}: {message}"


def _judge_unknown(body: Mapping[str, Any], faults: Faults, strict: bool) -> tuple[str, ...]:
    """Warnings about keys nobody reads; with `strict` they become faults."""
    warnings: list[str] = []
    for path, key, known in _unknown_keys(body):
        near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(known))}"
        if strict:
            faults.setdefault(path, []).append(f"is not a known key; {hint}")
        else:
            warnings.append(f"unknown key {shown(path)} was ignored; {hint}")
    return tuple(warnings)


def _unknown_keys(body: Mapping[str, Any]) -> Iterable[tuple[str, str, frozenset[str]]]:
    """(path, key, known keys there) of every key that is neither known nor part of what answers carry."""
    yield from ((key, key, KNOWN_KEYS) for key in body if key not in KNOWN_KEYS | READ_ONLY_KEYS)
    for name, known, read_only in (
        ("instance_ports", _PORT_KEYS, _PORT_READ_ONLY),
        ("volumes", _VOLUME_KEYS, _VOLUME_READ_ONLY),
    ):
        for index, entry in enumerate(_or_empty(json_array, body.get(name))):
            keys = entry if isinstance(entry, dict) else ()
            yield from ((f"{name}.{index}.{key}", key, known) for key in keys if key not in known | read_only)
    for name, known in (("autoscaling_config", _CONFIG_KEYS), ("deployment_preference", PREFERENCE_KEYS)):
        for key in _or_empty(json_object, body.get(name)):
            if key not in known:
                yield f"{name}.{key}", key, known


def _or_empty(reader: Any, value: Any) -> Any:
    """What the reader makes of it, nothing when it refuses: then the model names the fault."""
    try:
        return reader(value)
    except ValueError:
        return ()


def _finish(spec: ServiceSpec | None, faults: Faults, warnings: tuple[str, ...], given: Mapping[str, Any]) -> Parsed:
    if faults or spec is None:
        raise SpecError(faults)
    if spec.custom_domain_name and not any(port.endpoint_type == HTTP for port in spec.instance_ports):
        warnings = (
            *warnings,
            f"custom_domain_name {spec.custom_domain_name} is stored and takes effect when there is an {HTTP}",
        )
    keys = {key for key, value in given.items() if key in KNOWN_KEYS and value is not None}
    named = {"service_name" if key == "app_name" else key for key in keys}
    return Parsed(spec, warnings, frozenset(named))
