"""The autoscaler's job: read what was measured, let the pure rules decide, write targets and say why."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.autoscaler import Policy, Recommendation, Samples, ScaleState, recommend
from orchestrator.evaluation import Kept, Told, is_taken, keep, numbers, tell
from orchestrator.metrics.samples import MetricWindows, ProxySample, Sample
from orchestrator.policy import (
    defaults_of,
    is_dry,
    milliseconds,
    needs_traffic,
    needs_use,
    policy_of,
    refused,
    samples_of,
    unsettled,
)
from orchestrator.settings import Settings
from orchestrator.store.autoscaling import USER, Autoscaling
from orchestrator.store.database import session_scope
from orchestrator.store.events import Events
from orchestrator.store.passes import Loaded, PassReads
from orchestrator.store.reads import Reads
from orchestrator.store.records import ServiceRecord
from worker.pass_loop import PassLoop

log = logging.getLogger("skylark.autoscaler")

Decide = Callable[[Policy, Samples, ScaleState, datetime], Recommendation]
Room = Callable[[ServiceRecord], tuple[int | None, str]]


@dataclass(frozen=True)
class _Subject:
    """A service in this round: what is stored of it, and its policy."""

    record: ServiceRecord
    loaded: Loaded
    policy: Policy
    dry_run: bool


@dataclass(frozen=True)
class _Measured:
    """What was measured of all services in this round; `failed`: why nothing is known, ""."""

    use: Mapping[str, Sequence[Sample]]
    traffic: Mapping[str, Sequence[ProxySample]]
    failed: str = ""


@dataclass(frozen=True)
class _Verdict:
    subject: _Subject
    state: ScaleState
    found: Recommendation
    kept: Kept
    event: Told | None
    ended: bool  # the last change of the count has come to its end
    clock_went_back: bool

    @property
    def acts(self) -> bool:
        return is_taken(self.found, self.state.current, dry_run=self.subject.dry_run)


class Autoscaler:
    """Rounds on a thread of their own: a slow metric store delays no tick, and `request` costs nothing.

    `wake(service uuid)` asks for a pass. `waking()`: services that a request waits for. `room(service)`: how many
    instances more the host takes (None: no limit known) and why not more. `evaluated(rule, change of the target)` is
    told of every evaluation.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        metrics: MetricWindows,
        settings: Settings,
        clock: Callable[[], datetime],
        wake: Callable[[str], None],
        *,
        may_act: Callable[[], bool] = lambda: True,
        waking: Callable[[], set[str]] = set,
        room: Room = lambda service: (None, ""),
        evaluated: Callable[[str, int], None] = lambda rule, change: None,
        decide: Decide = recommend,
    ) -> None:
        self._sessions = sessions
        self._metrics = metrics
        self._engines = {region.name: region.engine_url for region in settings.regions.values()}
        self._defaults = defaults_of(settings)
        # the judgement looks back a sample beyond its window, for the value that reaches into it
        self._reach = timedelta(seconds=self._defaults.window_seconds + 2 * self._defaults.sample_seconds)
        self._clock = clock
        self._wake = wake
        self._waking = waking
        self._room = room
        self._evaluated = evaluated
        self._decide = decide
        self._told = ""  # the trouble that was told last
        self._keeps = True  # evaluations are stored, as far as is known
        self._broken: set[str] = set()  # whose evaluation failed, which was told
        self._loop = PassLoop(self.run_round, may_act, name="autoscaler")

    def start(self) -> None:
        """Begin; a round is run only on request."""
        self._loop.start()

    def stop(self) -> None:
        """Finish the round in hand and end."""
        self._loop.stop()

    def request(self, service_uuid: str | None = None) -> None:
        """Evaluate the service (None: all) as soon as possible. From any thread."""
        self._loop.request(service_uuid)

    def run_round(self, uuids: Collection[str] | None = None) -> None:
        """Evaluate these services (None: all that are AUTO and started) once. A fault holds, and is told once."""
        try:
            self._round(uuids)
        except SQLAlchemyError as error:
            self._trouble(f"the database can't be used: {str(error).splitlines()[0]}")

    def _round(self, uuids: Collection[str] | None) -> None:
        now = self._clock()
        with session_scope(self._sessions) as session:
            records = Autoscaling(session).candidates(uuids)
            if not records and (uuids is not None or not self._keeps):
                return
            subjects = self._subjects(session, records) if records else []
            before = Autoscaling(session).last_round()
        measured = self._measure(subjects, now)
        verdicts = self._verdicts(subjects, measured, before, now)
        if uuids is None:  # of those that scale by themselves no more, nothing is kept
            before = {record.uuid: before[record.uuid] for record in records if record.uuid in before}
        moved = self._write(verdicts, before, now)
        if uuids is None:
            self._keeps = bool(records)
        for uuid in moved:
            self._wake(uuid)
        self._trouble(measured.failed)

    def _verdicts(
        self, subjects: Sequence[_Subject], measured: _Measured, before: Mapping[str, Kept], now: datetime
    ) -> list[_Verdict]:
        """What is to be done with each; a service that can't be judged is left as it is."""
        waking = self._waking()
        verdicts = []
        given: Counter[str] = Counter()  # by engine: places that this round has promised already
        for subject in subjects:
            uuid, url = subject.record.uuid, self._engines.get(subject.record.spec.region_name, "")
            try:
                state = self._state(subject, given[url], now)
                verdict = self._judge(subject, state, measured, before.get(uuid, {}), uuid in waking, now)
                self._broken.discard(uuid)
            except Exception:  # one service never ends the round of the others
                if uuid not in self._broken:
                    log.exception("evaluation of %s failed", subject.record.full_name)
                self._broken.add(uuid)
                continue
            verdicts.append(verdict)
            given[url] += max(0, verdict.found.target - state.current) if verdict.acts else 0
        return verdicts

    def _subjects(self, session: Session, records: Sequence[ServiceRecord]) -> list[_Subject]:
        """What passes load of them, as of the same generation; who was changed just now has his turn next time."""
        reads = Reads(session)
        urls = {self._engines.get(record.spec.region_name, "") for record in records}
        beats = {url: reads.heartbeat(f"engine:{url}") for url in urls}
        loaded = {found.uuid: found for found in PassReads(session).load({record.uuid for record in records})}
        subjects = []
        for record in records:
            config, found = record.spec.autoscaling_config, loaded.get(record.uuid)
            if config is None or found is None or found.desired.generation != record.generation:
                continue
            beat = beats[self._engines.get(record.spec.region_name, "")]
            trouble = "" if beat is None else beat.trouble
            if trouble:
                found = replace(found, observed=replace(found.observed, reachable=False, trouble=trouble))
            policy = policy_of(config, self._defaults)
            subjects.append(_Subject(record, found, policy, is_dry(config, self._defaults)))
        return subjects

    def _measure(self, subjects: Sequence[_Subject], now: datetime) -> _Measured:
        """The windows of all in one read each. Whatever fails in the store, nothing is known then, and steps wait."""
        using = [s.record.uuid for s in subjects if needs_use(s.policy)]
        carried = [s.record.uuid for s in subjects if needs_traffic(s.policy)]
        span = (milliseconds(now - self._reach), milliseconds(now))
        try:
            use = self._metrics.window(using, *span) if using else {}
            traffic = self._metrics.proxy_window(carried, *span) if carried else {}
        except Exception as error:
            return _Measured({}, {}, failed=f"what was measured can't be read: {error or type(error).__name__}")
        return _Measured(use, traffic)

    def _state(self, subject: _Subject, given: int, now: datetime) -> ScaleState:
        """How the service stands. `given`: places that others were promised in this round."""
        record, loaded = subject.record, subject.loaded
        reason = unsettled(loaded.desired, loaded.observed, loaded.observed_generation, now)
        room, room_reason = self._room(record)
        return ScaleState(
            current=record.count,
            unsettled=reason,
            acted_at=now if _ended(record, reason) or _is_later(record.scaled_at, now) else record.scaled_at,
            room=None if room is None else max(0, room - given),
            room_reason=room_reason,
            refused=refused(record.count, record.status_reason, loaded.observed) if record.scaling_by != USER else 0,
        )

    def _judge(
        self, subject: _Subject, state: ScaleState, measured: _Measured, before: Kept, waking: bool, now: datetime
    ) -> _Verdict:
        record, policy = subject.record, subject.policy
        traffic = measured.traffic.get(record.uuid, ())
        samples = samples_of(
            policy,
            subject.loaded.observed.instances,
            measured.use.get(record.uuid, ()),
            traffic,
            demand_at=self._demand_at(policy, before, now, told=bool(traffic)),
            waking=waking,
        )
        found = self._decide(policy, samples, state, now)
        event, told = tell(policy, state, found, before.get("told", {}), dry_run=subject.dry_run, now=now)
        kept = keep(samples, state, found, dry_run=subject.dry_run, now=now) | {"told": told}
        ended, went_back = _ended(record, state.unsettled), _is_later(record.scaled_at, now)
        return _Verdict(subject, state, found, kept, event, ended, went_back)

    def _demand_at(self, policy: Policy, before: Kept, now: datetime, *, told: bool) -> datetime | None:
        """The last demand known before the window; None for those who need not know it.

        Now where nobody can know: without a word from the proxy, or with a time since the last evaluation that the
        window does not reach back over. Nobody is sent to sleep by ignorance.
        """
        if not needs_traffic(policy):
            return None
        watched = bool(before) and now - datetime.fromisoformat(before["at"]) <= self._reach
        return _past(before.get("demand_at"), now) if told and watched else now

    def _write(self, verdicts: Sequence[_Verdict], kept: dict[str, Kept], now: datetime) -> list[str]:
        """Targets, events and evaluations, all or nothing; the services whose target moved."""
        moved = []
        with session_scope(self._sessions, write=True) as session:
            store, events = Autoscaling(session), Events(session)
            for verdict in verdicts:
                record = verdict.subject.record
                stands = True
                if verdict.ended:
                    stands = store.settled(record, now)
                elif verdict.clock_went_back:
                    stands = store.clock_went_back(record, now)
                if stands and verdict.acts:
                    stands = store.act(record, verdict.found.target, now)
                if not stands:  # a user wrote in between, and wins: what was found speaks of what is no more
                    log.debug("superseded", extra={"fields": {"service": record.full_name}})
                    continue
                kept[record.uuid] = verdict.kept
                if verdict.event is not None:
                    event = verdict.event
                    names = {"service_uuid": record.uuid, "service_name": record.full_name}
                    events.add(at=now, kind=event.kind, reason=event.reason, data=event.data, **names)
                if verdict.acts:
                    moved.append(record.uuid)
            store.keep_round(now, kept)
        for verdict in verdicts:
            acted = verdict.subject.record.uuid in moved
            self._log(verdict, acted=acted)
            self._evaluated(verdict.found.rule.value, verdict.found.target - verdict.state.current if acted else 0)
        return moved

    def _log(self, verdict: _Verdict, *, acted: bool) -> None:
        level = logging.INFO if acted else logging.DEBUG
        if log.isEnabledFor(level):
            said = {"service": verdict.subject.record.full_name, "reason": verdict.found.reason}
            log.log(level, "autoscaled" if acted else "autoscaler", extra={"fields": said | _short(verdict)})

    def _trouble(self, trouble: str) -> None:
        """Tell it once; and once that it is over."""
        if trouble and trouble != self._told:
            log.warning("the autoscaler holds: %s", trouble)
        elif self._told and not trouble:
            log.info("the autoscaler goes on")
        self._told = trouble


def _short(verdict: _Verdict) -> dict[str, object]:
    told = numbers(verdict.subject.policy, verdict.state, verdict.found)
    return {key: told[key] for key in ("before", "after", "rule", "value")}


def _ended(record: ServiceRecord, unsettled: str) -> bool:
    """Whether the last change of the count has come to its end."""
    return bool(record.scaling_by) and not unsettled


def _is_later(moment: datetime | None, now: datetime) -> bool:
    """Whether the clock went back behind it."""
    return moment is not None and moment > now


def _past(text: str | None, now: datetime) -> datetime | None:
    """A stored time; one from before the clock went back is now."""
    return min(datetime.fromisoformat(text), now) if text else None
