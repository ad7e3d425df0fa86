"""The foreground command: children come back, signals end everything, nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.poll import eventually

# Two children: one writes its pid and stays, one dies at once each time.
PROGRAM = """
import sys
from worker.supervisor import supervise
stay = "import os,sys,time; print('pid', os.getpid(), flush=True); time.sleep(600)"
die = "print('hello', flush=True); raise SystemExit(3)"
children = {"stayer": [sys.executable, "-c", stay], "dier": [sys.executable, "-c", die]}
sys.exit(supervise(children, ready=lambda: True, on_ready=lambda: print("ready", flush=True)))
"""


class Running:
    """A supervisor process, and what it and its children have written so far."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "output"
        with self.output.open("wb") as file:
            self.process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=file, stderr=file)

    def text(self) -> str:
        return self.output.read_text()

    def child_pid(self) -> int:
        return eventually(lambda: [int(li.split()[1]) for li in self.text().splitlines() if li.startswith("pid ")])[0]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    started = Running(tmp_path)
    yield started
    started.process.kill()
    started.process.wait()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_child_that_dies_is_started_again_and_said(running: Running) -> None:
    eventually(lambda: running.text().count("hello") >= 2)

    assert "the dier ended with status 3; starting it again in 1 s" in running.text()
    assert running.text().count("ready") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_all_children_and_the_command(running: Running, number: signal.Signals) -> None:
    pid = running.child_pid()

    running.process.send_signal(number)

    assert running.process.wait(timeout=10) == 0
    assert not alive(pid)
    assert "stopping; the containers of your services go on running" in running.text()


def test_supervisor_killed_hard_leaves_no_child_behind(running: Running) -> None:
    pid = running.child_pid()

    running.process.kill()

    eventually(lambda: not alive(pid))


def skylark(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worker.cli", *arguments]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, timeout=60)


def test_port_in_use_ends_run_with_a_clear_message(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        result = skylark("run", SKYLARK_HOME=str(tmp_path), SKYLARK_API_BIND=bind)

    assert result.returncode == 1
    assert f"cannot listen on {bind}" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("SKYLARK_API_BIND", "nowhere"), ("SKYLARK_TICK_SECONDS", "soon"), ("SKYLARK_LOG_FORMAT", "x")]
)
def test_wrong_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    result = skylark("run", SKYLARK_HOME=str(tmp_path), **{name: value})

    assert result.returncode == 2
    assert name in result.stderr
    assert value in result.stderr


def test_token_is_made_once_and_kept_private(tmp_path: Path) -> None:
    first = skylark("token", SKYLARK_HOME=str(tmp_path), SKYLARK_ADMIN_TOKEN="")
    second = skylark("token", SKYLARK_HOME=str(tmp_path), SKYLARK_ADMIN_TOKEN="")

    assert first.stdout == second.stdout
    assert len(first.stdout.strip()) == 40
    assert (tmp_path / "admin_token").stat().st_mode & 0o777 == 0o600


def test_unreachable_database_is_said_without_a_traceback(tmp_path: Path) -> None:
    result = skylark("migrate", SKYLARK_HOME=str(tmp_path), SKYLARK_DATABASE_URL="postgresql://127.0.0.1:1/none")

    assert result.returncode == 1
    assert "cannot bring the database up to date" in result.stderr
    assert "Traceback" not in result.stderr
