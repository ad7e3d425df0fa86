"""The autoscaler's job over a rig: a metric store in memory, and rounds that come when a test says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.metrics.samples import ProxySample, Reading, Sample
from orchestrator.policy import milliseconds
from orchestrator.store.autoscaling import Autoscaling
from orchestrator.store.records import EventRecord, ServiceRecord
from tests.support.rig import Rig
from worker.autoscaler import Autoscaler

SECONDS = 5.0  # between rounds, as by default
CPU_LIMIT, MEMORY_LIMIT = 0.25, 1000
AUTO: dict[str, Any] = {
    "metric_name": "CPU_UTILIZATION",
    "metric_stat": "MEAN",
    "upper_threshold": "0.6",
    "lower_threshold": "0.2",
    "minimum_num_instances": 1,
    "maximum_num_instances": 4,
    "wait_period": 30,
}
WEB = {"container_port": 80, "protocol": "tcp", "endpoint_type": "http-endpoint"}


@dataclass
class Windows:
    """What a test has measured; `reads` counts, `fault` is raised by every read."""

    use: list[Sample] = field(default_factory=list)
    traffic: list[ProxySample] = field(default_factory=list)
    reads: int = 0
    fault: Exception | None = None

    def window(self, service_uuids: Collection[str], start_ms: int, end_ms: int) -> Mapping[str, Sequence[Sample]]:
        self._read()
        found: dict[str, list[Sample]] = {}
        for sample in self.use:
            if sample.service_uuid in service_uuids and start_ms <= sample.reading.at_ms <= end_ms:
                found.setdefault(sample.service_uuid, []).append(sample)
        return found

    def proxy_window(
        self, service_uuids: Collection[str], start_ms: int, end_ms: int
    ) -> Mapping[str, Sequence[ProxySample]]:
        self._read()
        found: dict[str, list[ProxySample]] = {}
        for sample in self.traffic:
            if sample.service_uuid in service_uuids and start_ms <= sample.at_ms <= end_ms:
                found.setdefault(sample.service_uuid, []).append(sample)
        return found

    def _read(self) -> None:
        self.reads += 1
        if self.fault is not None:
            raise self.fault


class ScalingRig(Rig):
    """A rig with an autoscaler. `moved`: the services it asked a pass for."""

    def __init__(self, url: str, home: Path, **settings: Any) -> None:
        super().__init__(url, home, **settings)
        self.windows = Windows()
        self.moved: list[str] = []
        self.asked: set[str] = set()  # services that a request waits for
        self.room: tuple[int | None, str] = (None, "")
        self.autoscaler = self.new_autoscaler()

    def new_autoscaler(self, **options: Any) -> Autoscaler:
        """As a worker that was just started has it: it remembers nothing."""
        self.autoscaler = Autoscaler(
            self.sessions,
            self.windows,
            self.settings,
            lambda: self.now,
            self.moved.append,
            **{"waking": lambda: self.asked, "room": lambda service: self.room} | options,
        )
        return self.autoscaler

    def auto(self, count: int = 1, *, ports: Sequence[dict[str, Any]] = (), **config: Any) -> ServiceRecord:
        """An AUTO service, converged."""
        made = self.create(
            target_num_instances=count,
            scaling_mode="AUTO",
            instance_ports=[*ports],
            autoscaling_config=AUTO | config,
        )
        self.converge()
        return made

    def measure(self, cpu: float = 0.4, *, memory: float = 0.1) -> None:
        """Each running instance uses these fractions of its limits now."""
        at_ms = milliseconds(self.now)
        for row in self.instances():
            reading = Reading(at_ms, 0, round(memory * MEMORY_LIMIT))
            cores = cpu * CPU_LIMIT
            self.windows.use.append(Sample(row.service_uuid, row.uuid, reading, cores, CPU_LIMIT, MEMORY_LIMIT))

    def carry(self, requests: int = 0, connections: int = 0) -> None:
        """The proxy carried this for the service since the last round."""
        uuid = self.service().uuid
        sample = ProxySample(uuid, milliseconds(self.now), SECONDS, requests, 0, connections, 0, 0, None)
        self.windows.traffic.append(sample)

    def round(self, cpu: float = 0.4, *, requests: int | None = None, connections: int = 0) -> None:
        """Time goes on, what is wanted comes true, is measured, and is judged."""
        self.now += timedelta(seconds=SECONDS)
        service = self.service()
        if service.count != len(self.ids()) or service.generation != service.observed_generation:
            self.run_pass()
            self.run_pass()
        self.measure(cpu)
        if requests is not None:
            self.carry(requests, connections)
        self.autoscaler.run_round()

    def rounds(self, number: int, cpu: float = 0.4, *, requests: int | None = None) -> list[int]:
        """The count after each of so many rounds."""
        counts = []
        for _ in range(number):
            self.round(cpu, requests=requests)
            counts.append(self.service().count)
        return counts

    def told(self) -> list[EventRecord]:
        """The autoscaler's events, oldest first."""
        return [event for event in self.events() if event.kind.startswith("autoscal")]

    def kept(self) -> dict[str, Any]:
        """The last evaluation of the service."""
        with self.sessions() as session:
            return Autoscaling(session).last_round()[self.service().uuid]
