"""Programs that the tests of the store run as processes of their own: python -m tests.store.processes COMMAND URL."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from orchestrator.store.database import make_engine, make_sessions, migrate, session_scope
from orchestrator.store.lease import Lease, this_holder
from orchestrator.store.schema import HeartbeatRow
from tests.store.samples import a_spec, create

ROOT = Path(__file__).resolve().parent.parent.parent


def start(command: str, url: str) -> subprocess.Popen[str]:
    """Start `command` on the database; its standard output is to be read line by line."""
    arguments = [sys.executable, "-m", "tests.store.processes", command, url]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def create_for_ever(url: str) -> None:
    """Create services one after the other, and print each name once its write was acknowledged."""
    sessions = make_sessions(make_engine(url))
    for number in count():
        with sessions() as session:
            create(session, a_spec(f"service-{number}"))
        print(f"service-{number}", flush=True)


def add_to_counter(url: str) -> None:
    """Read a number and write it back one higher, 100 times."""
    sessions = make_sessions(make_engine(url))
    for _ in range(100):
        with session_scope(sessions, write=True) as session:
            row = session.get_one(HeartbeatRow, "counter", with_for_update=True)
            row.lag_seconds += 1


def hold_lease(url: str) -> None:
    """Acquire the lease for an hour, print who we are, and stay until the input ends."""
    lease = Lease(make_sessions(make_engine(url)), this_holder(), 3600, time.monotonic)
    won = lease.acquire_or_renew(datetime.now(UTC))
    print(f"{this_holder()} {won}", flush=True)
    sys.stdin.read()


def migrate_on_command(url: str) -> None:
    """Say that we are up, and migrate when the input ends."""
    print("ready", flush=True)
    sys.stdin.read()
    migrate(url)


COMMANDS = {
    "create": create_for_ever,
    "count": add_to_counter,
    "lease": hold_lease,
    "migrate": migrate_on_command,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](sys.argv[2])
