"""Requests counted out of the real HAProxy, over reloads, its restart and that of the worker."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.endpoints import TCP
from orchestrator.store.database import make_engine, make_sessions, migrate
from orchestrator.store.traffic import Traffic, TrafficMinute
from tests.support.haproxy import Proxy, Site, request, say_line
from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark
from worker.traffic_sampler import TrafficSampler

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[sessionmaker[Session]]:
    """A database of the test's own."""
    url = f"sqlite:///{tmp_path / 'skylark.sqlite'}"
    migrate(url)
    engine = make_engine(url)
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy of the test's own."""
    proxy = Proxy()
    yield proxy
    proxy.close()


def figures(sessions: sessionmaker[Session], site: Site) -> TrafficMinute:
    """The one minute of the test."""
    with sessions() as session:
        (found,) = Traffic(session).minutes(site.uuid, NOW - timedelta(minutes=1), NOW)
    return found


def test_requests_are_counted_once_over_reloads_a_dead_proxy_and_a_new_worker(
    proxy: Proxy, sessions: sessionmaker[Session]
) -> None:
    web, door = Site("web").grow(), Site("door", TCP).grow()
    sampler = TrafficSampler(sessions, lambda: NOW)
    proxy.keep_counts(sampler.before_reload)
    try:
        proxy.show(web)
        for _ in range(7):
            assert proxy.get(web.domain).status == 200
        assert proxy.show(web, door).how == "reload"  # the counters begin again
        for _ in range(5):
            proxy.get(web.domain, "/headers")
        say_line(door.service_port)
        sampler.record(proxy.control)
        assert (figures(sessions, web).requests, figures(sessions, door).requests) == (12, 1)

        sampler = TrafficSampler(sessions, lambda: NOW)  # Skylark's worker is another one
        sampler.record(proxy.control)
        proxy.get(web.domain, "/die", method="POST", body=b"x")
        sampler.record(proxy.control)
        assert (figures(sessions, web).requests, figures(sessions, web).errors_5xx) == (13, 1)

        proxy.control.stop()
        sampler.record(proxy.control)
        proxy.show(web, door)
        proxy.get(web.domain, "/slow")
        sampler.record(proxy.control)
        minute = figures(sessions, web)
        assert minute.requests == 14
        assert minute.bytes_in > 14 * 50
        assert minute.bytes_out > 14 * 50
        assert minute.response_ms is not None
        assert 500 / 14 <= minute.response_ms < 500
    finally:
        web.close()
        door.close()


def test_samples_tell_what_came_between_two_looks_over_a_reload(proxy: Proxy, sessions: sessionmaker[Session]) -> None:
    web, quiet, door = Site("web").grow(), Site("quiet").grow(), Site("door", TCP).grow()
    sampler = TrafficSampler(sessions, lambda: NOW)
    proxy.keep_counts(sampler.before_reload)
    try:
        proxy.show(web, quiet)
        proxy.get(web.domain)
        assert sampler.sample(proxy.control) == [], "the first look is where counting begins"

        for _ in range(3):
            proxy.get(web.domain)
        assert proxy.show(web, quiet, door).how == "reload"
        for _ in range(4):
            proxy.get(web.domain, "/slow")
        found = {sample.service_uuid: sample for sample in sampler.sample(proxy.control)}
        assert found.keys() == {web.uuid, quiet.uuid, door.uuid}
        assert found[web.uuid].requests == 7
        assert found[web.uuid].seconds > 2
        assert 0 < (found[web.uuid].response_ms or 0) <= 700
        assert (found[quiet.uuid].requests, found[quiet.uuid].response_ms) == (0, None)

        with socket.create_connection(("127.0.0.1", door.service_port)):
            assert eventually(lambda: _connections(sampler, proxy, door)) == 1
        proxy.control.stop()
        assert sampler.sample(proxy.control) == [], "nobody can look: missing, not zero"
    finally:
        for site in (web, quiet, door):
            site.close()


def _connections(sampler: TrafficSampler, proxy: Proxy, site: Site) -> int:
    return {sample.service_uuid: sample.connections for sample in sampler.sample(proxy.control)}[site.uuid]


@pytest.mark.docker
def test_traffic_of_a_service_is_shown_by_the_api(make_skylark: MakeSkylark, images: Images) -> None:
    skylark = make_skylark.with_proxy().start()
    ports = [{"container_port": 80, "endpoint_type": "http-endpoint"}]
    skylark.api.create("site", f"{images['web']}:v1", instance_ports=ports)
    skylark.api.running("site", 1)
    host = "site-madams.skylark.local"
    eventually(lambda: request(skylark.http_port, host).status == 200)
    for _ in range(20):
        request(skylark.http_port, host)

    def counted() -> bool:
        minutes = skylark.api.ask("GET", "/site/traffic")
        return sum(minute["requests"] for minute in minutes) >= 21

    eventually(counted, 25)
