"""A real image registry for the tests, and the images of the suite in it."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import requests

from orchestrator.engine.base import RegistryAuth
from tests.images import build
from tests.support.poll import eventually

PROJECT = Path(__file__).parents[2]
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
AUTH = RegistryAuth("joe", "open sesame")

_CONFIG = """\
version: 0.1
log: {{accesslog: {{disabled: true}}, level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}/blobs}}, delete: {{enabled: true}}}}
http: {{addr: "{host}"}}
"""
_CONFIG_AUTH = "auth: {{htpasswd: {{realm: tests, path: {folder}/passwords}}}}\n"


class Registry:
    """A registry process on a loopback port of its own; stopping it makes an outage, its images survive that."""

    def __init__(self, folder: Path, auth: RegistryAuth | None = None) -> None:
        self.folder = folder
        self.auth = auth
        self.host = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        config = _CONFIG + (_CONFIG_AUTH if self.auth else "")
        (self.folder / "config.yml").write_text(config.format(folder=self.folder, host=self.host))
        if self.auth:
            secret = subprocess.run(
                ["htpasswd", "-nbBC", "4", self.auth.username, self.auth.password],
                capture_output=True,
                text=True,
                check=True,
            )
            (self.folder / "passwords").write_text(secret.stdout.strip() + "\n")
        with open(self.folder / "registry.log", "ab") as log:
            command = ["docker-registry", "serve", str(self.folder / "config.yml")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        eventually(lambda: self._request("GET", "/v2/").status_code == 200, 20)

    def stop(self) -> None:
        """Kill it: an outage without a farewell."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def push(self, client: docker.APIClient, local: str, name: str, tag: str) -> str:
        """Push a local image as `name:tag`; answer the whole reference."""
        login = {"username": self.auth.username, "password": self.auth.password} if self.auth else None
        build.push(client, local, f"{self.host}/{name}:{tag}", login)
        return f"{self.host}/{name}:{tag}"

    def move_tag(self, name: str, tag: str, to: str) -> None:
        """Let `name:tag` name what `name:<to>` names; `name` with or without the host."""
        name = name.removeprefix(f"{self.host}/")
        found = self._request("GET", f"/v2/{name}/manifests/{to}", headers={"Accept": MANIFEST})
        found.raise_for_status()
        headers = {"Content-Type": found.headers["Content-Type"]}
        self._request("PUT", f"/v2/{name}/manifests/{tag}", headers=headers, data=found.content).raise_for_status()

    def remove_tag(self, name: str, tag: str) -> None:
        """Delete the manifest that `name:tag` names, and with it every tag of the same image."""
        name = name.removeprefix(f"{self.host}/")
        self._request("DELETE", f"/v2/{name}/manifests/{self.digest(name, tag)}").raise_for_status()

    def digest(self, name: str, tag: str) -> str:
        """sha256:... that the tag names now."""
        name = name.removeprefix(f"{self.host}/")
        found = self._request("HEAD", f"/v2/{name}/manifests/{tag}", headers={"Accept": MANIFEST})
        found.raise_for_status()
        return found.headers["Docker-Content-Digest"]

    def _request(self, method: str, path: str, **options: object) -> requests.Response:
        login = (self.auth.username, self.auth.password) if self.auth else None
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, f"http://{self.host}{path}", auth=login, timeout=10, **options)  # type: ignore[arg-type]


class Images:
    """The suite's images in a registry, each built and pushed when it is first asked for."""

    def __init__(self, client: docker.APIClient, registry: Registry) -> None:
        self.registry = registry
        self._client = client
        self._names: dict[str, str] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> str:
        """`web` -> `127.0.0.1:PORT/skylark-test/web`. One of tests/images: busybox web stubborn crasher ... sshd."""
        with self._lock:
            if name not in self._names:
                auth = self.registry.auth
                login = {"username": auth.username, "password": auth.password} if auth else None
                self._names[name] = build.push_image(self._client, name, self.registry.host, login)
            return self._names[name]


def free_port() -> int:
    """A loopback TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def forget_images(client: docker.APIClient, host: str) -> None:
    """Take the engine's names for images of a registry away; the images stay if they have others."""
    mine = re.compile(rf"{re.escape(host)}/.*")
    for image in client.images(all=False):
        for name in (image.get("RepoTags") or []) + (image.get("RepoDigests") or []):
            if mine.fullmatch(name):
                try:
                    client.remove_image(name)
                except docker.errors.APIError as error:
                    if error.status_code not in (404, 409):  # gone with its last tag, or still used
                        raise


def _serve(client: docker.APIClient, folder: Path, auth: RegistryAuth | None) -> Iterator[Registry]:
    if not (shutil.which("docker-registry") and shutil.which("htpasswd")):
        installer = PROJECT / "deploy" / "install.sh"
        done = subprocess.run([str(installer), "tests"], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"these tests need docker-registry and htpasswd:\n{done.stderr}", pytrace=False)
    registry = Registry(folder, auth)
    registry.start()
    yield registry
    registry.stop()
    forget_images(client, registry.host)


@pytest.fixture(scope="session")
def registry(docker_client: docker.APIClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants no password. A test that stops it starts it again."""
    yield from _serve(docker_client, tmp_path_factory.mktemp("registry"), None)


@pytest.fixture(scope="session")
def auth_registry(docker_client: docker.APIClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants the user name and password in its `auth`."""
    yield from _serve(docker_client, tmp_path_factory.mktemp("auth_registry"), AUTH)


@pytest.fixture(scope="session")
def images(docker_client: docker.APIClient, registry: Registry) -> Images:
    """`images["web"]` is the name of a test image in `registry`, without a tag."""
    return Images(docker_client, registry)


@pytest.fixture(scope="session")
def auth_images(docker_client: docker.APIClient, auth_registry: Registry) -> Images:
    """The same behind a password."""
    return Images(docker_client, auth_registry)
