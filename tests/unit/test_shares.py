"""What a pass writes for each service stands or falls apart from the others, and nothing is lost with the database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from orchestrator.engine.errors import EngineError, Fault
from orchestrator.store.pass_writes import PassWrites
from tests.support.rig import Rig


@pytest.fixture
def rig(sqlite_url: str, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(sqlite_url, tmp_path)
    yield made
    made.close()


def fail(monkeypatch: pytest.MonkeyPatch, method: str, error: Exception, when: Any = lambda **_: True) -> None:
    """`method` of every PassWrites raises while `when` says so."""
    real = getattr(PassWrites, method)

    def wrapped(self: PassWrites, *arguments: Any, **named: Any) -> Any:
        if when(**named):
            raise error
        return real(self, *arguments, **named)

    monkeypatch.setattr(PassWrites, method, wrapped)


def test_rows_that_can_not_be_written_cost_only_their_service(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = rig.create("a-broken").uuid
    rig.create("fine")
    fail(monkeypatch, "add_instance", ValueError("a bug"), lambda service_uuid, **_: service_uuid == broken)
    for _ in range(5):
        rig.run_pass()

    assert len(rig.ids("fine")) == 1
    assert rig.status("fine")[0] == "Running"
    assert not rig.ids("a-broken"), "nothing is launched whose row does not stand"


def test_event_of_an_engine_gone_is_not_lost_with_the_database(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.engine.down = EngineError(Fault.UNREACHABLE, "refused")
    with monkeypatch.context() as patch:
        fail(patch, "event", OperationalError("INSERT", {}, Exception("database is locked")))
        with pytest.raises(OperationalError):
            rig.run_pass()
    rig.run_pass()
    rig.run_pass()

    assert len(rig.events("engine_unreachable")) == 1


def test_launch_whose_rows_met_a_failing_database_is_planned_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.create()
    rig.run_pass()
    with monkeypatch.context() as patch:
        fail(patch, "add_instance", OperationalError("INSERT", {}, Exception("database is locked")))
        with pytest.raises(OperationalError):
            rig.run_pass()
    assert not rig.containers()
    rig.converge()

    assert len(rig.ids()) == 1


def test_log_of_a_container_that_never_ran_is_not_followed_yet(rig: Rig) -> None:
    """Its stream would end at once, and what it writes later would never be read."""
    rig.create()
    rig.run_pass()
    rig.engine.fail_next("start_container", EngineError(Fault.UNREACHABLE, "refused"))
    rig.run_pass()
    rig.restart()
    cut_off = rig.reconciler.run_pass()
    rig.wait()
    running = rig.run_pass()

    assert [c.state for c in rig.containers().values()] == ["running"]
    assert cut_off.following == []
    assert [f.container_id for f in running.following] == [rig.ids()[0]]
