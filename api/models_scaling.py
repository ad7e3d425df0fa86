"""What the autoscaler's answer looks like, as models beside those of models.py."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from api.models import Count, Timestamp


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AutoscalingPolicyAnswer(_Answer):
    """A configuration as numbers, with the installation's part. Thresholds in the metric's own unit."""

    metric_name: str
    metric_stat: str
    lower_threshold: float
    upper_threshold: float
    decrease_delta: int
    increase_delta: int
    minimum_num_instances: Count
    maximum_num_instances: Count
    wait_period: float = Field(description="seconds from the end of an action to the next")
    window_seconds: float
    sample_seconds: float
    warmup_seconds: float
    idle_seconds: float


class AutoscalingPointAnswer(_Answer):
    """A value of the policy's metric."""

    at: Timestamp
    value: float


class AutoscalingSampleAnswer(_Answer):
    """An instance and its newest values, oldest first."""

    uuid: str
    ready: bool
    ready_at: Timestamp | None
    points: list[AutoscalingPointAnswer]


class AutoscalingActionAnswer(_Answer):
    """A step; in a dry run it is not taken, unless it wakes the service."""

    before: Count
    after: Count


class AutoscalingEvaluationAnswer(_Answer):
    """What was found at `at`. `wait_seconds`: left of the wait period then; `unsettled`: why steps wait, or ""."""

    at: Timestamp
    samples: list[AutoscalingSampleAnswer]
    value: float | None = Field(description="the statistic that was judged")
    rule: str
    action: AutoscalingActionAnswer | None
    reason: str
    wait_seconds: float
    limited: bool
    held_back: bool
    unsettled: str
    demand_at: Timestamp | None = Field(description="last request or open connection that is known")


class AutoscalerAnswer(_Answer):
    """How a service is scaled, and what the autoscaler found last; null while it has nothing to say."""

    mode: str
    dry_run: bool
    target: Count
    last_autoscaled_at: Timestamp | None
    policy: AutoscalingPolicyAnswer | None
    evaluation: AutoscalingEvaluationAnswer | None
