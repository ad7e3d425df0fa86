"""Autoscaling on real containers: a service that burns CPU goes from one instance to two and back, and says why."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = pytest.mark.docker

QUICK = {
    "SKYLARK_METRIC_SECONDS": "1",
    "SKYLARK_AUTOSCALING_WINDOW_SECONDS": "4",
    "SKYLARK_AUTOSCALING_WARMUP_SECONDS": "1",
}
POLICY: dict[str, Any] = {
    "metric_name": "CPU_UTILIZATION",
    "metric_stat": "MEAN",
    "upper_threshold": "0.6",
    "lower_threshold": "0.2",
    "minimum_num_instances": 1,
    "maximum_num_instances": 4,
    "wait_period": 2,
}
GRIND = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done"
BURNER = f"sh -c 'while :; do if [ -e /tmp/burn ]; then {GRIND}; else sleep 0.1; fi; done'"


@pytest.fixture(scope="module")
def skylark(make_skylark: MakeSkylark) -> Skylark:
    return make_skylark(settings=QUICK).start()


def declare(skylark: Skylark, images: Images, name: str, **config: Any) -> None:
    """A service of one idle instance that scales by itself."""
    skylark.api.create(
        name,
        f"{images['busybox']}:latest",
        run_command=BURNER,
        instance_size="XXS",
        scaling_mode="AUTO",
        autoscaling_config=POLICY | config,
    )
    skylark.api.running(name, 1)


def autoscaler(skylark: Skylark, name: str) -> dict[str, Any]:
    return dict(skylark.api.ask("GET", f"/{name}/autoscaler"))


def test_burning_service_gets_a_second_instance_and_loses_it_again(skylark: Skylark, images: Images) -> None:
    declare(skylark, images, "burner")
    first = skylark.ids("burner")[0]
    skylark.run_in(
        first, "mkdir -p /tmp; touch /tmp/burn"
    )  # alone 1.0, and 0.5 on average when another idles beside it

    up = skylark.api.event("burner", "autoscaled", 40, before=1, after=2)
    seen = skylark.api.running("burner", 2)

    assert up["data"]["rule"] == "scale_up"
    assert up["data"]["value"] > 0.6
    assert (seen["target_num_instances"], seen["generation"]) == (2, 1)
    assert seen["last_autoscaled_at"] is not None

    def told() -> dict[str, Any]:
        answer = autoscaler(skylark, "burner")
        samples = (answer["evaluation"] or {}).get("samples", [])
        assert len(samples) == 2, answer
        assert all(sample["ready"] and sample["points"] for sample in samples), answer
        return answer

    answer = eventually(told, 20)
    assert (answer["mode"], answer["target"], answer["policy"]["window_seconds"]) == ("AUTO", 2, 4.0)

    skylark.run_in(first, "rm /tmp/burn")
    down = skylark.api.event("burner", "autoscaled", 40, before=2, after=1)
    skylark.api.running("burner", 1)
    assert down["data"]["rule"] == "scale_down"
    assert skylark.ids("burner") == [first]
    skylark.api.delete("burner")


def test_dry_run_only_tells(skylark: Skylark, images: Images) -> None:
    declare(skylark, images, "dry", dry_run=True)
    skylark.run_in(skylark.ids("dry")[0], "mkdir -p /tmp; touch /tmp/burn")

    told = skylark.api.event("dry", "autoscaling_dry_run", 40, before=1, after=2)

    assert told["reason"].startswith("dry run, nothing was done: ")
    assert skylark.api.running("dry", 1)["target_num_instances"] == 1
    assert "autoscaled" not in skylark.api.kinds("dry")
    skylark.api.delete("dry")
