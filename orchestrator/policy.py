"""Between what is stored and what the autoscaler decides upon: policy, samples, how the service stands. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from orchestrator.autoscaler import InstancePoints, Point, Policy, Samples
from orchestrator.metrics.samples import ProxySample, Sample
from orchestrator.planner import target_revision
from orchestrator.spec import AutoscalingConfig, ServiceSpec
from orchestrator.state import Desired, Instance, Observed, Phase
from orchestrator.status import CAPACITY

PROXY_METRICS = ("REQUESTS_PER_SECOND", "CONNECTIONS")
_LEFT = (Phase.EXITED, Phase.VANISHED, Phase.GONE)
_LEAVING = (Phase.STOPPING, Phase.REMOVING)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Defaults:
    """The installation's part of every policy; the fields are those of `Policy`. `dry_run`: nobody is scaled."""

    window_seconds: float = 30.0
    sample_seconds: float = 5.0
    warmup_seconds: float = 15.0
    idle_seconds: float = 300.0
    dry_run: bool = False


class Installation(Protocol):
    """The settings that every policy shares."""

    @property
    def autoscaling_window_seconds(self) -> float: ...
    @property
    def metric_seconds(self) -> float: ...
    @property
    def autoscaling_warmup_seconds(self) -> float: ...
    @property
    def autoscaling_idle_seconds(self) -> float: ...
    @property
    def autoscaling_dry_run(self) -> bool: ...


def defaults_of(settings: Installation) -> Defaults:
    """The installation's part of every policy."""
    return Defaults(
        window_seconds=settings.autoscaling_window_seconds,
        sample_seconds=settings.metric_seconds,
        warmup_seconds=settings.autoscaling_warmup_seconds,
        idle_seconds=settings.autoscaling_idle_seconds,
        dry_run=settings.autoscaling_dry_run,
    )


def policy_of(config: AutoscalingConfig, defaults: Defaults) -> Policy:
    """The configuration as numbers."""
    return Policy(
        metric=config.metric_name,
        statistic=config.metric_stat,
        lower=float(config.lower_threshold),
        upper=float(config.upper_threshold),
        decrease_delta=config.decrease_delta,
        increase_delta=config.increase_delta,
        minimum=config.minimum_num_instances,
        maximum=config.maximum_num_instances,
        wait_seconds=float(config.wait_period),
        window_seconds=defaults.window_seconds,
        sample_seconds=defaults.sample_seconds,
        warmup_seconds=defaults.warmup_seconds,
        idle_seconds=defaults.idle_seconds if config.idle_seconds is None else float(config.idle_seconds),
    )


def is_dry(config: AutoscalingConfig, defaults: Defaults) -> bool:
    """Whether it is only said what would be done: the operator's word holds for all, a service's for itself."""
    return defaults.dry_run or bool(config.dry_run)


def needs_use(policy: Policy) -> bool:
    """Whether what its instances use is asked for."""
    return policy.metric not in PROXY_METRICS


def needs_traffic(policy: Policy) -> bool:
    """Whether what the proxy carries is asked for: as the metric, or to know who may sleep."""
    return policy.metric in PROXY_METRICS or policy.minimum == 0


def samples_of(
    policy: Policy,
    instances: Sequence[Instance],
    use: Sequence[Sample],
    traffic: Sequence[ProxySample],
    *,
    demand_at: datetime | None,
    waking: bool = False,
) -> Samples:
    """What was measured, for the decision; those that are going already are left out.

    `demand_at`: the last demand known before this window. What the proxy carried is shared out equally: 90 requests/s
    on 3 instances are 30 for each. Those that were ready then get their share; there were at least as many as now, as
    one that was replaced since is not known any more, and without its part a MAX would call that a surge.
    """
    there = [i for i in instances if i.phase not in (*_LEFT, *_LEAVING)]
    ready_at = {i.uuid: (i.ready_at or i.started_at) if i.ready else None for i in there}
    points: dict[str, list[Point]] = {uuid: [] for uuid in ready_at}
    ready_now = sum(since is not None for since in ready_at.values())
    if needs_use(policy):
        for sample in use:
            value = sample.cpu_fraction if policy.metric == "CPU_UTILIZATION" else sample.memory_fraction
            if value is not None and sample.instance_uuid in points:
                points[sample.instance_uuid].append(Point(moment(sample.reading.at_ms), value))
    else:
        for carried in traffic:
            at = moment(carried.at_ms)
            serving = [uuid for uuid, since in ready_at.items() if since is not None and since <= at]
            total = float(carried.connections) if policy.metric == "CONNECTIONS" else carried.requests_per_second
            for uuid in serving:
                points[uuid].append(Point(at, total / ready_now))
    asked = [moment(t.at_ms) for t in traffic if t.requests > 0 or t.connections > 0]
    latest = max([*asked, *([demand_at] if demand_at else [])], default=None)
    return Samples(
        instances=tuple(InstancePoints(uuid, since, tuple(points[uuid])) for uuid, since in ready_at.items()),
        demand_at=latest,
        waking=waking,
    )


def unsettled(desired: Desired, observed: Observed, observed_generation: int, now: datetime) -> str:
    """Why the service is not as wanted yet, so that its figures say little about the wanted count; "": it is."""
    if not observed.reachable:
        return f"the engine can't be reached: {observed.trouble}"
    if observed_generation < desired.generation:
        return "the last change was not looked at yet"
    if desired.pull.failures:
        return f"image can't be pulled: {desired.pull.reason}"
    if desired.revision.image_id is None or desired.image_missing:
        return f"pulling {desired.revision.image_ref}"
    if desired.recheck_image:
        return f"looking whether {desired.revision.image_ref} moved"
    for slot, retry in sorted(observed.slots.items()):
        if slot < desired.count and retry.failures and retry.retry_at and retry.retry_at > now:
            return f"slot {slot} is in back-off: {retry.reason}"
    living = [i for i in observed.instances if i.phase not in _LEFT]
    wanted = target_revision(desired)
    old = sum(1 for i in living if wanted is not None and i.fingerprint != wanted.fingerprint)
    if old:
        return f"a rollout is in progress, {old} of {len(living)} instances still of another revision"
    ready = len({i.slot for i in living if i.ready and i.slot < desired.count})
    if ready < desired.count:
        return f"{ready} of {desired.count} instances ready"
    extra = len(living) - desired.count
    if extra > 0:
        return f"{extra} {'instance is' if extra == 1 else 'instances are'} still to go"
    return ""


def refused(count: int, status_reason: str, observed: Observed) -> int:
    """How many of the instances wanted the host has not taken, as the last pass said in the service's status."""
    if not status_reason.startswith(CAPACITY):
        return 0
    return max(0, count - len({i.slot for i in observed.instances if i.phase not in _LEFT and i.slot < count}))


def count_after(before: ServiceSpec, after: ServiceSpec, current: int, *, counted: bool) -> int:
    """The number of instances wanted once `after` has taken the place of `before`; `current`: wanted until now.

    A number that the user named wins (`counted`, or a changed one); else what was reached stays.
    """
    named = counted or after.target_num_instances != before.target_num_instances
    return after.target_num_instances if named else current


def moment(at_ms: int) -> datetime:
    """Epoch milliseconds as a time."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def milliseconds(at: datetime) -> int:
    """A time as epoch milliseconds."""
    return (at - _EPOCH) // timedelta(milliseconds=1)
