"""A Docker engine of a test's own, to be killed and started again: the machine's engine belongs to others too.

Its data, sockets and bridge are its own, so that it neither sees the other engine's containers nor takes its bridge
away (which an engine started with `--bridge none` does). It writes no firewall rules: its containers reach nobody.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import docker

from tests.support.poll import eventually

_ADDRESS = "10.199.255.1/24"  # of its bridge, on which nobody stands


class PrivateEngine:
    """`start`, `kill`, `start` again, `close`. `url`: where it answers; `pool`: addresses for networks on it."""

    pool = "10.200.0.0/16"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="skylark-test-engine-"))
        self.url = f"unix://{self.folder}/docker.sock"
        self._bridge = f"skytest{secrets.token_hex(3)}"
        self._process: subprocess.Popen[bytes] | None = None
        (self.folder / "daemon.json").write_text("{}")
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "address", "add", _ADDRESS, "dev", self._bridge)

    @property
    def log_folder(self) -> Path:
        """Where it keeps the folders of its containers, and in them their logs."""
        return self.folder / "data" / "containers"

    @property
    def kept_folder(self) -> Path:
        """A place for links to its files: links across mounts are refused, and it mounts its data on itself."""
        return self.folder / "data" / "kept-by-tests"

    @property
    def volume_folder(self) -> Path:
        """Where it keeps volumes: `<name>/_data`."""
        return self.folder / "data" / "volumes"

    def start(self) -> None:
        """Start it and wait until it answers."""
        (self.folder / "dockerd.pid").unlink(missing_ok=True)
        command = (
            "dockerd", "--config-file", f"{self.folder}/daemon.json", "--host", self.url,
            "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec",
            "--pidfile", f"{self.folder}/dockerd.pid", "--bridge", self._bridge, "--userland-proxy=false",
            "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
        )  # fmt: skip
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        with (self.folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=os.environ | {"PATH": path},
            )  # fmt: skip
        eventually(self._answers, 90)

    def kill(self) -> None:
        """SIGKILL for it, and so for its containerd; the shims of its containers are left without them.

        The note of the containerd's pid goes: where nobody reaps it, the next engine would take it for alive.
        """
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        eventually(lambda: not _pids("-f", f"containerd --config {self.folder}/"), 20)
        (self.folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def close(self) -> None:
        """Remove all that is on it, end it, and remove its own; what it has left behind is ended without it."""
        if self._process is not None:
            with suppress(Exception):  # it does not answer any more
                self._clear()
            self._process.terminate()
            self._process.wait(60)
        for shim in _pids("-f", f"{self.folder}/"):
            for pid in (*_pids("-P", str(shim)), shim):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed(mounts):
            if mount.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", self._bridge], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "dockerd.log").read_text()[-3000:]
        client = docker.APIClient(self.url, version="auto", timeout=60)
        try:
            return bool(client.ping())
        finally:
            client.close()

    def _clear(self) -> None:
        client = docker.APIClient(self.url, version="auto", timeout=60)
        try:
            for container in client.containers(all=True):
                client.remove_container(container["Id"], force=True)
            client.prune_networks()
        finally:
            client.close()


def _pids(*arguments: str) -> list[int]:
    found = subprocess.run(["pgrep", *arguments], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
