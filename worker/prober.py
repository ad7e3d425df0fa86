"""Asks instances whether they are ready: one thread decides when, a few ask, and news ask for a pass."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from orchestrator.readiness import NOT_ASKED, Probe, Target, Verdict, judge, next_look_seconds

log = logging.getLogger("skylark.probes")

_THREADS = 16  # each waits for an answer at most a probe's timeout


@dataclass
class _Watch:
    target: Target
    verdict: Verdict
    due: float
    asking: bool = False


class Prober:
    """`watch` says whom to ask, `verdicts` what came of it; `notify(service_uuid)` when a verdict turned."""

    def __init__(self, notify: Callable[[str], None], clock: Callable[[], datetime]) -> None:
        self._notify = notify
        self._clock = clock
        self._changed = threading.Condition()
        self._watches: dict[str, _Watch] = {}
        self._stopping = False
        self._pool = ThreadPoolExecutor(_THREADS, "probe")
        self._thread = threading.Thread(target=self._loop, name="prober", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def watch(self, targets: Sequence[tuple[Target, Verdict]], *, complete: bool) -> None:
        """Ask these too, and with `complete` no others. The verdict is what the database knew of it before."""
        now = time.monotonic()
        with self._changed:
            for target, known in targets:
                watch = self._watches.get(target.instance_uuid)
                if watch is None:
                    self._watches[target.instance_uuid] = _Watch(target, known, now)
                elif watch.target != target:
                    watch.target, watch.due = target, now
            if complete:
                named = {target.instance_uuid for target, _ in targets}
                for uuid in [uuid for uuid in self._watches if uuid not in named]:
                    del self._watches[uuid]
            self._changed.notify()

    def verdicts(self) -> dict[str, Verdict]:
        """By instance uuid; only of those that were asked at least once since they are watched."""
        with self._changed:
            return {uuid: w.verdict for uuid, w in self._watches.items() if w.verdict.reason != NOT_ASKED}

    def _loop(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                now = time.monotonic()
                for watch in self._watches.values():
                    if watch.due <= now and not watch.asking:
                        watch.asking = True
                        self._pool.submit(self._ask, watch)
                until = min((w.due for w in self._watches.values() if not w.asking), default=now + 60.0)
                self._changed.wait(max(0.005, until - now))

    def _ask(self, watch: _Watch) -> None:
        target = watch.target
        fault = ask(target.address, target.probe)
        with self._changed:
            before = watch.verdict
            watch.verdict = judge(before, fault, target.probe, self._clock())
            watch.due = time.monotonic() + next_look_seconds(watch.verdict, target.probe)
            watch.asking = False
            turned = watch.verdict.ready != before.ready
            self._changed.notify()
        if turned:
            self._notify(target.service_uuid)


def ask(address: str, probe: Probe) -> str:
    """ "" when the instance answers as it should, else what is wrong."""
    try:
        if probe.path:
            return _get(address, probe)
        for port in probe.ports:
            socket.create_connection((address, port), timeout=probe.timeout_seconds).close()
    except OSError as error:
        port_text = f"port {probe.ports[0]}" if len(probe.ports) == 1 else f"ports {', '.join(map(str, probe.ports))}"
        return f"{port_text}: {error.strerror or error}"
    except http.client.HTTPException as error:
        return f"GET {probe.path}: no HTTP answer ({type(error).__name__})"
    return ""


def _get(address: str, probe: Probe) -> str:
    connection = http.client.HTTPConnection(address, probe.ports[0], timeout=probe.timeout_seconds)
    try:
        connection.request("GET", probe.path, headers={"User-Agent": "skylark-probe", "Connection": "close"})
        status = connection.getresponse().status
    finally:
        connection.close()
    return "" if 200 <= status < 400 else f"GET {probe.path}: status {status}"
