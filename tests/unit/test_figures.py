"""What the worker tells Prometheus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.engine.base import Engine
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.engine.fake import FakeEngine
from orchestrator.logs import gaps
from orchestrator.logs.archive import LogArchive
from orchestrator.logs.errors import LogStoreError
from orchestrator.logs.lines import STDOUT, SYSTEM, Batch
from orchestrator.metrics.samples import ProxySample
from orchestrator.store.census import Census
from tests.support.rig import Rig
from worker.counted_log import CountedLog
from worker.figures import Figures, FiguresFile
from worker.timed_engine import timed_engine

SHOP = "11111111-1111-4111-8111-111111111111"


def carried(requests: int, errors_5xx: int = 0, connections: int = 0, response_ms: float | None = None) -> ProxySample:
    return ProxySample(SHOP, 0, 1.0, requests, errors_5xx, connections, 5, 50, response_ms)


def written(figures: Figures, folder: Path, names: dict[str, str] | None = None) -> dict[str, float]:
    """Every sample of the file: name{labels} -> value."""
    path = folder / "worker.prom"
    figures.write(path, queued={"launch": 3}, names=lambda: names or {})
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def test_traffic_of_a_service_is_counted_under_its_name(tmp_path: Path) -> None:
    figures = Figures()
    figures.proxy.add([carried(requests=10, errors_5xx=1, connections=4, response_ms=250.0)])
    figures.proxy.add([carried(requests=2, connections=1)])

    found = written(figures, tmp_path, {SHOP: "madams/shop"})

    of_shop = "namespace=madams service=shop"
    assert found[f"skylark_proxy_requests_total {of_shop}"] == 12
    assert found[f"skylark_proxy_errors_5xx_total {of_shop}"] == 1
    assert found[f"skylark_proxy_response_seconds_total {of_shop}"] == 2.5
    assert found[f"skylark_proxy_connections {of_shop}"] == 1


def test_a_service_without_news_has_no_open_connections_and_keeps_its_counts(tmp_path: Path) -> None:
    figures = Figures()
    figures.proxy.add([carried(requests=10, connections=4)])
    figures.proxy.add([])

    found = written(figures, tmp_path, {SHOP: "madams/shop"})

    assert found["skylark_proxy_requests_total namespace=madams service=shop"] == 10
    assert found["skylark_proxy_connections namespace=madams service=shop"] == 0


def test_a_service_that_is_gone_is_told_no_more(tmp_path: Path) -> None:
    figures = Figures()
    figures.proxy.add([carried(requests=10)])

    assert not [name for name in written(figures, tmp_path) if name.startswith("skylark_proxy_requests_total")]


def test_service_deleted_and_made_again_is_told_once(sqlite_url: str, tmp_path: Path) -> None:
    """While the deleted one is still going: a name may not stand twice, or Prometheus refuses it all."""
    rig = Rig(sqlite_url, tmp_path)
    old = rig.create()
    rig.converge()
    rig.delete()
    new = rig.create()
    figures = Figures()
    figures.proxy.add([replace(carried(requests=n), service_uuid=s.uuid) for s, n in ((old, 100), (new, 7))])

    with rig.sessions() as session:
        names = Census(session).names()
    rig.close()
    figures.write(tmp_path / "worker.prom", queued={}, names=lambda: names)

    told = [
        line for line in (tmp_path / "worker.prom").read_text().splitlines() if "skylark_proxy_requests_total{" in line
    ]
    assert told == ['skylark_proxy_requests_total{namespace="ns",service="web"} 7.0']


def test_figures_that_cannot_be_written_are_told_once_and_so_is_the_end_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "metrics").write_text("in the way")
    file = FiguresFile(Figures(), tmp_path / "metrics" / "worker.prom", dict, dict)

    file.write()
    file.write()
    (tmp_path / "metrics").unlink()
    file.write()

    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith("figures for Prometheus can't be written, those of before are shown: ")
    assert second == "figures for Prometheus are written again"
    assert "skylark_figures_timestamp_seconds" in (tmp_path / "metrics" / "worker.prom").read_text()


def test_what_is_queued_is_told_by_verb_and_nothing_as_zero(tmp_path: Path) -> None:
    found = written(Figures(), tmp_path)

    assert found["skylark_queue_depth verb=launch"] == 3
    assert found["skylark_queue_depth verb=pull"] == 0


def test_engine_calls_are_timed_and_refusals_are_counted_by_fault(tmp_path: Path) -> None:
    figures = Figures()
    engine = timed_engine(cast(Engine, FakeEngine("here")), "unix://x", figures.called)
    engine.list_containers()

    with pytest.raises(EngineError) as refusal:
        engine.start_container("no such")

    found = written(figures, tmp_path)
    assert refusal.value.fault is Fault.NOT_FOUND
    assert found["skylark_engine_call_seconds_count call=list_containers engine=unix://x"] == 1
    assert found["skylark_engine_errors_total call=start_container engine=unix://x fault=not_found"] == 1


def test_stored_and_dropped_log_lines_are_counted(tmp_path: Path) -> None:
    figures, stored = Figures(), LogArchive(tmp_path / "logs", max_bytes=None, service_max_bytes=None)
    writer = CountedLog(stored, figures.logged)
    told = gaps.dropped(40, 10, 1, 2).encode()
    writer.append([Batch(SHOP, "i", "c", [(1, STDOUT, b"hello"), (2, SYSTEM, told)], "here")])

    found = written(figures, tmp_path)
    assert found["skylark_log_lines_total result=stored"] == 2
    assert found["skylark_log_lines_total result=dropped"] == 40
    assert found["skylark_log_bytes_total"] == len(told) + 5
    assert writer.position("c") == "here"
    stored.close()


def test_lines_that_could_not_be_stored_are_not_counted(tmp_path: Path) -> None:
    figures = Figures()
    (tmp_path / "file").write_text("in the way")
    writer = CountedLog(LogArchive(tmp_path / "file", max_bytes=None, service_max_bytes=None), figures.logged)

    with pytest.raises(LogStoreError):
        writer.append([Batch(SHOP, "i", "c", [(1, STDOUT, b"hello")], "")])

    assert "skylark_log_lines_total result=stored" not in written(figures, tmp_path)


def test_passes_and_decisions_are_counted(tmp_path: Path) -> None:
    figures = Figures()
    figures.passed(0.02, full=True)
    figures.pass_failed()
    figures.evaluated("scale_up", 2)
    figures.evaluated("steady", 0)

    found = written(figures, tmp_path)
    assert found["skylark_pass_seconds_count scope=all"] == 1
    assert found["skylark_passes_failed_total"] == 1
    assert found["skylark_autoscaler_evaluations_total rule=steady"] == 1
    assert found["skylark_autoscaler_actions_total direction=up"] == 1
