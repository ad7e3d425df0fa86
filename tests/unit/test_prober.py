"""The prober against real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from orchestrator.readiness import Probe, Target, Verdict
from tests.support.poll import eventually
from worker.prober import Prober, ask


class Moods(BaseHTTPRequestHandler):
    """Answers /ok with 200, all else with 404."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/ok" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Moods)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_answers_are_told_from_refusals_and_wrong_statuses(web: int) -> None:
    shut = closed_port()

    assert ask("127.0.0.1", Probe((web,))) == ""
    assert ask("127.0.0.1", Probe((web,), "/ok")) == ""
    assert ask("127.0.0.1", Probe((web,), "/gone")) == "GET /gone: status 404"
    assert ask("127.0.0.1", Probe((shut,))) == f"port {shut}: Connection refused"
    assert "Connection refused" in ask("127.0.0.1", Probe((web, shut)))


def test_turn_of_a_verdict_is_told_and_forgotten_instances_are_asked_no_more(web: int) -> None:
    told: list[str] = []
    prober = Prober(told.append, lambda: datetime.now(UTC))
    prober.start()
    good = Target("service-a", "a", "127.0.0.1", Probe((web,), interval_seconds=0.1))
    bad = Target("service-b", "b", "127.0.0.1", Probe((closed_port(),), interval_seconds=0.1))

    prober.watch([(good, Verdict()), (bad, Verdict())], complete=True)
    eventually(lambda: set(prober.verdicts()) == {"a", "b"})
    assert prober.verdicts()["a"].ready
    assert "Connection refused" in prober.verdicts()["b"].reason
    assert told == ["service-a"]

    prober.watch([(good, Verdict())], complete=True)
    assert set(prober.verdicts()) == {"a"}
    prober.stop()


def test_instance_known_as_ready_that_stops_answering_is_told_once() -> None:
    told: list[str] = []
    prober = Prober(told.append, lambda: datetime.now(UTC))
    prober.start()
    probe = Probe((closed_port(),), interval_seconds=0.1, failures=2)
    ready = Verdict(True, datetime.now(UTC), 0, "")

    prober.watch([(Target("service", "i", "127.0.0.1", probe), ready)], complete=True)

    eventually(lambda: told == ["service"])
    assert not prober.verdicts()["i"].ready
    prober.stop()
