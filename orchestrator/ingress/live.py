"""What the running proxy has, read out of its answers, and the commands that make it what it should be. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.ingress.holding import HANDOVER
from orchestrator.ingress.render import lists_of, maps_of, server_address, server_options
from orchestrator.ingress.routes import Backend, RouteTable, Server

_MAINTENANCE = 0x01  # bits of srv_admin_state that we set ourselves
_DRAIN = 0x08

ServerRef = tuple[str, str]  # (backend key, server name)


@dataclass(frozen=True)
class LiveServer:
    """A server as the worker has it. `admin`: bits of its administrative state, 0 when it takes traffic."""

    backend: str
    name: str
    address: str
    port: int
    admin: int

    @property
    def ref(self) -> ServerRef:
        """Which one it is."""
        return self.backend, self.name


@dataclass(frozen=True)
class StatRow:
    """Counters of one frontend, backend or server since its worker started.

    `kind`: frontend backend server. Times are HAProxy's averages over its last 1024 requests, in milliseconds.
    Frontends count `requests`; sessions are what TCP counts.
    """

    worker: int
    proxy: str
    name: str
    kind: str
    status: str
    sessions: int
    sessions_total: int
    requests_total: int
    bytes_in: int
    bytes_out: int
    responses: Mapping[str, int]  # "2xx" -> count
    errors: Mapping[str, int]  # connection, response, request
    retries: int
    redispatches: int
    queue_ms: int
    connect_ms: int
    response_ms: int
    total_ms: int


def read_info(text: str) -> dict[str, str]:
    """`show info`: name -> value."""
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines()) if key}


def read_servers(text: str) -> tuple[LiveServer, ...]:
    """`show servers state`: those of services."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    heads = next((line[1:] for line in lines if line[0] == "#"), [])
    rows = [dict(zip(heads, line, strict=False)) for line in lines if line[0] != "#" and len(line) > 5]
    return tuple(
        LiveServer(r["be_name"], r["srv_name"], r["srv_addr"], int(r["srv_port"]), int(r["srv_admin_state"]))
        for r in rows
        if r["be_name"] != HANDOVER
    )


def read_map(text: str) -> dict[str, str]:
    """`show map`: lines of reference, key, value."""
    entries = [line.split(None, 2) for line in text.splitlines() if line.strip()]
    return {entry[1]: entry[2] for entry in entries if len(entry) == 3}


def read_list(text: str) -> set[str]:
    """`show acl`: lines of reference, pattern."""
    return {entry[1] for entry in (line.split(None, 1) for line in text.splitlines()) if len(entry) == 2}


@dataclass(frozen=True)
class Workers:
    """`show proc` of the master: the worker that listens, those that only finish, and reloads that failed."""

    current: int | None
    old: tuple[int, ...]
    failed_reloads: int


def read_workers(text: str) -> Workers:
    """`show proc` as a value."""
    current: int | None = None
    old: list[int] = []
    failed = 0
    in_old = False
    for line in text.splitlines():
        words = line.replace("[failed:", " [failed: ").replace("]", " ").split()
        if line.startswith("#"):
            in_old = line.startswith("# old")
        elif len(words) > 1 and words[1] == "master" and "[failed:" in words:
            failed = int(words[words.index("[failed:") + 1])
        elif len(words) > 1 and words[1] == "worker":
            if in_old:
                old.append(int(words[0]))
            else:
                current = int(words[0])
    return Workers(current, tuple(old), failed)


def read_stats(text: str, worker: int) -> tuple[StatRow, ...]:
    """`show stat` (CSV)."""
    rows = csv.DictReader(io.StringIO(text.lstrip("# ")))
    return tuple(_stat_row(row, worker) for row in rows if row.get("svname"))


def _stat_row(row: Mapping[str, str], worker: int) -> StatRow:
    def number(name: str) -> int:
        return int(row.get(name) or 0)

    kind = {"FRONTEND": "frontend", "BACKEND": "backend"}.get(row["svname"], "server")
    return StatRow(
        worker=worker,
        proxy=row["pxname"],
        name=row["svname"],
        kind=kind,
        status=row["status"],
        sessions=number("scur"),
        sessions_total=number("stot"),
        requests_total=number("req_tot"),
        bytes_in=number("bin"),
        bytes_out=number("bout"),
        responses={f"{n}xx": number(f"hrsp_{n}xx") for n in range(1, 6)},
        errors={"connection": number("econ"), "response": number("eresp"), "request": number("ereq")},
        retries=number("wretr"),
        redispatches=number("wredis"),
        queue_ms=number("qtime"),
        connect_ms=number("ctime"),
        response_ms=number("rtime"),
        total_ms=number("ttime"),
    )


def server_commands(table: RouteTable, live: Iterable[LiveServer]) -> list[tuple[str, tuple[str, ...]]]:
    """(backend key, commands in their order) for every server that must come, move, come back or drain."""
    there = {server.ref: server for server in live}
    wanted = {(b.key, s.name): (b, s) for b in table.backends for s in b.servers}
    commands: list[tuple[str, tuple[str, ...]]] = []
    for ref, (backend, server) in wanted.items():
        known = there.get(ref)
        needed = _add(backend, server) if known is None else _mend(known, server)
        if needed:
            commands.append((backend.key, tuple(needed)))
    for ref, known in there.items():
        if ref not in wanted and not known.admin & (_DRAIN | _MAINTENANCE):
            commands.append((known.backend, (drain_command(ref),)))
    return commands


def leaving_servers(table: RouteTable, live: Iterable[LiveServer]) -> tuple[ServerRef, ...]:
    """Those the proxy has and the table has not."""
    wanted = {(b.key, s.name) for b in table.backends for s in b.servers}
    return tuple(sorted(server.ref for server in live if server.ref not in wanted))


def drain_command(ref: ServerRef) -> str:
    """No new requests; those under way go on."""
    return f"set server {ref[0]}/{ref[1]} state drain"


def removal_commands(ref: ServerRef) -> tuple[str, str]:
    """A server without sessions goes; its idle connections are closed by the maintenance state."""
    return f"set server {ref[0]}/{ref[1]} state maint", f"del server {ref[0]}/{ref[1]}"


def _add(backend: Backend, server: Server) -> list[str]:
    name = f"{backend.key}/{server.name}"
    added = f"add server {name} {server_address(server)} {server_options(backend)}"
    return [added, f"enable health {name}", f"enable server {name}"]


def _mend(known: LiveServer, server: Server) -> list[str]:
    name = f"{known.backend}/{known.name}"
    commands = []
    if (known.address, known.port) != (server.address, server.port):
        commands.append(f"set server {name} addr {server.address} port {server.port}")
    if known.admin & (_DRAIN | _MAINTENANCE):
        commands.append(f"set server {name} state ready")
    return commands


def map_commands(table: RouteTable, live: Mapping[str, Mapping[str, str]], folder: str) -> list[str]:
    """Changes of map entries: a host that moves is set in one command, so that no request falls between."""
    commands = []
    for name, wanted in maps_of(table).items():
        path, there = f"{folder}/{name}", live[name]
        for key, value in wanted.items():
            if key not in there:
                commands.append(f"add map {path} {key} {value}")
            elif there[key] != value:
                commands.append(f"set map {path} {key} {value}")
        commands += [f"del map {path} {key}" for key in there if key not in wanted]
    return commands


def list_commands(table: RouteTable, live: Mapping[str, set[str]], folder: str) -> list[str]:
    """Changes of access lists: who is let in first, then who is not any more."""
    commands = []
    for name, entries in lists_of(table).items():
        path, wanted, there = f"{folder}/{name}", set(entries), live[name]
        commands += [f"add acl {path} {entry}" for entry in sorted(wanted - there)]
        commands += [f"del acl {path} {entry}" for entry in sorted(there - wanted)]
    return commands
