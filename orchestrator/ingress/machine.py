"""What this machine gives the proxy: open files, an unprivileged user, free ports, addresses."""

from __future__ import annotations

import grp
import os
import pwd
import resource
import shutil
import socket
import subprocess
from dataclasses import replace
from ipaddress import IPv4Network

from orchestrator.ingress.render import ProxySettings

_MOST_CONNECTIONS = 20_000


def proxy_settings(http_port: int, **changes: object) -> ProxySettings:
    """Settings that fit this machine: connections within the open-file limit, root's rights dropped to `haproxy`."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = files if files != resource.RLIM_INFINITY else 2 * _MOST_CONNECTIONS + 2000
    # Two descriptors a connection; a tenth and 500 are for listeners, idle connections and checks
    fitting = min(_MOST_CONNECTIONS, max(100, (int(files * 0.9) - 500) // 2))
    given = ProxySettings(http_port=http_port, maxconn=fitting, runs_as=_unprivileged())
    return replace(given, **changes)  # type: ignore[arg-type]


def find_haproxy() -> str:
    """The program's path; its bare name where it is not installed, for the message that follows."""
    return shutil.which("haproxy", path=_search_path()) or "haproxy"


def is_free(address: str, port: int, *, shared: bool = False) -> bool:
    """Whether one could listen there now. Ports of the kernel's own range may be lent to an outgoing connection.

    `shared`: listeners that let others share their port, as HAProxy's do, are no hindrance.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def claim_addresses(pool: str) -> str:
    """Make all addresses of `pool` this host's own, by one route on its loopback interface; why not, or "".

    Asked again and again it costs one bind: a reboot forgets the route.
    """
    with socket.socket() as probe:
        try:
            probe.bind((str(IPv4Network(pool)[1]), 0))
            return ""
        except OSError:
            pass
    program = shutil.which("ip", path=_search_path())
    if program is None:
        return f"{pool} can't be made addresses of this host: the program `ip` (iproute2) is not there"
    command = [program, "route", "replace", "local", pool, "dev", "lo"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{pool} can't be made addresses of this host: {error}"
    told = done.stderr.strip() or f"status {done.returncode}"
    return "" if done.returncode == 0 else f"{pool} can't be made addresses of this host, which takes root: {told}"


def _search_path() -> str:
    """A plain user's PATH may lack the folders of the system's programs."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin"


def _unprivileged() -> tuple[str, str] | None:
    """The user and group of Debian's package, when we are root and they are there."""
    try:
        return ("haproxy", grp.getgrnam("haproxy").gr_name) if os.geteuid() == 0 and pwd.getpwnam("haproxy") else None
    except KeyError:
        return None
