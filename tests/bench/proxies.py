"""The proxies that are measured side by side, in front of one container, each with an access log."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from orchestrator.ingress.haproxy import HaProxy
from orchestrator.ingress.machine import proxy_settings
from orchestrator.ingress.routes import Backend, HttpRoute, RouteTable, Server
from tests.support.poll import eventually
from tests.support.registry import free_port

HOST = "bench.skylark.local"
UNPACKED = Path("build/bench")  # deploy/install.sh unpacks here what is not installed

_NGINX = """\
daemon off; worker_processes auto; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log {folder}/nginx.log;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream up {{ server {address}:80; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
_CADDY = """\
{{ "admin": {{"disabled": true}},
  "logging": {{"logs": {{"default": {{"writer": {{"output": "file", "filename": "{folder}/caddy.log"}}}}}}}},
  "apps": {{"http": {{"servers": {{"s": {{"listen": ["127.0.0.1:{port}"], "automatic_https": {{"disable": true}},
    "logs": {{}}, "routes": [{{"handle": [
      {{"handler": "reverse_proxy", "upstreams": [{{"dial": "{address}:80"}}]}}]}}]}}}}}}}}}}
"""


def backends(count: int, address: str) -> RouteTable:
    """A table of `count` services of two servers; the first one is reached as HOST."""
    keys = [f"http_{uuid4()}" for _ in range(count)]
    servers = [tuple(Server(str(uuid4()), address, 80) for _ in range(2)) for _ in keys]
    routes = [HttpRoute(f"{number}.skylark.local" if number else HOST, key) for number, key in enumerate(keys)]
    made = [Backend(key, "http", pair) for key, pair in zip(keys, servers, strict=True)]
    return RouteTable(tuple(sorted(made, key=lambda b: b.key)), tuple(sorted(routes, key=lambda r: r.host)))


@contextmanager
def our_haproxy(folder: Path) -> Iterator[tuple[HaProxy, int]]:
    """The proxy as the worker runs it, and its port."""
    port = free_port()
    proxy = HaProxy(folder, proxy_settings(port, address="127.0.0.1"))
    try:
        yield proxy, port
    finally:
        proxy.stop()


@contextmanager
def running(folder: Path, address: str, missing: dict[str, str]) -> Iterator[dict[str, str]]:
    """Name -> URL of everything that leads to the container; what is not installed goes into `missing`."""
    others: dict[str, Callable[[int], list[str]]] = {
        "nginx": lambda port: [_program("nginx"), "-p", str(folder), "-c", _file(folder, _NGINX, address, port)],
        "Caddy": lambda port: [_program("caddy"), "run", "--config", _file(folder, _CADDY, address, port)],
    }
    with ExitStack() as stack:
        proxy, port = stack.enter_context(our_haproxy(folder))
        proxy.apply(backends(1, address))
        urls = {"direct": f"http://{address}/", "HAProxy, Skylark's": f"http://127.0.0.1:{port}/"}
        for name, command in others.items():
            port = free_port()
            try:
                process = subprocess.Popen(command(port), stdout=subprocess.DEVNULL, stderr=sys.stderr, cwd=folder)
            except OSError as error:
                missing[name] = f"{error} (deploy/install.sh bench)"
                continue
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
            eventually(lambda port=port: _connects(port), 10)  # type: ignore[misc]
            urls[name] = f"http://127.0.0.1:{port}/"
        yield urls


def _program(name: str) -> str:
    places = ":".join(str((UNPACKED / part).absolute()) for part in ("usr/sbin", "usr/bin"))
    return shutil.which(name, path=f"/usr/sbin:/usr/bin:/usr/local/bin:{places}") or name


def _file(folder: Path, template: str, address: str, port: int) -> str:
    path = folder / f"proxy-{port}.json"
    path.write_text(template.format(folder=folder, address=address, port=port))
    return str(path)


def _connects(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    return True
