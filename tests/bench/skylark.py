"""Skylark as a contestant: its real processes, spoken to over HTTP, on a home and an installation of its own."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import requests

from tests.support.poll import eventually
from tests.support.registry import free_port

SERVICE = "bench"


class Skylark:
    """API and worker under `skylark run`; one service, created at the first `up`, scaled by PUT afterwards."""

    name = "Skylark"
    heals = True

    def __init__(self, label: str, image: str, folder: Path) -> None:
        self.label = label
        self._image, self._tag = image.rsplit(":", 1)
        self._log = folder / "skylark.log"
        self._home = Path(tempfile.mkdtemp(prefix="skylark-bench-"))  # short: sockets lie in it
        atexit.register(shutil.rmtree, self._home, ignore_errors=True)  # its database may be read after `close`
        self.http_port = free_port()
        address = f"127.0.0.1:{free_port()}"
        self._services = f"http://{address}/v1/services/bench"
        self.environ = {
            "SKYLARK_HOME": str(self._home),
            "SKYLARK_INSTALLATION": label,
            "SKYLARK_API_BIND": address,
            "SKYLARK_ADMIN_TOKEN": "bench",
            "SKYLARK_HTTP_PORT": str(self.http_port),
        }
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith("SKYLARK_")} | self.environ
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "worker.cli", "run"]
            self._process = subprocess.Popen(command, env=self._environ, stdout=log, stderr=log)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = "Token bench"
        try:
            eventually(lambda: self._session.get(f"http://{address}/readyz", timeout=5).ok, seconds=60)
        except AssertionError:
            self._process.terminate()
            raise AssertionError(f"Skylark did not come up:\n{self._log.read_text()[-4000:]}") from None

    def up(self, count: int, service: str = SERVICE) -> None:
        """A new service of `count` instances: POST, the way a user comes."""
        body = {
            "service_name": service,
            "image_name": self._image,
            "image_tag": self._tag,
            "instance_size": "XS",
            "scaling_mode": "MANUAL",
            "target_state": "STARTED",
            "target_num_instances": count,
        }
        self._ask("POST", "", json=body)

    def down(self) -> None:
        self._ask("PUT", f"/{SERVICE}/stop/")

    def forget(self) -> None:
        """Delete the service, and wait until its name is free and nothing of it is left."""
        self._ask("DELETE", f"/{SERVICE}/")
        eventually(lambda: self._session.get(f"{self._services}/{SERVICE}/", timeout=5).status_code == 404, 60)

    def wait_until_running(self, count: int, service: str = SERVICE) -> None:
        """Until the API says that all instances run and nothing is under way."""

        def settled() -> bool:
            seen = self.status(service)
            assert seen["current_status"] == "Running", seen
            return bool(seen["current_num_instances"] == count and not seen["is_deploying"])

        eventually(settled, 60)

    def status(self, service: str = SERVICE) -> dict[str, Any]:
        """The service as the API shows it."""
        return dict(self._ask("GET", f"/{service}/").json())

    def worker_cpu_seconds(self) -> float:
        """CPU time that the worker process has used so far."""
        for pid in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
            if b"\0worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        raise RuntimeError("the worker is not running")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        finally:
            self._process.kill()
            self._session.close()
            command = [sys.executable, "-m", "worker.cli", "stop-proxy"]
            subprocess.run(command, env=self._environ, check=True, capture_output=True)

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        response = self._session.request(method, self._services + path, timeout=30, **options)
        if not response.ok:
            raise RuntimeError(
                f"{method} {path}: {response.status_code} {response.text}\n{self._log.read_text()[-4000:]}"
            )
        return response
