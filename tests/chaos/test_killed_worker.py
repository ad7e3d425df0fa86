"""A worker killed beside any engine call leaves nothing that the next one does not put right.

The suite runs a selection; SKYLARK_CHAOS=long (`make chaos`) runs every combination.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.chaos.scenarios import ALL, SCENARIOS, SHORT
from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = pytest.mark.docker

CASES = ALL if os.environ.get("SKYLARK_CHAOS") == "long" else SHORT
_DIES_SECONDS = 30


@pytest.fixture(scope="module")
def api_only(make_skylark: MakeSkylark) -> Skylark:
    """A Skylark whose workers are up to each test; containers end at once, so that no test waits for grace."""
    skylark = make_skylark().start()
    assert skylark.worker is not None
    skylark.worker.end()
    return skylark


@pytest.fixture
def skylark(api_only: Skylark) -> Iterator[Skylark]:
    """Without a worker before and after; whatever a test declared is gone afterwards."""
    yield api_only
    if not (api_only.worker and api_only.worker.running()):
        api_only.start_worker()
    for service in api_only.api.ask("GET")["results"]:
        api_only.api.delete(service["service_name"], volumes=True)
    eventually(lambda: not api_only.containers() and not api_only.volumes(), 60)
    assert api_only.worker is not None
    api_only.worker.end()


@pytest.mark.parametrize(("scenario", "moment", "method", "number"), CASES)
def test_worker_killed_beside_an_engine_call_is_made_good_by_the_next(
    skylark: Skylark, images: Images, scenario: str, moment: str, method: str, number: int
) -> None:
    case, image = SCENARIOS[scenario], images["web"]
    sound = skylark.start_worker()
    case.prepare(skylark, scenario, image)
    sound.end()
    trapped = skylark.start_worker([sys.executable, "-m", "tests.chaos.trap_worker", moment, method, str(number)])
    case.ask(skylark, scenario, image)
    assert trapped.wait(_DIES_SECONDS) == -signal.SIGKILL
    skylark.start_worker()
    case.check(skylark, scenario, image)
