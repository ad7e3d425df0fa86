"""Each protocol end to end: a real client, the real proxy, a real container."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_document_example import example
from tests.support.haproxy import request
from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = pytest.mark.docker

HOST = "wire-madams.skylark.local"
PASSWORD = "skylark"
KEY = base64.b64encode(b"0123456789abcdef").decode()

# Answers /head with the request's head, /slow after three seconds, /sum with the length and sum of the body's bytes;
# takes up web sockets and then sends back what comes. What is not HTTP gets its first line back.
WEB = r"""
use IO::Socket::INET; $SIG{CHLD} = "IGNORE";
my $server = IO::Socket::INET->new(LocalPort => 80, Listen => 64, ReuseAddr => 1) or die;
while (1) {
    my $c = $server->accept or next;
    next if fork;
    my $line = <$c>; exit unless defined $line;
    if ($line !~ m{^(\S+) (\S+) HTTP/1}) { print $c $line; exit }
    my ($path, $head) = ($2, $line);
    while (defined($line = <$c>) && $line =~ /\S/) { $head .= $line }
    if ($head =~ /^sec-websocket-key: *(\S+)/mi) {
        my ($hex) = split " ", qx(printf %s "$1"258EAFA5-E914-47DA-95CA-C5AB0DC85B11 | sha1sum);
        my $accept = substr(pack("u", pack("H*", $hex)), 1, 28);
        $accept =~ tr|` -_|AA-Za-z0-9+/|; substr($accept, -1) = "=";
        print $c "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
            "Sec-WebSocket-Accept: $accept\r\n\r\n"; $c->flush;
        while (sysread($c, my $data, 4096)) { syswrite($c, $data) }
        exit;
    }
    my $body = $head;
    sleep 3 if $path eq "/slow";
    if ($path eq "/sum") {
        my ($left, $got, $sum) = ($head =~ /^content-length: *(\d+)/mi, 0, 0);
        while ($left > 0 && (my $n = read($c, my $data, $left < 65536 ? $left : 65536))) {
            $left -= $n; $got += $n; $sum = ($sum + unpack("%32C*", $data)) % 2**32;
        }
        $body = "$got $sum";
    }
    print $c "HTTP/1.1 200 OK\r\nContent-Length: ", length($body), "\r\nConnection: close\r\n\r\n", $body;
    exit;
}
"""
UDP = r"""
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalPort => 53, Proto => "udp") or die;
while ($server->recv(my $data, 4096)) { $server->send("echo $data") }
"""


def perl(script: str) -> dict[str, Any]:
    """Spec fields of a container that runs the script."""
    return {"run_command": "perl -e 'eval $ENV{SCRIPT}; die $@'", "instance_envvars": {"SCRIPT": script}}


@pytest.fixture(scope="module")
def skylark(make_skylark: MakeSkylark) -> Skylark:
    return make_skylark.with_proxy().start()


@pytest.fixture(scope="module")
def port(skylark: Skylark, images: Images) -> int:
    """The proxy's HTTP port, with the script behind HOST."""
    ports = [{"container_port": 80, "endpoint_type": "http-endpoint"}]
    skylark.api.create("wire", f"{images['sshd']}:latest", instance_ports=ports, **perl(WEB))
    skylark.api.running("wire", 1)
    eventually(lambda: request(skylark.http_port, HOST, "/head").status == 200)
    return skylark.http_port


def ssh(port: int, tmp_path: Path, command: str) -> str:
    """What a command prints in a container that is logged in to with a password."""
    askpass = tmp_path / "askpass"
    askpass.write_text(f"#!/bin/sh\necho {PASSWORD}\n")
    askpass.chmod(0o700)
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "PubkeyAuthentication=no", "LogLevel=ERROR")
    given = [part for option in options for part in ("-o", option)]
    environ = os.environ | {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    done = subprocess.run(
        ["ssh", "-F", "none", *given, "-p", str(port), "root@127.0.0.1", command],
        env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, start_new_session=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_documents_example_is_reached_by_ssh_through_tcp_and_direct_endpoint(
    skylark: Skylark, images: Images, tmp_path: Path
) -> None:
    skylark.api.ask("POST", json=example("shell", images["sshd"]))
    service = skylark.api.running("shell", 2, 60)

    (balanced,) = service["instance_ports"]
    assert balanced["endpoint_type"] == "tcp-endpoint"
    reached = {eventually(lambda: ssh(balanced["service_port"], tmp_path, "hostname")) for _ in range(2)}
    assert reached <= {"shell-0", "shell-1"}
    for slot, instance in enumerate(service["instances"]):
        (direct,) = instance["instance_ports"]
        assert ssh(direct["service_port"], tmp_path, "hostname") == f"shell-{slot}"
    skylark.api.delete("shell")


def test_container_sees_who_asked_and_for_what(port: int) -> None:
    answer = request(port, HOST, "/head", headers={"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"})

    head = {name.lower(): value for name, _, value in (line.partition(": ") for line in answer.body.splitlines())}
    assert head["host"] == HOST
    forwarded = {name: head[f"x-forwarded-{name}"] for name in ("for", "proto", "host")}
    assert forwarded == {"for": "127.0.0.1", "proto": "http", "host": HOST}


def test_client_that_speaks_http2_is_served(port: int) -> None:
    command = ["curl", "--silent", "--http2-prior-knowledge", "--noproxy", "*", "--write-out", "\n%{http_version}"]
    done = subprocess.run(
        [*command, "--header", f"Host: {HOST}", f"http://127.0.0.1:{port}/head"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    answer, _, version = done.stdout.rpartition("\n")
    assert version == "2"
    assert answer.startswith("GET /head HTTP/1.1")  # what the container saw


def test_long_poll_is_waited_for(port: int) -> None:
    answer = request(port, HOST, "/slow")

    assert answer.status == 200
    assert answer.seconds >= 3


def test_large_body_arrives_whole(port: int) -> None:
    body = hashlib.sha256(b"seed").digest() * (20 * 1024 * 1024 // 32)

    answer = request(port, HOST, "/sum", method="POST", body=body)

    assert answer.body == f"{len(body)} {sum(body) % 2**32}"


def test_web_socket_is_taken_up_and_carries_both_ways_after_a_pause(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = f"GET /chat HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        connection.sendall(f"{head}Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        told = connection.recv(4096).decode()
        accept = hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        assert told.startswith("HTTP/1.1 101 ")
        assert base64.b64encode(accept).decode() in told
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(10)
        for word in (b"one", b"two"):
            connection.sendall(word)
            assert connection.recv(4096) == word


def test_udp_reaches_an_instance_on_its_direct_endpoint(skylark: Skylark, images: Images) -> None:
    ports = [{"container_port": 53, "protocol": "udp", "endpoint_type": "direct-endpoint"}]
    skylark.api.create("names", f"{images['sshd']}:latest", instance_ports=ports, **perl(UDP))
    (instance,) = skylark.api.running("names", 1)["instances"]
    (direct,) = instance["instance_ports"]
    assert (direct["container_port"], direct["protocol"]) == (53, "udp")

    def echoed() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.connect(("127.0.0.1", direct["service_port"]))
            client.send(b"hello")
            return client.recv(4096)

    assert eventually(echoed) == b"echo hello"


def test_tcp_service_that_asks_for_it_learns_the_clients_address(skylark: Skylark, images: Images) -> None:
    ports = [{"container_port": 80, "endpoint_type": "tcp-endpoint"}]
    asked = {"deployment_preference": {"proxy_protocol": True}}
    skylark.api.create("gate", f"{images['sshd']}:latest", instance_ports=ports, **perl(WEB), **asked)
    (endpoint,) = skylark.api.running("gate", 1)["instance_ports"]

    def first_line() -> tuple[str, int]:
        with socket.create_connection(("127.0.0.1", endpoint["service_port"]), timeout=5) as client:
            client.sendall(b"hello\n")
            return client.makefile().readline(), client.getsockname()[1]

    line, own_port = eventually(lambda: (found := first_line())[0] and found)
    assert line.split() == ["PROXY", "TCP4", "127.0.0.1", "127.0.0.1", str(own_port), str(endpoint["service_port"])]
