"""The HAProxy master as a process: found, started in a session of its own, reloaded, ended."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.ingress.live import Workers, read_info, read_workers
from orchestrator.ingress.render import CONFIG, MASTER_SOCKET, RUNTIME_SOCKET
from orchestrator.ingress.runtime import CommandSocket, ProxyError

ACCESS_LOG = "access.log"
OWN_LOG = "haproxy.log"

_START_SECONDS = 10.0
_RELOAD_SECONDS = 10.0
_RESEND_SECONDS = 1.5  # a reload that shows nothing by then was lost
_SILENT_SECONDS = 5.0
_TRIM_BYTES = 32 * 1024 * 1024  # a log of this size is moved aside while we live,
MOST_BYTES = 256 * 1024 * 1024  # and what HAProxy writes when we don't ends here
_LONGEST_SOCKET = 80  # the kernel's 107, less what HAProxy adds while it swaps sockets, and a draft's folder


class Master:
    """One HAProxy in master-worker mode, known by its folder. It outlives us, and is found again by the next one."""

    def __init__(self, folder: Path, program: str) -> None:
        if len(str(folder / RUNTIME_SOCKET)) > _LONGEST_SOCKET:
            raise ProxyError(f"{folder} is too long a path for the proxy's sockets; choose a shorter SKYLARK_HOME")
        self._folder = folder
        self._config = str(folder / CONFIG)
        self._program = program
        self._child: subprocess.Popen[bytes] | None = None
        self.runtime = CommandSocket(folder / RUNTIME_SOCKET)
        self.socket = CommandSocket(folder / MASTER_SOCKET)

    def info(self) -> dict[str, str] | None:
        """What the listening worker says of itself (Pid, description, ...); None when master or worker is silent."""
        if self._child is not None:
            self._child.poll()  # a dead child of ours would else stay as a zombie
        try:
            self.workers()
            return read_info(self.runtime.ask("show info")) or None
        except ProxyError:
            return None

    def answers(self) -> bool:
        """Whether it runs. One that is there and silent gets some seconds: a busy moment must not cost its traffic."""
        silent_until = time.monotonic() + _SILENT_SECONDS
        while self.info() is None:
            if time.monotonic() > silent_until or not self.processes():
                return False
            time.sleep(0.05)
        return True

    def workers(self) -> Workers:
        """All workers. Raises ProxyError when the master does not answer."""
        return read_workers(self.socket.ask("show proc"))

    def start(self) -> None:
        """Start with the file in the folder, after `clear`. Raises ProxyError."""
        limits = ["prlimit", f"--fsize={MOST_BYTES}", "--"]
        command = [self._program, "-W", "-S", f"{self._folder / MASTER_SOCKET},mode,600", "-f", self._config]
        own_log = self._folder / OWN_LOG
        offset = own_log.stat().st_size if own_log.exists() else 0
        with (self._folder / ACCESS_LOG).open("ab") as out, own_log.open("ab") as err:
            try:
                self._child = subprocess.Popen(
                    [*limits, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=self._folder,
                    start_new_session=True, close_fds=True,
                    restore_signals=False,  # SIGXFSZ stays ignored: a full log costs its lines, not the proxy
                )  # fmt: skip
            except OSError as error:
                raise ProxyError(f"{error.filename or self._program} can't be run: {error.strerror}") from error
        (self._folder / "haproxy.pid").write_text(f"{self._child.pid}\n")

        def answers() -> bool:
            assert self._child is not None
            if self._child.poll() is not None:
                raise ProxyError(f"the proxy did not start: {self._said(offset)}")
            return self.info() is not None

        if not _wait(answers, _START_SECONDS):
            raise ProxyError(f"the proxy started and does not answer: {self._said(offset)}")

    def reload(self, skeleton: str) -> None:
        """Let a new worker take over that describes itself as `skeleton`. Raises ProxyError with HAProxy's reason.

        A reload sent right after another can be lost without a word; hence the look for its effect, and the resend.
        """
        offset = (self._folder / OWN_LOG).stat().st_size
        before = self.workers()
        self.socket.ask("reload")
        resend_at = time.monotonic() + _RESEND_SECONDS

        def done() -> bool:
            nonlocal resend_at
            try:
                workers = self.workers()
                info = read_info(self.runtime.ask("show info"))
                if workers.current == before.current and time.monotonic() >= resend_at:
                    resend_at = time.monotonic() + _RESEND_SECONDS
                    self.socket.ask("reload")
            except ProxyError:
                return False  # it is being replaced right now
            if workers.failed_reloads > before.failed_reloads:
                raise ProxyError(f"the proxy did not take its new configuration: {self._said(offset)}")
            return workers.current != before.current and info.get("description") == skeleton

        if not _wait(done, _RELOAD_SECONDS):
            raise ProxyError(f"the proxy did not reload within {_RELOAD_SECONDS:g} s: {self._said(offset)}")

    def end(self, seconds: float = 5.0) -> None:
        """End it with all its workers: by SIGTERM, and what is left then by SIGKILL."""
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
            for pid in self.processes():
                _signal(pid, number)
            if _wait(lambda: not self.processes(), patience):
                break
        (self._folder / "haproxy.pid").unlink(missing_ok=True)

    def processes(self) -> list[int]:
        """Pids of masters and workers that run with our file, living ones only."""
        if self._child is not None:
            self._child.poll()
        wanted = self._config.encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if wanted in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue  # it ended meanwhile
        return found

    def trim_logs(self) -> None:
        """Move logs that have grown aside, as `.1`. HAProxy appends, so an emptied file goes on at its beginning."""
        for name in (ACCESS_LOG, OWN_LOG):
            path = self._folder / name
            if path.exists() and path.stat().st_size > _TRIM_BYTES:
                shutil.copyfile(path, path.with_name(f"{name}.1"))
                os.truncate(path, 0)

    def clear(self) -> None:
        """Kill a hung master, or workers that lost theirs: they would share our ports with an old configuration."""
        for pid in self.processes():
            _signal(pid, signal.SIGKILL)
        if not _wait(lambda: not self.processes(), 5.0):
            raise ProxyError("an earlier proxy of ours does not end")

    def _said(self, offset: int) -> str:
        """The faults HAProxy wrote since then, shortened."""
        with (self._folder / OWN_LOG).open("rb") as file:
            file.seek(offset)
            text = file.read(200_000).decode("utf-8", "replace")
        return faults(text)


def faults(text: str) -> str:
    """HAProxy's own words out of its messages: those it gives as reasons, else all of them."""
    lines = [re.sub(r"^\[(\w+)\]\s*\(\d+\)\s*:\s*", r"\1: ", line) for line in text.splitlines()]
    reasons = [line.removeprefix("ALERT: ") for line in lines if line.startswith("ALERT: ")]
    plain = [line for line in reasons if "Fatal errors" not in line and "rror(s) found" not in line]
    return "; ".join((plain or reasons or lines)[:3]) or "it said nothing"


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _wait(check: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
