"""What this machine gives the proxy: open files, an unprivileged user, free ports."""

from __future__ import annotations

import grp
import os
import pwd
import resource
import shutil
import socket
from dataclasses import replace

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
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin"  # a plain user's PATH may lack these
    return shutil.which("haproxy", path=path) or "haproxy"


def is_free(address: str, port: int) -> bool:
    """Whether one could listen there now. Ports of the kernel's own range may be lent to an outgoing connection."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _unprivileged() -> tuple[str, str] | None:
    """The user and group of Debian's package, when we are root and they are there."""
    try:
        return ("haproxy", grp.getgrnam("haproxy").gr_name) if os.geteuid() == 0 and pwd.getpwnam("haproxy") else None
    except KeyError:
        return None
