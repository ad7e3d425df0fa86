"""Keeps child processes running in the foreground: starts them, restarts the ones that die, ends all on a signal."""

from __future__ import annotations

import ctypes
import functools
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 30.0
GOOD_SECONDS = 60.0  # a child that ran this long starts again at the first delay
END_SECONDS = 45.0  # the worker finishes its pass; what is left after this is killed

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_WATCHED = _ENDING | {signal.SIGCHLD}
_PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """A command kept running. `delay_seconds` is the next wait before it is started again."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    delay_seconds: float = FIRST_DELAY_SECONDS


def supervise(
    commands: Mapping[str, Sequence[str]],
    *,
    ready: Callable[[], bool],
    on_ready: Callable[[], None],
    what_stays: str = "the containers of your services go on running",
) -> int:
    """Run `commands` (name -> argv) until SIGINT, SIGTERM or SIGHUP; answer the exit status, 0 when all ended well.

    `on_ready` is called once, as soon as `ready()` says so; `what_stays` is said at the end.
    A second signal ends the children at once.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)  # read by sigtimedwait: no handler ever interrupts us
    as_child = functools.partial(_as_child, ctypes.CDLL(None))
    children = [Child(name, command) for name, command in commands.items()]
    said = False
    while True:
        now = time.monotonic()
        for child in children:
            _keep(child, now, as_child)
        if not said and ready():
            said = True
            on_ready()
        due = [c.start_at - now for c in children if c.process is None]
        got = signal.sigtimedwait(_WATCHED, max(0.05, min([*due, 5.0 if said else 0.2])))
        if got is not None and got.si_signo in _ENDING:
            say(f"stopping; {what_stays}")
            return _end(children)


def _keep(child: Child, now: float, as_child: Callable[[], None]) -> None:
    if child.process is None:
        if now >= child.start_at:
            child.process = subprocess.Popen(child.command, preexec_fn=as_child, stdin=subprocess.DEVNULL)
            child.started_at = now
        return
    status = child.process.poll()
    if status is None:
        return
    if now - child.started_at >= GOOD_SECONDS:
        child.delay_seconds = FIRST_DELAY_SECONDS
    say(f"the {child.name} {ended(status)}; starting it again in {child.delay_seconds:g} s")
    child.process = None
    child.start_at = now + child.delay_seconds
    child.delay_seconds = min(child.delay_seconds * 2, LONGEST_DELAY_SECONDS)


def _as_child(libc: ctypes.CDLL) -> None:
    """Between fork and exec: own session (Ctrl-C reaches us alone), no blocked signals, and no life without us."""
    libc.setsid()
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _end(children: Sequence[Child]) -> int:
    """SIGTERM for all, SIGKILL for what is left after END_SECONDS or at a second signal."""
    running = [c for c in children if c.process is not None]
    for child in running:
        _process(child).terminate()
    deadline = time.monotonic() + END_SECONDS
    clean = True
    while left := [c for c in running if _process(c).poll() is None]:
        got = signal.sigtimedwait(_WATCHED, max(0.0, min(0.5, deadline - time.monotonic())))
        if time.monotonic() >= deadline or (got is not None and got.si_signo in _ENDING):
            clean = False
            for child in left:
                say(f"the {child.name} did not end in time: killing it")
                _process(child).kill()
                _process(child).wait()
    return 0 if clean else 1


def _process(child: Child) -> subprocess.Popen[bytes]:
    assert child.process is not None
    return child.process


def ended(status: int) -> str:
    """A process's return code in words: `ended with status 3`, `was killed by SIGKILL`."""
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def say(text: str) -> None:
    """A line for the person at the terminal."""
    print(f"skylark: {text}", file=sys.stderr, flush=True)
