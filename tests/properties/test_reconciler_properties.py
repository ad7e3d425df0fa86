"""Random histories of users, engines, registries and workers: whatever happened, the world becomes the declared one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from orchestrator.engine.errors import EngineError, Fault
from orchestrator.store.schema import InstanceRow
from tests.support.rig import IMAGE, DyingEngine, Rig

HOST = "registry.example"
METHODS = ("pull", "create_container", "start_container", "stop_container", "inspect_container", "remove_container")
STEPS = st.one_of(
    st.tuples(st.just("scale"), st.integers(0, 4)),
    st.tuples(st.just("tag"), st.sampled_from(["1", "2", "missing"])),
    st.tuples(st.just("state"), st.sampled_from(["STARTED", "STOPPED"])),
    st.tuples(st.just("recheck"), st.booleans()),
    st.tuples(st.just("die"), st.integers(0, 5)),
    st.tuples(st.just("vanish"), st.integers(0, 5)),
    st.tuples(st.just("pause"), st.integers(0, 5)),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("kill worker"), st.tuples(st.sampled_from(METHODS), st.sampled_from(["before", "after"]))),
    st.tuples(st.just("engine down"), st.integers(1, 3)),
    st.tuples(st.just("fail"), st.tuples(st.sampled_from(METHODS), st.sampled_from(list(Fault)))),
    st.tuples(st.just("lose images"), st.none()),
    st.tuples(st.just("lose rows"), st.none()),
    st.tuples(st.just("passes"), st.integers(1, 4)),
)


def apply(rig: Rig, kind: str, value: Any, random: Random) -> None:
    """One thing that happens."""
    running = sorted(c.id for c in rig.containers().values() if c.state == "running")
    victim = running[value % len(running)] if isinstance(value, int) and running else None
    match kind:
        case "scale":
            rig.change(target_num_instances=value)
        case "tag":
            rig.change(image_tag=value)
        case "state":
            rig.change(target_state=value)
        case "recheck":
            if value:
                rig.engine.world.push(f"{IMAGE}:1", f"moved {random.random()}")
            rig.change(recheck_image=True)
        case "die" if victim:
            rig.engine.die(victim, 1)
        case "vanish" if victim:
            rig.engine.take_away(victim)
        case "pause" if victim:
            rig.engine.set_paused(victim, True)
        case "restart":
            rig.restart()
        case "kill worker":
            killed(rig, *value)
        case "engine down":
            rig.engine.down = EngineError(Fault.UNREACHABLE, "refused")
            for _ in range(value):
                rig.run_pass()
            rig.engine.down = None
        case "fail":
            rig.engine.fail_next(value[0], EngineError(value[1], "trouble"))
        case "lose images":
            rig.engine.world.images.clear()
        case "lose rows":  # the database is an older copy
            with rig.sessions() as session:
                session.execute(delete(InstanceRow))
                session.commit()
        case "passes":
            for _ in range(value):
                rig.run_pass()
                rig.after(random.choice((0.1, 1, 5)))


def killed(rig: Rig, method: str, moment: str) -> None:
    """A worker that is killed at its next call of `method`, if one comes, and the one after it."""
    dying = DyingEngine(rig.engine, method, moment)
    rig.restart(dying)
    for _ in range(3):
        if not dying.dead.is_set():
            rig.reconciler.run_pass()
            dying.dead.wait(0.02)
    dying.dead.set()
    rig.executor.shutdown()
    rig.restart()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 3),
    st.booleans(),
    st.lists(STEPS, max_size=10),
    st.sampled_from(["STARTED", "STARTED", "STOPPED", "deleted"]),
    st.integers(0, 2**16),
)
def test_any_history_ends_in_what_was_declared_last(
    migrated_sqlite: Path, count: int, stateful: bool, history: list[tuple[str, Any]], end: str, seed: int
) -> None:
    volumes = [{"app_volume_dir": "/data", "volume_type": "EBS", "size_gb": 1}] if stateful else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "skylark.sqlite"
        shutil.copy(migrated_sqlite, path)
        rig = Rig(f"sqlite:///{path}", Path(folder))
        try:
            rig.engine.world.push(f"{IMAGE}:2", "2")
            rig.create(target_num_instances=count, volumes=volumes)
            for kind, value in history:
                apply(rig, kind, value, Random(seed))
            finish(rig, end)
        finally:
            rig.close()


def finish(rig: Rig, end: str) -> None:
    """Declare the end, let everything come to rest, and compare."""
    rig.engine.world.push(f"{IMAGE}:missing", "3")
    if end == "deleted":
        rig.delete()
    else:
        rig.change(target_state=end)
    rig.converge(passes=200)

    if end == "deleted":
        assert not rig.containers()
        return
    service = rig.service()
    wanted = service.spec.target_num_instances if end == "STARTED" else 0
    assert sorted(rig.ids()) == list(range(wanted))
    assert set(rig.containers()) == {i.uuid for i in rig.instances()}, "a container without a row, or the reverse"
    assert service.current_status == ("Running" if end == "STARTED" else "Stopped")
    assert len({c.image.id for c in rig.containers().values()}) <= 1
    calls, writes = rig.counted(rig.run_pass)
    assert calls == {"list_containers": 1}
    assert writes == []
