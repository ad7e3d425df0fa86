"""One service in one pass: what is absorbed, written and ordered, and what a converged one costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.actions import Forget, Launch, Pull, ReleaseVolumes, Remove, Stop
from orchestrator.decision import Decision, decide, tell_status
from orchestrator.engine.base import ContainerFact
from orchestrator.jobs import pull_key
from orchestrator.state import Health, Instance, Observed, Phase, Retry
from orchestrator.status import Status
from orchestrator.store.passes import Loaded
from tests.support.world import NOW, UNRESOLVED, desired, instance, later, observed

RUNNING = Status("Running", False, "2 of 2 instances running")


class Recorder:
    """Takes the writes of a decision in place of the database."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: self.calls.append((name, named | {"args": arguments}))


def loaded(seen: Observed, wanted: Any = None, **changes: Any) -> Loaded:
    fields: dict[str, Any] = {
        "desired": wanted or desired(),
        "observed": seen,
        "region": "SHANGHAI1",
        "shown": RUNNING,
        "observed_generation": 3,
        "delete_volumes": False,
    }
    wanted = (fields | changes)["desired"]
    return Loaded(**({"good_revision": wanted.revision.number} | fields | changes))


def facts(*instances: Instance, state: str = "running", **changes: Any) -> dict[str, ContainerFact]:
    return {
        i.uuid: ContainerFact(**({"id": i.container_id, "name": "x", "state": state, "labels": {}} | changes))
        for i in instances
    }


def make(found: Loaded, shown: dict[str, ContainerFact], trouble: str = "", busy: frozenset[str] = frozenset()) -> Any:
    return decide(found, shown, trouble, busy, NOW, lambda: "new")


def written(decision: Decision) -> list[tuple[str, dict[str, Any]]]:
    recorder = Recorder()
    for write in decision.writes:
        # a partial of an unbound method carries its name; a closure calls it on the recorder
        function = getattr(write, "func", None)
        if function is None:
            write(recorder)  # type: ignore[arg-type]
        else:
            recorder.calls.append((function.__name__, dict(write.keywords)))  # type: ignore[attr-defined]
    return recorder.calls


TWO = (instance(0), instance(1))


def test_converged_service_writes_and_orders_nothing() -> None:
    decision = make(loaded(observed(*TWO)), facts(*TWO))

    assert not tell_status(decision, decision.status)
    assert written(decision) == []
    assert decision.actions == []


def test_death_is_written_counted_told_and_answered_in_one_pass() -> None:
    shown = facts(TWO[0]) | facts(TWO[1], state="exited", exit_code=3)
    decision = make(loaded(observed(*TWO)), shown)
    calls = dict(written(decision))

    assert calls["observe_instance"]["instance"].phase is Phase.EXITED
    assert calls["set_slot"]["args"] == (decision.loaded.uuid, 1, Retry(1, NOW, "exit code 3"))
    assert (calls["event"]["failures"], calls["event"]["exit_code"]) == (1, 3)
    assert [type(a) for a, _ in decision.actions] == [Launch, Remove]


def test_busy_instance_is_left_as_it_is_whatever_the_list_shows() -> None:
    """The list may be older than what the job has done."""
    decision = make(loaded(observed(*TWO)), facts(TWO[0]), busy=frozenset({"i1"}))

    assert written(decision) == []
    assert decision.observed.instances[1] == replace(TWO[1], busy=True)


def test_pull_under_way_is_known_by_its_key() -> None:
    found = loaded(observed(), desired(revision=UNRESOLVED))
    assert [type(a) for a, _ in make(found, {}).actions] == [Pull]
    assert make(found, {}, busy=frozenset({pull_key(found.uuid, found.desired.revision.image_ref)})).actions == []


def test_engine_trouble_changes_no_instance_and_orders_nothing() -> None:
    decision = make(loaded(observed(*TWO)), {}, trouble="engine does not answer: refused")

    assert decision.status == Status("Error", False, "engine does not answer: refused")
    assert decision.actions == []
    assert written(decision) == []


def test_launch_gets_a_row_of_its_own_uuid() -> None:
    decision = make(loaded(observed(TWO[0])), facts(TWO[0]))
    action, new = decision.actions[0]

    assert isinstance(action, Launch)
    assert new is not None
    assert (new.uuid, new.slot, new.phase, new.busy) == ("new", 1, Phase.PENDING, True)


def test_order_to_stop_stands_in_the_row_before_the_signal() -> None:
    decision = make(loaded(observed(*TWO), desired(count=1)), facts(*TWO))

    assert [type(a) for a, _ in decision.actions] == [Stop]
    assert ("instance_stopping", {"args": ("i1", "scaled to 1")}) in written(decision)


def test_unhealthy_instance_is_told_and_counted_as_a_death() -> None:
    shown = facts(TWO[0]) | facts(TWO[1], health="unhealthy")
    calls = dict(written(make(loaded(observed(*TWO)), shown)))

    assert calls["observe_instance"]["instance"].health is Health.UNHEALTHY
    assert calls["set_slot"]["args"][2] == Retry(1, NOW, "its health check fails")
    assert calls["event"]["failures"] == 1


def test_vanished_instance_is_closed_by_a_row_alone() -> None:
    gone = instance(1, Phase.VANISHED)
    decision = make(loaded(observed(TWO[0], gone)), facts(TWO[0]))

    assert [a for a in decision.plan.actions if isinstance(a, Forget)]
    assert "close_instance" in dict(written(decision))
    assert [type(a) for a, _ in decision.actions] == [Launch]


def test_kept_volumes_of_a_deleted_service_are_orphaned_by_rows_alone() -> None:
    gone = desired(started=False, deleted=True)
    seen = observed(volumes_left=True)
    kept = make(loaded(seen, gone, volumes=("v",)), {})
    removed = make(loaded(seen, gone, volumes=("v",), delete_volumes=True), {})

    assert [name for name, _ in written(kept)] == ["orphan_volumes", "event"]
    assert kept.actions == []
    assert [type(a) for a, _ in removed.actions] == [ReleaseVolumes]


def test_stopped_service_forgets_how_its_slots_fared() -> None:
    stopped = desired(started=False)
    seen = observed(slots={0: Retry(3, later(9), "exit code 1")})

    assert "clear_slots" in dict(written(make(loaded(seen, stopped, slots_noted=True), {})))
    assert "clear_slots" not in dict(written(make(loaded(seen, stopped), {})))


def test_new_status_is_told_once_with_an_event_when_its_word_changes() -> None:
    decision = make(loaded(observed(*TWO), shown=Status("Deploying", True, "created")), facts(*TWO))
    assert tell_status(decision, decision.status)
    names = [name for name, _ in written(decision)]
    assert names == ["set_status", "event"]

    reworded = make(loaded(observed(*TWO), shown=Status("Running", False, "other words")), facts(*TWO))
    tell_status(reworded, reworded.status)
    assert [name for name, _ in written(reworded)] == ["set_status"]


def test_unchanged_status_of_a_new_generation_is_written_so_that_its_observation_shows() -> None:
    decision = make(loaded(observed(*TWO), observed_generation=2), facts(*TWO))

    assert tell_status(decision, decision.status)
    assert [name for name, _ in written(decision)] == ["set_status"]


def test_revision_that_runs_as_a_whole_is_noted_as_good_once() -> None:
    seen = observed(*TWO)
    good = {"good_revision": 2, "service_uuid": desired().service_uuid, "generation": desired().generation}

    assert ("set_service", good) in written(make(loaded(seen, good_revision=None), facts(*TWO)))
    assert written(make(loaded(seen), facts(*TWO))) == []
