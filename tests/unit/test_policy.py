"""From what is stored to what the autoscaler decides upon, and what of its decisions is worth an event."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from orchestrator.autoscaler import Policy, Recommendation, Rule, ScaleState
from orchestrator.evaluation import tell
from orchestrator.metrics.samples import ProxySample, Reading, Sample
from orchestrator.policy import Defaults, count_after, is_dry, milliseconds, moment, policy_of, samples_of, unsettled
from orchestrator.spec import AutoscalingConfig
from orchestrator.state import Desired, Instance, Observed, Phase, Retry, Revision
from tests.store.samples import a_spec
from tests.unit.spec_samples import CONFIG

NOW = datetime.fromisoformat("2026-01-02T03:04:05+00:00")
PRINT = "0123456789ab"
DESIRED = Desired("u", "web", "ns", 3, True, False, 2, False, Revision(1, "web:1", "sha256:1", None, PRINT))


def a_policy(**changes: Any) -> Policy:
    return policy_of(AutoscalingConfig.model_validate(CONFIG | changes), Defaults())


def instance(slot: int, phase: Phase = Phase.RUNNING, **values: Any) -> Instance:
    return Instance(f"i{slot}", slot, PRINT, phase, **{"ready_at": NOW - timedelta(minutes=5)} | values)


def use(uuid: str, seconds: float, cores: float | None = 0.1, memory: int = 50) -> Sample:
    """`seconds` ago, of a quarter of a core and 100 bytes."""
    return Sample("u", uuid, Reading(milliseconds(NOW) - int(seconds * 1000), 0, memory), cores, 0.25, 100)


def carried(seconds: float, requests: int, connections: int = 0) -> ProxySample:
    at_ms = milliseconds(NOW) - int(seconds * 1000)
    return ProxySample("u", at_ms, 5.0, requests, 0, connections, 0, 0, None)


def values(policy: Policy, instances: list[Instance], *measured: Any) -> dict[str, list[float]]:
    found = samples_of(
        policy,
        instances,
        [m for m in measured if isinstance(m, Sample)],
        [m for m in measured if isinstance(m, ProxySample)],
        demand_at=None,
    )
    return {i.instance_uuid: [point.value for point in i.points] for i in found.instances}


def test_config_becomes_numbers_with_the_installations_part() -> None:
    defaults = Defaults(window_seconds=4, sample_seconds=1, warmup_seconds=2, idle_seconds=60)
    config = AutoscalingConfig.model_validate(CONFIG | {"upper_threshold": ".75", "wait_period": 9})

    assert policy_of(config, defaults) == Policy(
        "CPU_UTILIZATION", "MEAN", 0.1, 0.75, 1, 1, 1, 6, 9.0, 4, 1, 2, idle_seconds=60
    )
    own = AutoscalingConfig.model_validate(CONFIG | {"idle_seconds": 5})
    assert policy_of(own, defaults).idle_seconds == 5.0


@pytest.mark.parametrize(
    ("own", "installation", "dry"), [(None, False, False), (True, False, True), (False, True, True)]
)
def test_dry_run_of_the_installation_holds_for_all(own: bool | None, installation: bool, dry: bool) -> None:
    config = AutoscalingConfig.model_validate(CONFIG | {"dry_run": own})

    assert is_dry(config, Defaults(dry_run=installation)) is dry


def test_use_is_a_fraction_of_the_limit() -> None:
    there = [instance(0), instance(1)]
    measured = [use("i0", 5, 0.05), use("i0", 0, 0.25, 80), use("i1", 0, None), use("gone", 0)]

    assert values(a_policy(), there, *measured) == {"i0": [0.2, 1.0], "i1": []}
    assert values(a_policy(metric_name="MEMORY_UTILIZATION"), there, *measured) == {"i0": [0.5, 0.8], "i1": [0.5]}


def test_what_the_proxy_carried_is_shared_among_as_many_as_are_ready_now() -> None:
    late = instance(2, ready_at=NOW - timedelta(seconds=2))
    unready = instance(3, unready="no answer")
    there = [instance(0), instance(1), late, unready]

    requests = values(a_policy(metric_name="REQUESTS_PER_SECOND"), there, carried(5, 100), carried(0, 300))
    assert requests == {
        "i0": [pytest.approx(20 / 3), 20.0],
        "i1": [pytest.approx(20 / 3), 20.0],
        "i2": [20.0],
        "i3": [],
    }
    connections = values(a_policy(metric_name="CONNECTIONS"), there, carried(5, 0, 8), carried(0, 0, 9))
    then = pytest.approx(8 / 3)
    assert connections == {"i0": [then, 3.0], "i1": [then, 3.0], "i2": [3.0], "i3": []}


def test_those_that_go_are_left_out_and_those_that_come_are_not_ready() -> None:
    phases = [Phase.RUNNING, Phase.STOPPING, Phase.EXITED, Phase.PENDING]
    found = samples_of(a_policy(), [instance(n, p) for n, p in enumerate(phases)], [], [], demand_at=None)

    assert [(i.instance_uuid, i.ready_at is None) for i in found.instances] == [("i0", False), ("i3", True)]


@pytest.mark.parametrize(
    ("traffic", "ago"),
    [
        ([], 300),
        ([carried(10, 0), carried(5, 0)], 300),
        ([carried(10, 1), carried(5, 0)], 10),
        ([carried(10, 1), carried(5, 0, 1)], 5),
    ],
    ids=["nothing known", "nobody", "a request", "an open connection"],
)
def test_demand_is_the_last_request_or_open_connection(traffic: list[ProxySample], ago: float) -> None:
    before = NOW - timedelta(seconds=300)

    found = samples_of(a_policy(), [], [], traffic, demand_at=before)

    assert found.demand_at == NOW - timedelta(seconds=ago)


@pytest.mark.parametrize(
    ("desired", "observed", "reason"),
    [
        ({}, {}, ""),
        ({}, {"reachable": False, "trouble": "refused"}, "the engine can't be reached: refused"),
        ({"generation": 4}, {}, "the last change was not looked at yet"),
        ({"pull": Retry(2, NOW, "no such tag")}, {}, "image can't be pulled: no such tag"),
        ({"revision": Revision(2, "web:2")}, {}, "pulling web:2"),
        ({"image_missing": True}, {}, "pulling web:1"),
        ({"recheck_image": True}, {}, "looking whether web:1 moved"),
        ({}, {"slots": {1: Retry(2, NOW + timedelta(seconds=9), "exit code 3")}}, "slot 1 is in back-off: exit code 3"),
        ({}, {"slots": {1: Retry(2, NOW - timedelta(seconds=9), "exit code 3")}}, ""),
        ({}, {"slots": {7: Retry(2, NOW + timedelta(seconds=9), "exit code 3")}}, ""),
        (
            {"revision": replace(DESIRED.revision, fingerprint="fedcba987654")},
            {},
            "a rollout is in progress, 2 of 2 instances still of another revision",
        ),
        ({}, {"instances": (instance(0),)}, "1 of 2 instances ready"),
        ({}, {"instances": (instance(0), instance(1, unready="no answer"))}, "1 of 2 instances ready"),
        ({}, {"instances": (instance(0), instance(1, Phase.EXITED))}, "1 of 2 instances ready"),
        (
            {"count": 1},
            {"instances": (instance(0), instance(1, Phase.STOPPING))},
            "1 instance is still to go",
        ),
        ({"count": 0}, {"instances": ()}, ""),
        ({"count": 0}, {"instances": (instance(0),)}, "1 instance is still to go"),
    ],
)
def test_service_is_settled_only_when_all_is_as_wanted(
    desired: dict[str, Any], observed: dict[str, Any], reason: str
) -> None:
    seen = Observed(**{"instances": (instance(0), instance(1))} | observed)

    assert unsettled(replace(DESIRED, **desired), seen, 3, NOW) == reason


@pytest.mark.parametrize(
    ("before", "after", "counted", "count"),
    [
        ({}, {"image_tag": "2"}, False, 5),
        ({}, {"target_num_instances": 3}, False, 3),
        ({}, {"target_num_instances": 2}, True, 2),
        ({"target_num_instances": 4}, {"target_num_instances": 4}, True, 4),
    ],
)
def test_named_number_wins_over_the_one_reached(
    before: dict[str, Any], after: dict[str, Any], counted: bool, count: int
) -> None:
    assert count_after(a_spec(**before), a_spec(**after), 5, counted=counted) == count


def held(reason: str, rule: Rule = Rule.WAITING) -> Recommendation:
    return Recommendation(2, rule, reason, 0.9, held_back=True)


def test_what_holds_a_step_back_is_told_once_whatever_its_numbers() -> None:
    policy, state = a_policy(wait_period=30), ScaleState(2)
    told: dict[str, str] = {}
    events = []
    for second, found in enumerate(
        [
            held("MEAN 0.90 is above 0.6, 30 s left"),
            held("MEAN 0.85 is above 0.6, 25 s left"),
            Recommendation(2, Rule.STEADY, "steady"),
            held("MEAN 0.92 is above 0.6, 9 s left"),
            held("1 of 2 ready", Rule.NOT_SETTLED),
            held("MEAN 0.92 is above 0.6, 7 s left"),
        ]
    ):
        event, told = tell(policy, state, found, told, dry_run=False, now=NOW + timedelta(seconds=5 * second))
        events.append(event.kind if event else None)

    assert events == ["autoscaling_held", None, None, None, "autoscaling_held", None]


def test_what_held_back_is_told_again_after_a_while_and_after_an_action() -> None:
    policy, state = a_policy(wait_period=90), ScaleState(2)
    found = held("30 s left")
    _, told = tell(policy, state, found, {}, dry_run=False, now=NOW)

    again, _ = tell(policy, state, found, told, dry_run=False, now=NOW + timedelta(seconds=91))
    acted, told = tell(policy, state, Recommendation(3, Rule.SCALE_UP, "up"), told, dry_run=False, now=NOW)
    after, _ = tell(policy, state, found, told, dry_run=False, now=NOW)

    assert again is not None
    assert acted is not None
    assert acted.kind == "autoscaled"
    assert after is not None


def test_clock_set_back_does_not_silence() -> None:
    policy, state = a_policy(), ScaleState(2)
    _, told = tell(policy, state, held("30 s left"), {}, dry_run=False, now=NOW)

    event, _ = tell(policy, state, held("30 s left"), told, dry_run=False, now=NOW - timedelta(hours=1))

    assert event is not None


def test_moments_are_exact_to_the_millisecond() -> None:
    assert moment(milliseconds(NOW)) == NOW
    assert milliseconds(NOW + timedelta(microseconds=1999)) == milliseconds(NOW) + 1
