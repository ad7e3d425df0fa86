"""Measures what instances use and what the proxy carries, at an even rhythm, and gives it to the metric store."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from orchestrator.metrics.deltas import Look, cpu_cores
from orchestrator.metrics.reader import Reader
from orchestrator.metrics.samples import MetricWriter, ProxySample, Sample
from orchestrator.metrics.store import MetricStoreError
from orchestrator.metrics.subjects import Subject

log = logging.getLogger("skylark.metrics")

LONGEST_INTERVALS = 4  # a rate over a longer gap would be news of long ago
_MOST_ROUNDS_KEPT = 60  # while the store does not take them
_SHARE_OF_INTERVAL = 0.8  # that the slowest engine may take
_END_SECONDS = 5.0

Round = tuple[list[Sample], Sequence[ProxySample]]


class MetricSampler:
    """A thread of its own: `watch` says whom to measure, and nobody ever waits for it.

    `read_proxy` answers what came since it was last asked, `measured` hears how many
    seconds a round took. Only while `may_act` says so is anything read.
    """

    def __init__(
        self,
        writer: MetricWriter,
        readers: Mapping[str, Reader],
        *,
        seconds: float,
        may_act: Callable[[], bool],
        read_proxy: Callable[[], Sequence[ProxySample]] = lambda: (),
        measured: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._seconds = seconds
        self._may_act = may_act
        self._read_proxy = read_proxy
        self._measured = measured
        self._lock = threading.Lock()
        self._subjects: dict[str, Subject] = {}  # by container id
        self._before: dict[str, Look] = {}
        self._memory: dict[str, int] = {}  # by service, bytes of an instance on average
        self._waiting: deque[Round] = deque()
        self._lost = 0  # rounds that could not wait any longer
        self._trouble = ""
        self._pool = ThreadPoolExecutor(max(1, len(readers)), "measure")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Measure no more; a round under way may still come to its end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_END_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)
        for reader in self._readers.values():
            reader.close()

    def watch(self, subjects: Collection[Subject], *, complete: bool) -> None:
        """Measure these too, and with `complete` no others."""
        named = {subject.container_id: subject for subject in subjects}
        with self._lock:
            self._subjects = named if complete else self._subjects | named

    def memory_used(self, service_uuid: str) -> int:
        """Bytes that an instance of the service used on average in the last round; 0 when none was measured."""
        return self._memory.get(service_uuid, 0)

    def measure(self) -> None:
        """One round: read, reckon, keep. Faults are told, none is raised."""
        round_began = time.monotonic()
        with self._lock:
            subjects = self._subjects
        looks = self._look(subjects.values())
        found = self._samples(subjects, looks)
        self._memory = _averages(found)
        self._before = {i: look for i, look in (self._before | looks).items() if i in subjects}
        try:
            proxy = self._read_proxy()
        except Exception:
            log.exception("what the proxy carried can't be told; its samples of this round are missing")
            proxy = ()
        if found or proxy:
            self._waiting.append((found, proxy))
        self._keep()
        self._measured(time.monotonic() - round_began)

    def _run(self) -> None:
        """Rounds begin at whole intervals since the start; those that a long one overran are left out."""
        began = time.monotonic()
        while not self._stopping.is_set():
            try:
                if self._may_act():
                    self.measure()
                else:
                    self._before = {}
            except Exception:
                log.exception("a round of measuring failed, the next one tries again")
            self._stopping.wait(until_next(time.monotonic() - began, self._seconds))

    def _look(self, subjects: Collection[Subject]) -> dict[str, Look]:
        """All engines side by side, each with its own time limit."""
        by_engine: dict[str, list[str]] = {}
        for subject in subjects:
            by_engine.setdefault(subject.engine_url, []).append(subject.container_id)
        limit = self._seconds * _SHARE_OF_INTERVAL
        asked = [self._pool.submit(self._readers[url].read, ids, limit) for url, ids in by_engine.items()]
        found: dict[str, Look] = {}
        for future in asked:
            try:
                found |= future.result()
            except Exception:
                log.exception("an engine's instances can't be measured; their samples of this round are missing")
        return found

    def _samples(self, subjects: Mapping[str, Subject], looks: Mapping[str, Look]) -> list[Sample]:
        longest = LONGEST_INTERVALS * self._seconds
        samples = []
        for container_id, look in looks.items():
            subject = subjects[container_id]
            cores = cpu_cores(self._before.get(container_id), look, longest)
            limits = subject.cpu_limit_cores, subject.memory_limit_bytes
            samples.append(Sample(subject.service_uuid, subject.instance_uuid, look.reading, cores, *limits))
        return samples

    def _keep(self) -> None:
        """Give the store what waits, oldest first; what it does not take is given again, up to a number of rounds."""
        try:
            while self._waiting:
                self._writer.add(*self._waiting[0])
                self._waiting.popleft()
        except MetricStoreError as error:
            if not self._trouble:
                log.error("measured values can't be stored, and wait for it: %s", error)
            self._trouble = str(error)
            while len(self._waiting) > _MOST_ROUNDS_KEPT:
                self._waiting.popleft()
                self._lost += 1
            return
        if self._trouble:
            log.info("measured values are stored again; rounds lost meanwhile: %d", self._lost)
        self._trouble, self._lost = "", 0


def _averages(samples: Collection[Sample]) -> dict[str, int]:
    """Bytes of memory by service, of an instance on average."""
    found: dict[str, list[int]] = {}
    for sample in samples:
        found.setdefault(sample.service_uuid, []).append(sample.reading.memory_bytes)
    return {uuid: sum(values) // len(values) for uuid, values in found.items()}


def until_next(passed_seconds: float, interval_seconds: float) -> float:
    """From now until the next whole interval. 5 s apart, 12.1 s after the start: 2.9."""
    return interval_seconds - passed_seconds % interval_seconds
