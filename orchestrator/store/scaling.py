"""What a user's write means for the number of instances: it stands in the spec, or, while AUTO, beside it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.policy import count_after
from orchestrator.spec import ServiceSpec
from orchestrator.store.autoscaling import USER
from orchestrator.store.changes import Change, compare
from orchestrator.store.schema import ServiceRow

NUMBER = "target_num_instances"


@dataclass(frozen=True)
class Rescale:
    """The spec as it is to be stored, the number wanted after it, and what changes for users.

    `change` tells of the number in effect. `told`: the user named a number that changes something; `writes`: there
    is something to store.
    """

    spec: ServiceSpec
    count: int
    change: Change
    told: bool
    writes: bool


def rescale(row: ServiceRow, spec: ServiceSpec, *, counted: bool) -> Rescale:
    """What becomes of the number when `spec` takes the place of the present one.

    Example: the user declared 2, the autoscaler is at 5. AUTO -> MANUAL without a number stores 5 in the spec; a PUT
    of 2 changes no word of the spec, and still brings the service from 5 to 2.
    """
    before = ServiceSpec.model_validate(row.spec)
    current = before.target_num_instances
    if before.scaling_mode == "AUTO" and row.scale_target is not None:
        current = row.scale_target
    count = count_after(before, spec, current, counted=counted)
    if spec.scaling_mode == "MANUAL":
        spec = spec.model_copy(update={NUMBER: count})
    change = compare(before.model_copy(update={NUMBER: current}), spec.model_copy(update={NUMBER: count}))
    told = count != current or (counted and spec.target_num_instances != before.target_num_instances)
    return Rescale(spec, count, change, told, writes=count != current or spec != before)


def set_count(row: ServiceRow, rescaled: Rescale, now: datetime) -> None:
    """Keep the number; one that the user named restarts the wait period."""
    was_auto, auto = row.scale_target is not None, rescaled.spec.scaling_mode == "AUTO"
    row.scale_target = rescaled.count if auto else None
    if rescaled.told:
        row.scaled_at, row.scaling_by = now, USER
    elif auto and not was_auto:  # what was changed long ago, while nothing scaled by itself, is over
        row.scaling_by = ""
