"""Whose use is measured, with which limits: told by every pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.metrics.subjects import Subject
from orchestrator.sizes import MIB, Size
from orchestrator.store.database import migrate
from tests.support.rig import Rig

SIZES = {"XS": Size(0.25, 512 * MIB), "M": Size(1.0, 2048 * MIB)}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    url = f"sqlite:///{tmp_path / 'skylark.sqlite'}"
    migrate(url)
    rig = Rig(url, tmp_path, sizes=SIZES)
    yield rig
    rig.close()


def test_running_instances_are_told_with_container_and_limits(rig: Rig) -> None:
    web = rig.create("web", target_num_instances=2, instance_size="M")
    rig.converge()

    told = rig.run_pass().measuring

    url = rig.settings.regions["SHANGHAI1"].engine_url
    assert {subject.container_id for subject in told} == set(rig.ids().values())
    assert {subject.instance_uuid for subject in told} == set(rig.containers())
    (kind,) = {(s.engine_url, s.service_uuid, s.cpu_limit_cores, s.memory_limit_bytes) for s in told}
    assert kind == (url, web.uuid, 1.0, 2048 * MIB)


def test_instances_of_a_former_size_keep_their_limits_while_they_are_replaced(rig: Rig) -> None:
    rig.create("web", target_num_instances=2, instance_size="XS")
    rig.converge()
    old = set(rig.ids().values())
    rig.change("web", instance_size="M")

    seen: set[tuple[bool, float]] = set()
    mixed = False
    for _ in range(40):
        told = rig.run_pass().measuring
        kinds = {_kind(subject, old) for subject in told}
        mixed = mixed or len(kinds) == 2
        seen |= kinds
        rig.after(1)

    assert seen == {(True, 0.25), (False, 1.0)}
    assert mixed, "both sizes were there at once"


def test_stopped_service_has_nobody_to_measure(rig: Rig) -> None:
    rig.create("web", target_num_instances=2)
    rig.converge()
    rig.change("web", target_state="STOPPED")
    rig.converge()

    assert rig.run_pass().measuring == []


def _kind(subject: Subject, old: set[str]) -> tuple[bool, float]:
    return subject.container_id in old, subject.cpu_limit_cores
