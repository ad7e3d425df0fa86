"""What is done now and then: volumes measured, old lines, events and instances dropped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from orchestrator.engine.errors import EngineError, Fault
from orchestrator.logs.archive import LogArchive
from orchestrator.logs.lines import SKYLARK, STDOUT, Batch, Wanted
from orchestrator.metrics.samples import Reading, Sample
from orchestrator.metrics.store import MetricStore
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
def archive(tmp_path: Path) -> Iterator[LogArchive]:
    made = LogArchive(tmp_path / "logs", max_bytes=None, service_max_bytes=None)
    yield made
    made.close()


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[MetricStore]:
    made = MetricStore(tmp_path / "metrics", raw_hours=24, rollup_days=30, max_bytes=2**30)
    yield made
    made.close()


@pytest.fixture
def keeper(rig: Rig, archive: LogArchive, metrics: MetricStore) -> Housekeeping:
    return Housekeeping(rig.settings, rig.sessions, {"e": rig.engine}, archive, metrics, lambda: rig.now)


def logged(archive: LogArchive, service_uuid: str) -> list[str]:
    return [line.message for line in archive.read(Wanted(service_uuid, 0, 2**62))]


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


def test_past_instances_go_after_their_days_and_living_ones_stay(rig: Rig, keeper: Housekeeping) -> None:
    rig.create(target_num_instances=2)
    rig.converge()
    with rig.sessions() as session:
        row = InstanceRow.slot == 1
        session.execute(update(InstanceRow).where(row).values(gone_at=rig.now - timedelta(days=8), phase="gone"))
        session.commit()
    keeper.apply_retention()

    with rig.sessions() as session:
        assert list(session.scalars(select(InstanceRow.slot))) == [0]


def test_lines_and_metrics_of_a_service_that_is_gone_for_good_go_and_others_stay(
    rig: Rig, keeper: Housekeeping, archive: LogArchive, metrics: MetricStore
) -> None:
    kept, at_ms = rig.create().uuid, int(time.time() * 1000)
    for uuid in (kept, "purged"):
        archive.append([Batch(uuid, "i", f"c-{uuid}", [(at_ms * 1_000_000, STDOUT, b"hello")], "")])
        metrics.add([Sample(uuid, "i", Reading(at_ms, 1, 1), None, 1.0, 1024)])
    archive.append([Batch(SKYLARK, "worker", "skylark-worker", [(at_ms * 1_000_000, STDOUT, b"own")], "")])
    keeper.apply_retention()

    assert (logged(archive, kept), logged(archive, "purged"), logged(archive, SKYLARK)) == (["hello"], [], ["own"])
    assert metrics.services() == (kept,)
