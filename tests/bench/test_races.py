"""The benchmark in its short form: the outcomes of each race, never its times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.bench.contestants import Contestant, RawSdk
from tests.bench.converged import measure_rest
from tests.bench.races import Sample, race_healing, race_up_and_down
from tests.bench.skylark import Skylark
from tests.bench.table import lines
from tests.bench.watch import running_ids, watching
from tests.support.registry import Images

pytestmark = pytest.mark.docker


@pytest.fixture(params=["Skylark", "raw SDK"])
def contestant(
    request: pytest.FixtureRequest, installation: str, images: Images, tmp_path: Path
) -> Iterator[Contestant]:
    image = images["web"] + ":v1"
    made: Skylark | RawSdk = (
        Skylark(installation, image, tmp_path) if request.param == "Skylark" else RawSdk(installation, image)
    )
    yield made
    made.close()


def test_race_up_and_down_leaves_nothing_and_records_both_ways(
    contestant: Contestant, docker_client: docker.APIClient
) -> None:
    samples: list[Sample] = []
    with watching(contestant.label) as watch:
        race_up_and_down(contestant, watch, 2, samples.append)

    assert [(s.race, s.count) for s in samples] == [("up", 2), ("down", 2)]
    assert running_ids(docker_client, contestant.label) == []


def test_race_of_healing_sees_a_replacement_for_each_kill(
    contestant: Contestant, docker_client: docker.APIClient
) -> None:
    samples: list[Sample] = []
    with watching(contestant.label) as watch:
        race_healing(contestant, watch, docker_client, 2, samples.append)

    assert [s.race for s in samples] == ["heal", "heal"]
    assert running_ids(docker_client, contestant.label) == []


def test_system_at_rest_costs_one_engine_call_and_no_write(installation: str, images: Images, tmp_path: Path) -> None:
    rest = measure_rest(
        lambda: Skylark(installation, images["web"] + ":v1", tmp_path), containers=4, idle_seconds=0.1, passes=3
    )

    assert (rest.engine_calls, rest.database_writes, rest.actions) == (1, 0, 0)


def test_table_shows_medians_and_skylarks_multiple() -> None:
    samples = [Sample("up", 2, "Skylark", seconds) for seconds in (1.0, 2.0, 9.0)] + [Sample("up", 2, "Swarm", 4.0)]

    table = "\n".join(lines(samples, None, {"docker-compose": "not there"}))

    assert "request to 2 running" in table
    assert "4.00 (0.50)" in table
    assert "docker-compose could not run: not there" in table
