"""A whole Skylark for the tests: API and worker as real processes, each startable and killable on its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest

from orchestrator.engine.base import LABEL_INSTALLATION, LABEL_SERVICE, LABEL_SLOT
from orchestrator.ingress.haproxy import HaProxy
from orchestrator.ingress.machine import proxy_settings
from tests.support.client import Client
from tests.support.engine import PROJECT, new_installation, remove_installation
from tests.support.poll import eventually
from tests.support.registry import Registry, free_port

TOKEN = "the-token-of-the-tests"
WORKER = (sys.executable, "-m", "worker")
_LOG_TAIL = 6_000  # characters of each process's log that a failed test shows
_QUICK = {"SKYLARK_TICK_SECONDS": "1", "SKYLARK_STOP_GRACE_SECONDS": "3", "SKYLARK_PROXY": "none"}


class Process:
    """One program with its log, in a session of its own."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.name = name
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                command, env=dict(environ), cwd=PROJECT, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._popen.pid

    def running(self) -> bool:
        return self._popen.poll() is None

    def kill(self) -> None:
        """SIGKILL for it and all its children."""
        self._signal_all(signal.SIGKILL)
        self._popen.wait()

    def end(self, seconds: float = 40) -> int:
        """SIGTERM; the exit status. What does not end in time is killed, and that is an error."""
        self._popen.terminate()
        return self.wait(seconds)

    def wait(self, seconds: float = 40) -> int:
        """The exit status (minus the signal's number for a killed one)."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the {self.name} did not end within {seconds} s") from None

    def _signal_all(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._popen.pid, number)
        except ProcessLookupError:
            pass


class Skylark:
    """An installation of its own: home, port, label. `api` speaks to it, `containers()` looks at it from beside."""

    def __init__(
        self,
        docker_client: docker.APIClient,
        docker_url: str,
        *,
        settings: Mapping[str, str] | None = None,
        config: str = "",
    ) -> None:
        self.docker = docker_client
        self._docker_url = docker_url
        self.folder = Path(tempfile.mkdtemp(prefix="skylark-test-"))
        self.home = self.folder / "home"
        self.installation = new_installation()
        self.address = f"127.0.0.1:{free_port()}"
        (self.folder / "config.toml").write_text(config)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SKYLARK_")}
        self.environ = kept | _QUICK | {
            "SKYLARK_HOME": str(self.home),
            "SKYLARK_INSTALLATION": self.installation,
            "SKYLARK_API_BIND": self.address,
            "SKYLARK_ADMIN_TOKEN": TOKEN,
            "SKYLARK_CONFIG": str(self.folder / "config.toml"),
        } | dict(settings or {})  # fmt: skip
        self.http_port = int(self.environ.get("SKYLARK_HTTP_PORT", "0"))
        self.api = Client(f"http://{self.address}", TOKEN)
        self.processes: list[Process] = []
        self.gunicorn: Process | None = None
        self.worker: Process | None = None

    def start(self) -> Skylark:
        """Both processes, and wait until they serve."""
        self.start_worker()
        self.start_api()
        self.ready()
        return self

    def start_api(self) -> Process:
        command = [sys.executable, "-m", "gunicorn", "--config", "python:api.gunicorn_conf"]
        self.gunicorn = self.spawn("api", [*command, "--bind", self.address, "api.wsgi:create()"])
        return self.gunicorn

    def start_worker(self, command: Sequence[str] = WORKER, settings: Mapping[str, str] | None = None) -> Process:
        """A worker; the newest one is `worker`."""
        self.worker = self.spawn("worker", command, settings)
        return self.worker

    def spawn(self, name: str, command: Sequence[str], settings: Mapping[str, str] | None = None) -> Process:
        process = Process(name, command, self.environ | dict(settings or {}), self.folder / f"{name}.log")
        self.processes.append(process)
        return process

    def ready(self, seconds: float = 60) -> None:
        """Wait until /readyz says that database and worker are there."""

        def check() -> bool:
            assert all(process.running() for process in self.processes[-2:]), "a process has ended"
            return bool(self.api.call("GET", "/readyz").ok)

        eventually(check, seconds)

    def containers(self, name: str = "") -> list[dict[str, Any]]:
        """Docker's own list of our containers, of one service or all, in the order of their slots."""
        labels = [f"{LABEL_INSTALLATION}={self.installation}"]
        if name:
            labels.append(f"{LABEL_SERVICE}={self.api.service(name)['uuid']}")
        found = self.docker.containers(all=True, filters={"label": labels})
        return sorted(found, key=lambda container: int(container["Labels"][LABEL_SLOT]))

    def ids(self, name: str = "") -> list[str]:
        """Container ids in the order of their slots."""
        return [container["Id"] for container in self.containers(name)]

    def volumes(self) -> list[str]:
        """Docker's own list of our volumes."""
        found = self.docker.volumes(filters={"label": [f"{LABEL_INSTALLATION}={self.installation}"]})
        return sorted(volume["Name"] for volume in found["Volumes"] or ())

    def run_in(self, container_id: str, script: str) -> str:
        """What a shell script prints inside a container."""
        made = self.docker.exec_create(container_id, ["sh", "-c", script])
        text = self.docker.exec_start(made["Id"]).decode()
        status = self.docker.exec_inspect(made["Id"])["ExitCode"]
        assert status == 0, f"{script}: status {status}: {text}"
        return text

    def log(self, name: str = "worker") -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def end(self) -> None:
        """End every process."""
        for process in self.processes:
            process.kill()

    def end_proxy(self) -> None:
        """The proxy outlives Skylark; a test's must not."""
        if self.environ["SKYLARK_PROXY"] == "haproxy":
            HaProxy(self.home / "haproxy", proxy_settings(self.http_port)).stop()

    def close(self) -> None:
        """End everything and remove every trace, also on the engine."""
        self.end()
        self.end_proxy()
        self.api.close()
        remove_installation(self._docker_url, self.installation)
        shutil.rmtree(self.folder, ignore_errors=True)


class MakeSkylark:
    """Makes Skylarks on the suite's engine; what a test leaves open is closed after it, or after its module."""

    def __init__(self, docker_client: docker.APIClient, docker_url: str) -> None:
        self._docker_client = docker_client
        self._docker_url = docker_url
        self.made: list[Skylark] = []

    def with_proxy(self, **settings: str) -> Skylark:
        """One whose traffic goes through a proxy of its own, on a free port."""
        own = {"SKYLARK_PROXY": "haproxy", "SKYLARK_HTTP_PORT": str(free_port())}
        return self(settings=own | settings)

    def __call__(self, *, settings: Mapping[str, str] | None = None, config: str = "") -> Skylark:
        """One that is not started yet. `config`: TOML text of registries and sizes (regions are added)."""
        regions = "".join(
            f'[regions.{name}]\niaas = "DOCKER"\nengine_url = "{self._docker_url}"\n'
            for name in ("BEIJING1", "HONGKONG1", "SHANGHAI1")
        )
        whole = config if "[regions" in config else regions + config
        self.made.append(Skylark(self._docker_client, self._docker_url, settings=settings, config=whole))
        return self.made[-1]

    def close(self) -> None:
        """Close all, also when closing one fails."""
        with ExitStack() as stack:
            for skylark in self.made:
                stack.callback(skylark.close)


def credentials(registry: Registry) -> str:
    """The configuration that lets Skylark pull from a registry with a password."""
    assert registry.auth is not None
    lines = (f'username = "{registry.auth.username}"', f'password = "{registry.auth.password}"')
    return "\n".join((f'[registries."{registry.host}"]', *lines, ""))


@pytest.fixture(scope="module")
def make_skylark(docker_client: docker.APIClient, docker_url: str) -> Iterator[MakeSkylark]:
    """Makes installations that live until the end of the module."""
    maker = MakeSkylark(docker_client, docker_url)
    yield maker
    maker.close()


@pytest.fixture(scope="module")
def skylark(make_skylark: MakeSkylark) -> Skylark:
    """One running Skylark for all tests of a module; each uses a service name of its own."""
    return make_skylark().start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the end of the logs of the Skylarks it used."""
    report = yield
    if report.failed:
        maker = getattr(item, "funcargs", {}).get("make_skylark")
        used = {s for s in getattr(item, "funcargs", {}).values() if isinstance(s, Skylark)}
        for skylark in used | set(maker.made if isinstance(maker, MakeSkylark) else ()):
            for log in sorted(skylark.folder.glob("*.log")):
                report.sections.append(
                    (f"{skylark.installation} {log.name}", log.read_text(errors="replace")[-_LOG_TAIL:])
                )
    return report
