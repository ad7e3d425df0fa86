"""Routes that could not be made reach the service: events, status, and another port if nobody knows it yet."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.orm import Session, sessionmaker

from orchestrator.ingress.haproxy import Applied
from orchestrator.ingress.routes import Backend, Clash, ReadyInstance, RoutedService, RouteTable, TcpRoute
from orchestrator.store.events import Events
from orchestrator.store.reads import Reads
from orchestrator.store.records import EventRecord, ServiceRecord
from tests.store.samples import NOW, a_spec, create, endpoint
from worker.route_watch import RouteWatch

Sessions = sessionmaker[Session]
FIRST = 20000  # what the samples' port chooser gives first


class Watched:
    """A service with a tcp-endpoint, and a watch over its route."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        with sessions() as session:
            self.service: ServiceRecord = create(session, a_spec(instance_ports=[endpoint(22)]))
        self.notified: list[str] = []
        self.restart()

    def restart(self) -> None:
        """Another worker."""
        self.watch = RouteWatch(self.sessions, lambda: NOW, self.notified.append, lambda: 30001)

    def table(self, *clashes: Clash) -> RouteTable:
        backend = Backend("tcp", "tcp", service_uuid=self.service.uuid)
        return RouteTable((backend,), tcp=(TcpRoute(self.port, "tcp"),), clashes=clashes)

    @property
    def port(self) -> int:
        with self.sessions() as session:
            (port,) = Reads(session).ports([self.service.uuid])[self.service.uuid]
        return port.service_port

    def events(self, *kinds: str) -> list[EventRecord]:
        with self.sessions() as session:
            return [e for e in Events(session).list(self.service.uuid) if e.kind in kinds]


def test_port_in_use_before_it_was_ever_open_is_given_up_for_another(sessions: Sessions) -> None:
    it = Watched(sessions)

    assert it.watch.look(it.table(), Applied("reload", port_conflicts=(FIRST,)))

    assert it.port == 30001
    (event,) = it.events("port_moved")
    assert event.data == {"before": FIRST, "now": 30001}
    assert it.watch.faults() == {}


def test_port_that_was_open_stays_and_its_service_is_told_once(sessions: Sessions) -> None:
    it = Watched(sessions)
    assert not it.watch.look(it.table(), Applied("reload"))
    it.restart()

    for _ in range(3):
        assert not it.watch.look(it.table(), Applied("nothing", port_conflicts=(FIRST,)))
    it.restart()
    it.watch.look(it.table(), Applied("nothing", port_conflicts=(FIRST,)))

    assert it.port == FIRST
    assert len(it.events("port_opened")) == 1
    (event,) = it.events("route_refused")
    assert event.reason == f"no route: port {FIRST} is in use on the host by something else"
    assert it.watch.faults() == {it.service.uuid: event.reason}
    assert it.notified == [it.service.uuid] * 2

    it.watch.look(it.table(), Applied("reload"))
    assert [e.kind for e in it.events("route_refused", "route_made")] == ["route_refused", "route_made"]
    assert it.watch.faults() == {}


def test_clash_names_who_has_the_host(sessions: Sessions) -> None:
    it = Watched(sessions)
    with sessions() as session:
        holder = create(session, a_spec("older"))

    it.watch.look(it.table(Clash("host x.test", it.service.uuid, holder.uuid)), Applied("reload"))

    (event,) = it.events("route_refused")
    assert event.reason == "no route for host x.test: it belongs to service ns/older"


def test_service_is_looked_at_again_when_the_proxy_was_told_of_its_new_instance(sessions: Sessions) -> None:
    it = Watched(sessions)
    service = RoutedService(it.service.uuid, "web", "ns", NOW, ())
    one, two = (ReadyInstance(uuid, slot, f"10.0.0.{slot}") for slot, uuid in enumerate(("one", "two")))
    assert it.watch.reached() is None  # a worker that has just begun knows nothing

    it.watch.tried([replace(service, ready=(one,))])
    assert (it.watch.reached(), it.notified) == ({"one"}, [])
    it.watch.tried([replace(service, ready=(one, two))])
    assert (it.watch.reached(), it.notified) == ({"one", "two"}, [service.uuid])
    it.watch.tried([replace(service, ready=(two,))])
    assert (it.watch.reached(), it.notified) == ({"two"}, [service.uuid])
