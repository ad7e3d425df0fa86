"""What differs between two specs, in words that may be shown: never the value of a variable or a command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.spec import ServiceSpec

_SHOWN = (  # short, and never a secret
    "application",
    "image_name",
    "image_tag",
    "instance_size",
    "scaling_mode",
    "target_state",
    "target_num_instances",
    "custom_domain_name",
    "region_name",
)


@dataclass(frozen=True)
class Change:
    """`fields`: changed ones by wire name; `words`: one phrase each; `values`: old and new of those that may be shown.

    `kind` is the event's kind: started, stopped or updated.
    """

    kind: str = "updated"
    fields: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    values: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def compare(old: ServiceSpec, new: ServiceSpec) -> Change:
    """The change from `old` to `new`.

    Example: tag 1 becomes 2 and a password changes -> words ("image_tag 1 -> 2", "instance_envvars changed").
    """
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    fields = tuple(name for name in after if before.get(name) != after[name])
    values = {name: (before.get(name), after[name]) for name in fields if name in _SHOWN}
    words = tuple(
        f"{name} {_text(values[name][0])} -> {_text(values[name][1])}" if name in values else f"{name} changed"
        for name in fields
    )
    kind = "updated"
    if "target_state" in fields:
        kind = "started" if new.target_state == "STARTED" else "stopped"
    return Change(kind, fields, words, values)


def _text(value: Any) -> str:
    return "none" if value is None or value == "" else str(value)
