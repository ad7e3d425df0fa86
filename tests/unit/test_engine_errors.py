"""The engine's answers, faults and streams as values: real texts in, what Skylark makes of them out."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.engine.base import ContainerFact, LogLine
from orchestrator.engine.docker import DockerEngine
from orchestrator.engine.docker_errors import sort_answer, sort_pull, sort_start
from orchestrator.engine.docker_logs import log_lines, nanoseconds
from orchestrator.engine.docker_wire import container_detail, container_fact, registry_host, split_reference
from orchestrator.engine.errors import EngineError, Fault

# Status and text as an engine (20.10) gave them, but for the last two blocks: those are of public registries
PULLS = [
    (404, "manifest for h:1/a:x not found: manifest unknown: manifest unknown", Fault.IMAGE_NOT_FOUND),
    (500, 'Get "https://h.invalid/v2/": dial tcp: lookup h.invalid on 10.0.0.1:53: no such host',
     Fault.REGISTRY_UNKNOWN_HOST),
    (500, 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
     Fault.REGISTRY_UNREACHABLE),
    (500, 'Head "http://127.0.0.1:2/v2/t/bb/manifests/v1": no basic auth credentials', Fault.REGISTRY_DENIED),
    (500, "unauthorized: authentication required", Fault.REGISTRY_DENIED),
    (500, 'Get "https://h/v2/": tls: first record does not look like a TLS handshake', Fault.REGISTRY_UNREACHABLE),
    (500, 'Get "https://h/v2/": http: server gave HTTP response to HTTPS client', Fault.REGISTRY_UNREACHABLE),
    (500, 'Get "https://h/v2/": x509: certificate signed by unknown authority', Fault.REGISTRY_UNREACHABLE),
    (400, "invalid reference format: repository name must be lowercase", Fault.INVALID),
    (400, "invalid tag format", Fault.INVALID),
    (200, "unexpected EOF", Fault.REGISTRY_UNREACHABLE),
    (200, "write /var/lib/docker/tmp/GetImageBlob1: no space left on device", Fault.NO_SPACE),
    (200, "received unexpected HTTP status: 503 Service Unavailable", Fault.REGISTRY_UNREACHABLE),
    (500, 'Get "https://h/v2/": dial tcp 10.1.1.1:443: i/o timeout', Fault.REGISTRY_UNREACHABLE),
    (500, 'Get "https://h/v2/": dial tcp: lookup h on 10.0.0.1:53: server misbehaving', Fault.REGISTRY_UNREACHABLE),
    (500, "something that nobody has seen", Fault.ENGINE),
    (404, "pull access denied for a/b, repository does not exist or may require 'docker login': denied: requested "
          "access to the resource is denied", Fault.REGISTRY_DENIED),
    (500, "toomanyrequests: You have reached your pull rate limit", Fault.REGISTRY_UNREACHABLE),
    (404, "no matching manifest for linux/amd64 in the manifest list entries", Fault.IMAGE_NOT_FOUND),
]  # fmt: skip

STARTS = [
    (500, "driver failed programming external connectivity on endpoint x (1): Bind for 0.0.0.0:80 failed: port is "
          "already allocated", Fault.PORT_IN_USE),
    (500, "driver failed programming external connectivity on endpoint x (1): Error starting userland proxy: listen "
          "tcp4 0.0.0.0:80: bind: address already in use", Fault.PORT_IN_USE),
    (400, 'OCI runtime create failed: container_linux.go:380: starting container process caused: exec: "nope": '
          "executable file not found in $PATH: unknown", Fault.BAD_COMMAND),
    (400, 'failed to create shim task: OCI runtime create failed: runc create failed: unable to start container '
          'process: exec: "/etc": permission denied: unknown', Fault.BAD_COMMAND),
    (400, 'OCI runtime create failed: unable to start container process: exec: "/x": stat /x: no such file or '
          "directory: unknown", Fault.BAD_COMMAND),
    (404, "No such container: 123", Fault.NOT_FOUND),
    (409, "container is marked for removal and cannot be started", Fault.CONFLICT),
    (500, "mkdir /var/lib/docker/overlay2/x: no space left on device", Fault.NO_SPACE),
    (500, "error while mounting volume '/v': failed to mount local volume: mount /x/data:/v/_data, flags: 0x1000: no "
          "such file or directory", Fault.ENGINE),
]  # fmt: skip


@pytest.mark.parametrize(("status", "text", "fault"), PULLS)
def test_answer_to_a_pull_is_sorted(status: int, text: str, fault: Fault) -> None:
    assert sort_pull(status, text).fault is fault


@pytest.mark.parametrize(("status", "text", "fault"), STARTS)
def test_answer_to_a_start_is_sorted(status: int, text: str, fault: Fault) -> None:
    assert sort_start(status, text).fault is fault


@pytest.mark.parametrize(
    ("status", "text", "fault"),
    [
        (404, "No such image: sha256:123", Fault.IMAGE_MISSING),
        (404, "get v: no such volume", Fault.NOT_FOUND),
        (409, 'Conflict. The container name "/a" is already in use by container "1".', Fault.CONFLICT),
        (409, "removal of container 1 is already in progress", Fault.CONFLICT),
        (400, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", Fault.INVALID),
        (500, "anything", Fault.ENGINE),
    ],
)
def test_answer_to_other_calls_is_sorted(status: int, text: str, fault: Fault) -> None:
    assert sort_answer(status, text).fault is fault


def test_message_is_one_short_line() -> None:
    message = sort_answer(500, "first\n  second " + "x" * 1000).message
    assert message.startswith("first second x")
    assert len(message) <= 400


def test_bad_command_is_said_without_the_runtime_s_own_words() -> None:
    text = (
        'OCI runtime create failed: container_linux.go:380: exec: "nope": executable file not found in $PATH: unknown'
    )
    assert sort_start(400, text).message == 'exec: "nope": executable file not found in $PATH'


@pytest.mark.parametrize(
    ("ref", "name", "tag"),
    [
        ("web", "web", "latest"),
        ("127.0.0.1:5000/team/web", "127.0.0.1:5000/team/web", "latest"),
        ("127.0.0.1:5000/team/web:v1", "127.0.0.1:5000/team/web", "v1"),
        ("host/web@sha256:12", "host/web", "sha256:12"),
        ("host:1/web:v1@sha256:12", "host:1/web", "sha256:12"),
    ],
)
def test_reference_is_split_into_name_and_tag_or_digest(ref: str, name: str, tag: str) -> None:
    assert split_reference(ref) == (name, tag)


@pytest.mark.parametrize(
    ("name", "host"),
    [("web", "docker.io"), ("team/web", "docker.io"), ("localhost/web", "localhost"), ("h:5000/web", "h:5000")],
)
def test_registry_is_read_from_the_name(name: str, host: str) -> None:
    assert registry_host(name) == host


def listed(**fields: object) -> ContainerFact:
    return container_fact({"Id": "1", "Names": ["/a"], "State": "running", "Status": "Up 2 seconds"} | fields)


@pytest.mark.parametrize(
    ("status", "exit_code", "health"),
    [
        ("Up 2 seconds", None, "none"),
        ("Up 2 seconds (healthy)", None, "healthy"),
        ("Up Less than a second (health: starting)", None, "starting"),
        ("Up 3 hours (unhealthy)", None, "unhealthy"),
        ("Up 3 hours (Paused)", None, "none"),
        ("Exited (0) About a minute ago", 0, "none"),
        ("Exited (137) 2 seconds ago", 137, "none"),
        ("Exited (-1) 2 seconds ago", -1, "none"),
        ("Created", None, "none"),
        ("Removal In Progress", None, "none"),
    ],
)
def test_text_of_the_list_tells_exit_code_and_health(status: str, exit_code: int | None, health: str) -> None:
    fact = listed(Status=status)
    assert (fact.exit_code, fact.health) == (exit_code, health)


def test_port_published_on_both_families_is_listed_once_by_its_ipv4_number() -> None:
    ports = [
        {"IP": "::", "PrivatePort": 80, "PublicPort": 49154, "Type": "tcp"},
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 49153, "Type": "tcp"},
        {"PrivatePort": 22, "Type": "tcp"},
    ]
    assert listed(Ports=ports).ports == ((80, "tcp", 49153),)


def test_entry_without_network_names_or_labels_is_no_fault() -> None:
    fact = listed(Names=None, Labels=None, Ports=None, NetworkSettings=None)
    assert (fact.name, fact.labels, fact.ports, fact.address) == ("", {}, (), "")


def test_inspect_of_running_container_forgets_its_former_run() -> None:
    times = {"StartedAt": "2026-01-02T03:04:06.5Z", "FinishedAt": "2026-01-02T03:04:05Z"}
    detail = container_detail({"Id": "1", "State": {"Status": "running", "ExitCode": 0} | times})
    assert (detail.exit_code, detail.finished_at) == (None, None)
    never = {"StartedAt": "0001-01-01T00:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z"}
    assert container_detail({"Id": "1", "State": {"Status": "created"} | never}).started_at is None


def frame(stream: int, text: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


STAMP = b"2026-01-02T03:04:05.000000006Z "
AT_NS = 1_767_323_045_000_000_006


def test_log_frames_are_lines_however_they_are_cut() -> None:
    stream = frame(1, STAMP + b"out\n") + frame(2, STAMP + b"err \xff\n") + frame(1, STAMP + b"\n")
    lines = [LogLine(AT_NS, "stdout", b"out"), LogLine(AT_NS, "stderr", b"err \xff"), LogLine(AT_NS, "stdout", b"")]
    for size in (1, 3, 7, len(stream)):
        assert list(log_lines(stream[i : i + size] for i in range(0, len(stream), size))) == lines


def test_parts_of_a_long_line_are_joined_by_stream() -> None:
    later = b"2026-01-02T03:04:06.000000000Z "
    stream = frame(1, STAMP + b"begin ") + frame(2, later + b"between\n") + frame(1, STAMP + b"end\n")
    assert list(log_lines([stream])) == [
        LogLine(AT_NS + 999_999_994, "stderr", b"between"),
        LogLine(AT_NS, "stdout", b"begin end"),
    ]


def test_line_without_an_end_comes_at_the_end_and_a_torn_frame_is_left_out() -> None:
    stream = frame(1, STAMP + b"unended") + frame(1, STAMP + b"torn\n")[:-3]
    assert list(log_lines([stream])) == [LogLine(AT_NS, "stdout", b"unended")]


def test_line_that_never_ends_is_cut() -> None:
    part = frame(1, STAMP + b"x" * 2**16)
    first = next(log_lines(part for _ in range(1000)))
    assert len(first.message) == 2**20


@pytest.mark.parametrize(
    ("stamp", "at_ns"), [(b"2026-01-02T03:04:05Z", AT_NS - 6), (b"1970-01-01T00:00:01.5Z", 1_500_000_000), (b"no", 0)]
)
def test_stamp_is_read_as_nanoseconds(stamp: bytes, at_ns: int) -> None:
    assert nanoseconds(stamp) == at_ns


Answer = Callable[[socket.socket], None]


@pytest.fixture
def engine_that(tmp_path: Path) -> Iterator[Callable[[Answer], DockerEngine]]:
    """An engine whose socket answers each connection after the version's question by the given function."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "engine.sock"))
    server.listen()
    engines: list[DockerEngine] = []

    def serve(answer: Answer) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection, answer), daemon=True).start()

    def talk(connection: socket.socket, answer: Answer) -> None:
        with connection, connection.makefile("rb") as lines:
            while line := lines.readline():
                if line.startswith(b"GET /version"):
                    connection.sendall(reply(b'{"ApiVersion": "1.41"}'))
                elif line.startswith((b"GET", b"POST")):
                    answer(connection)
                    connection.shutdown(socket.SHUT_RDWR)
                    return

    def start(answer: Answer) -> DockerEngine:
        threading.Thread(target=serve, args=(answer,), daemon=True).start()
        engines.append(DockerEngine(f"unix://{tmp_path}/engine.sock", "skylark-test", timeout_seconds=1))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def reply(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def list_fault(engine: DockerEngine) -> EngineError:
    with pytest.raises(EngineError) as caught:
        engine.list_containers()
    return caught.value


def test_engine_that_is_not_there_is_unreachable_and_says_why(tmp_path: Path) -> None:
    error = list_fault(DockerEngine(f"unix://{tmp_path}/none.sock", "skylark-test"))
    assert (error.fault, error.transient) == (Fault.UNREACHABLE, True)
    assert "No such file or directory" in error.message


def test_engine_that_refuses_is_unreachable(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    assert list_fault(DockerEngine(f"unix://{tmp_path}/dead.sock", "skylark-test")).fault is Fault.UNREACHABLE


def test_engine_that_does_not_answer_in_time_is_a_timeout(engine_that: Callable[[Answer], DockerEngine]) -> None:
    given_up = threading.Event()
    engine = engine_that(lambda connection: given_up.wait(5) and None)
    assert list_fault(engine).fault is Fault.TIMEOUT
    given_up.set()


def test_engine_that_breaks_off_is_unreachable(engine_that: Callable[[Answer], DockerEngine]) -> None:
    engine = engine_that(lambda connection: connection.sendall(reply(b"[{}")[:-2]))
    assert list_fault(engine).fault is Fault.UNREACHABLE


def test_answer_that_is_no_json_is_an_engine_fault(engine_that: Callable[[Answer], DockerEngine]) -> None:
    engine = engine_that(lambda connection: connection.sendall(reply(b"<html>")))
    assert list_fault(engine).fault is Fault.ENGINE


def test_error_inside_the_stream_of_a_pull_is_a_failure(engine_that: Callable[[Answer], DockerEngine]) -> None:
    body = b'{"status": "Pulling"}\r\n{"errorDetail": {"message": "unexpected EOF"}, "error": "unexpected EOF"}\r\n'
    engine = engine_that(lambda connection: connection.sendall(reply(body)))
    with pytest.raises(EngineError) as caught:
        engine.pull("host/web:v1")
    assert caught.value.fault is Fault.REGISTRY_UNREACHABLE


def test_engine_that_came_back_is_used_again(engine_that: Callable[[Answer], DockerEngine]) -> None:
    answers = [b"", reply(b"[]"), reply(b"[]")]
    engine = engine_that(lambda connection: connection.sendall(answers.pop(0)))
    assert list_fault(engine).fault is Fault.UNREACHABLE
    assert engine.list_containers() == ()
    assert engine.list_containers() == ()  # the server closed the connection that was kept for it


def test_events_end_with_an_error_when_the_engine_goes(engine_that: Callable[[Answer], DockerEngine]) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    event = b'{"Action": "die", "Actor": {"ID": "1", "Attributes": {"exitCode": "3"}}, "timeNano": 1500000000}\n'
    engine = engine_that(lambda c: c.sendall(chunked + b"%x\r\n%s\r\n" % (len(event), event)))
    events = engine.events()
    first = next(events)
    assert (first.action, first.container_id, first.labels["exitCode"], first.at) == ("die", "1", "3", 1.5)
    with pytest.raises(EngineError) as caught:
        next(events)
    assert caught.value.fault is Fault.UNREACHABLE
