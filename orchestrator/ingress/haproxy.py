"""Keeps the running HAProxy at a table of routes: by its runtime socket where that can do it, else by a reload."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from orchestrator.ingress import live
from orchestrator.ingress.check import haproxy_check, sift
from orchestrator.ingress.files import ProxyFiles
from orchestrator.ingress.live import LiveServer, ServerRef, StatRow
from orchestrator.ingress.machine import find_haproxy, is_free
from orchestrator.ingress.process import Master
from orchestrator.ingress.render import ProxySettings, lists_of, maps_of, tcp_listener
from orchestrator.ingress.routes import Backend, Listener, RouteTable, without
from orchestrator.ingress.runtime import ProxyError, ProxyRefused

log = logging.getLogger("skylark.ingress")

_POLL_SECONDS = 0.05


How = Literal["nothing", "runtime", "reload", "start"]  # start: HAProxy was not running, and is again


@dataclass(frozen=True)
class Applied:
    """What it took to bring the proxy to a table, and what could not be had.

    `refused`: backend key -> HAProxy's reason; `port_conflicts`: service ports that something else on the host uses,
    `link_conflicts` the same as "address:port" of linked services; `leaving`: servers that are not in the table and
    still have sessions. All others are in effect.
    """

    how: How
    commands: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)
    port_conflicts: tuple[int, ...] = ()
    leaving: tuple[ServerRef, ...] = ()
    seconds: float = 0.0
    link_conflicts: tuple[str, ...] = ()


class HaProxy:
    """The data plane. `apply` is called with the whole table, as often as one likes; equal tables cost one question.

    Not ours to decide: when a drained instance is stopped. `before_reload` gets the counters that a reload resets.
    """

    def __init__(
        self,
        folder: Path,
        settings: ProxySettings,
        *,
        program: str = "",
        before_reload: Callable[[tuple[StatRow, ...]], None] = lambda rows: None,
    ) -> None:
        program = program or find_haproxy()
        self._folder = folder
        self._settings = settings
        self._files = ProxyFiles(folder, settings)
        self._master = Master(folder, program)
        self._check = haproxy_check(settings, folder, program)
        self._before_reload = before_reload
        self._lock = threading.RLock()
        self._settled: tuple[RouteTable, str] | None = None  # the table wholly in effect, and in which worker
        self._refused: dict[Backend, tuple[str, bool]] = {}  # as it was refused: why, and whether its route stays

    def ensure_running(self) -> bool:
        """Start HAProxy with its last good file when it is not running; whether that was needed. Raises ProxyError.

        For as long as no table is known; with one, `apply` starts it and never routes to what was there before.
        Ports that something else took in the meantime are left out; the next `apply` tells which.
        """
        with self._lock:
            self._master.trim_logs()
            if self._master.answers():
                return False
            self._prepare()
            self._check_http_port()
            taken = [listener for listener in self._files.listeners() if not self._free(listener)]
            if taken:
                self._files.leave_out(taken)
            self._master.start()
            return True

    def apply(self, table: RouteTable) -> Applied:
        """Bring the proxy to this table. Raises ProxyError when it can't be spoken to, started or reloaded."""
        began = time.monotonic()
        with self._lock:
            self._master.trim_logs()
            started = not self._master.answers()
            if started:
                self._prepare()
                self._check_http_port()
                taken = [route.listener for route in table.tcp if not self._free(route.listener)]
                self._files.write(self._files.render(self._accepted(without(table, listeners=taken))))
                self._master.start()
            info = self._info()
            self._refused = {b: why for b, why in self._refused.items() if b in table.backends}
            if self._settled == (table, info["Pid"]):
                return Applied("nothing", refused=self._reasons(), seconds=time.monotonic() - began)
            conflicts = self._conflicts(table)
            asked = self._without_refused(without(table, listeners=conflicts))
            rendered = self._files.render(asked)
            if info.get("description") == rendered.skeleton:
                how: How = "runtime"
                commands = self._tell(asked)
            else:
                how, commands = "reload", 0
                self._reload(asked)
            leaving, removed = self._remove_drained(table)
            commands += removed
            whole = not (conflicts or leaving)
            self._settled = (table, self._info()["Pid"]) if whole else None
            if started:
                how = "start"
            elif how == "runtime" and not commands:
                how = "nothing"
            ports = tuple(port for address, port in conflicts if not address)
            links = tuple(f"{address}:{port}" for address, port in conflicts if address)
            return Applied(how, commands, self._reasons(), ports, leaving, time.monotonic() - began, links)

    def drain(self, ref: ServerRef) -> None:
        """No new requests for this server from now on. Leave it out of later tables, or `apply` brings it back."""
        try:
            self._master.runtime.do(live.drain_command(ref))
        except ProxyRefused:
            pass  # the proxy does not know it: nothing is routed to it
        self._settled = None

    def sessions(self, ref: ServerRef) -> int:
        """Requests and connections under way with a server, those of old workers included."""
        question = f"show stat {ref[0]} 4 -1"
        return sum(row.sessions for row in self._ask_all(question) if (row.proxy, row.name) == ref)

    def wait_drained(self, ref: ServerRef, seconds: float) -> bool:
        """Wait until nothing is under way with a server; False when it still is after `seconds`."""
        deadline = time.monotonic() + seconds
        while self.sessions(ref):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def evict(self, ref: ServerRef) -> None:
        """Cut what is still under way with a server, in the listening worker, and take it out."""
        with self._lock:
            for command in (f"shutdown sessions server {ref[0]}/{ref[1]}", *live.removal_commands(ref)):
                try:
                    self._master.runtime.do(command)
                except ProxyRefused as error:
                    log.debug("evict: %s", error)  # not there, or not free yet: the next `apply` sees to it
            self._settled = None

    def stats(self) -> tuple[StatRow, ...]:
        """Counters of all workers; each counts from its own start, so sum them by `worker`."""
        return self._ask_all("show stat")

    def backend_stats(self) -> tuple[StatRow, ...]:
        """The same of backends only: a fraction of the rows."""
        return self._ask_all("show stat -1 2 -1")

    def stop(self) -> None:
        """End HAProxy. It is not needed for ending Skylark: the routes are meant to outlive it."""
        with self._lock:
            self._settled = None
            self._master.end()

    def _info(self) -> dict[str, str]:
        info = self._master.info()
        if info is None:
            raise ProxyError("the proxy does not answer")
        return info

    def _ask_all(self, question: str) -> tuple[StatRow, ...]:
        workers = self._master.workers()
        rows: tuple[StatRow, ...] = ()
        if workers.current is not None:
            rows += live.read_stats(self._master.runtime.ask(question), workers.current)
        for pid in workers.old:
            try:
                rows += live.read_stats(self._master.socket.ask(f"@!{pid} {question}"), pid)
            except ProxyError:
                continue  # it has just ended
        return rows

    def _tell(self, table: RouteTable) -> int:
        """Say the differences on the runtime socket, then keep them in the files."""
        runtime, folder = self._master.runtime, str(self._folder)
        there = live.read_servers(runtime.ask("show servers state"))
        maps = {name: live.read_map(runtime.ask(f"show map {folder}/{name}")) for name in maps_of(table)}
        lists = {name: live.read_list(runtime.ask(f"show acl {folder}/{name}")) for name in lists_of(table)}
        said = 0
        for key, commands in live.server_commands(table, there):
            try:
                for command in commands:
                    runtime.do(command)
                    said += 1
            except ProxyRefused as error:
                backend = next((b for b in table.backends if b.key == key), None)
                if backend is None:
                    continue
                log.warning("the proxy refuses a server of %s: %s", backend.service or key, error)
                self._refused[backend] = str(error), True
        for command in [*live.map_commands(table, maps, folder), *live.list_commands(table, lists, folder)]:
            runtime.do(command)
            said += 1
        kept = {s.ref for s in self._servers()}
        self._files.write(self._files.render(_with_servers(table, kept)))
        return said

    def _prepare(self) -> None:
        self._settled = None
        self._master.clear()
        self._files.ensure()

    def _check_http_port(self) -> None:
        """Asked before a start, as HAProxy shares a port with another HAProxy without a word: each gets a half."""
        settings = self._settings
        if not is_free(settings.address, settings.http_port):
            raise ProxyError(
                f"something else listens on port {settings.http_port}: nothing is routed, over HTTP or TCP, until it "
                "is free, or SKYLARK_HTTP_PORT names another one"
            )

    def _accepted(self, asked: RouteTable) -> RouteTable:
        """What of it HAProxy takes; the rest is told and remembered."""
        accepted, refused = sift(asked, self._check)
        for backend in asked.backends:
            if backend.key in refused:
                log.warning(
                    "the proxy refuses the part of %s: %s", backend.service or backend.key, refused[backend.key]
                )
                self._refused[backend] = refused[backend.key], any(b.key == backend.key for b in accepted.backends)
        return accepted

    def _reload(self, asked: RouteTable) -> None:
        accepted = self._accepted(asked)
        rendered = self._files.render(accepted)
        self._before_reload(self.stats())
        last_good = self._files.config()
        self._files.write(rendered)
        if self._info().get("description") == rendered.skeleton:  # what is refused was all that is new
            self._tell(accepted)
            return
        try:
            self._master.reload(rendered.skeleton)
        except ProxyError:
            self._files.write_config(last_good)
            raise

    def _servers(self) -> tuple[LiveServer, ...]:
        return live.read_servers(self._master.runtime.ask("show servers state"))

    def _remove_drained(self, table: RouteTable) -> tuple[tuple[ServerRef, ...], int]:
        """Delete what left the table and has nothing under way: (the others, which leave later; commands it took)."""
        left, said = [], 0
        for ref in live.leaving_servers(table, self._servers()):
            try:
                if self.sessions(ref):
                    left.append(ref)
                    continue
                for command in live.removal_commands(ref):
                    self._master.runtime.do(command)
                    said += 1
            except ProxyRefused:
                left.append(ref)  # a connection to it is just being closed
        return tuple(left), said

    def _without_refused(self, table: RouteTable) -> RouteTable:
        """What was refused as it stands is not tried again until it changes; its route stays where it can."""
        kept = without(table, backends=[b.key for b, (_, stays) in self._refused.items() if not stays])
        bare = tuple(replace(b, servers=()) if b in self._refused else b for b in kept.backends)
        return replace(kept, backends=bare)

    def _reasons(self) -> dict[str, str]:
        return {backend.key: reason for backend, (reason, _) in self._refused.items()}

    def _free(self, listener: Listener, ours: Collection[Listener | None] = ()) -> bool:
        """Whether HAProxy could listen there; what it listens on itself on other addresses is no hindrance to it."""
        address, port = listener
        shared = bool(address) or any(other is not None and other[1] == port for other in ours)
        return is_free(address or self._settings.address, port, shared=shared)

    def _conflicts(self, table: RouteTable) -> tuple[Listener, ...]:
        """Ports that are not ours yet and that we could not listen on.

        A reload that runs into one would make the old worker close its own listeners for a moment, in vain.
        """
        frontends = live.read_stats(self._master.runtime.ask("show stat -1 1 -1"), 0)
        ours = {tcp_listener(row.proxy) for row in frontends}
        return tuple(r.listener for r in table.tcp if r.listener not in ours and not self._free(r.listener, ours))


def _with_servers(table: RouteTable, kept: Collection[ServerRef]) -> RouteTable:
    """The table with only those servers that the proxy took."""
    return replace(
        table,
        backends=tuple(
            replace(b, servers=tuple(s for s in b.servers if (b.key, s.name) in kept)) for b in table.backends
        ),
    )
