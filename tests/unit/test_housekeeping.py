"""What is done now and then: volumes measured, old lines, events and instances dropped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from orchestrator.engine.errors import EngineError, Fault
from orchestrator.logs.store import LogStore, NewLine
from orchestrator.store.schema import InstanceRow, VolumeRow
from tests.support.rig import Rig
from worker.housekeeping import Housekeeping

VOLUMES = [{"app_volume_dir": "/data", "volume_type": "EBS", "size_gb": 1}]


@pytest.fixture
def rig(sqlite_url: str, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(sqlite_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LogStore]:
    made = LogStore(tmp_path / "logs" / "lines.sqlite")
    yield made
    made.close()


@pytest.fixture
def keeper(rig: Rig, store: LogStore) -> Housekeeping:
    return Housekeeping(rig.settings, rig.sessions, {"e": rig.engine}, store, lambda: rig.now)


def used(rig: Rig) -> list[int | None]:
    with rig.sessions() as session:
        return list(session.scalars(select(VolumeRow.used_bytes)))


def test_volume_tells_the_bytes_really_used(rig: Rig, keeper: Housekeeping) -> None:
    rig.create(volumes=VOLUMES)
    rig.converge()
    next(iter(rig.engine.world.volumes.values())).files["x"] = b"12345"
    keeper.measure_volumes()

    assert used(rig) == [5]


def test_without_volumes_no_engine_is_asked(rig: Rig, keeper: Housekeeping) -> None:
    rig.create()
    rig.converge()
    keeper.measure_volumes()

    assert rig.engine.calls["volume_usage"] == 0


def test_engine_that_does_not_answer_leaves_what_was_measured_before(rig: Rig, keeper: Housekeeping) -> None:
    rig.create(volumes=VOLUMES)
    rig.converge()
    keeper.measure_volumes()
    rig.engine.fail_next("volume_usage", EngineError(Fault.UNREACHABLE, "refused"))
    keeper.measure_volumes()

    assert used(rig) == [0]


def test_old_events_go_and_younger_ones_stay(rig: Rig, keeper: Housekeeping) -> None:
    rig.create()
    rig.converge()
    rig.after(29 * 86_400)
    keeper.apply_retention()
    assert rig.events()

    rig.after(2 * 86_400)
    keeper.apply_retention()
    assert not rig.events()


def test_past_instances_go_with_their_log_lines_and_living_ones_stay(
    rig: Rig, keeper: Housekeeping, store: LogStore
) -> None:
    rig.create(target_num_instances=2)
    rig.converge()
    with rig.sessions() as session:
        row = InstanceRow.slot == 1
        session.execute(update(InstanceRow).where(row).values(gone_at=rig.now - timedelta(days=8), phase="gone"))
        session.commit()
    store.append([NewLine("s", "i", "c", 1, "stdout", b"from 1970")])
    keeper.apply_retention()

    with rig.sessions() as session:
        assert list(session.scalars(select(InstanceRow.slot))) == [0]
    assert list(store.read("s", 0, 2**62)) == []
