"""The vendor's own command line as published: installed apart, its Python 2 syntax translated, nothing else changed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# exec over ssh imports a module that later paramikos dropped; fissix is lib2to3, which Python itself drops
REQUIREMENTS = ("paramiko<3", "requests", "requests-oauthlib", "PyYAML", "pyOpenSSL", "mock", "setuptools", "fissix")
# what Python 2 had and the client uses: a function called at import, and another name of open
LAUNCH = """
import builtins, sys
sys.setdefaultencoding, builtins.file = lambda name: None, open
from alaudacli.alauda_cli import main
main()
"""


class PublishedClient:
    """`alauda` with a home of its own."""

    def __init__(self, folder: Path, home: Path) -> None:
        self._python = folder / "venv" / "bin" / "python"
        self._environ = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(folder / "client"),
            "NO_PROXY": "*",
        }

    def __call__(self, *words: str) -> str:
        """What the command prints; it must end well."""
        status, text = self.attempt(*words)
        assert status == 0, f"alauda {' '.join(words)}: status {status}\n{text}"
        return text

    def attempt(self, *words: str) -> tuple[int, str]:
        """Exit status and everything printed."""
        command = [str(self._python), "-W", "ignore", "-c", LAUNCH, *words]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr


def install(version: str) -> Path:
    """The folder with the client and an environment for it; made once, in the cache of the tests."""
    cache = Path(os.environ.get("SKYLARK_TEST_CACHE") or Path.home() / ".cache" / "skylark-tests")
    folder = cache / f"alauda-{version}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "alauda.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(folder / "venv"))
            python = str(folder / "venv" / "bin" / "python")
            _run(python, "-m", "pip", "install", "--quiet", *REQUIREMENTS)
            target = str(folder / "client")
            # --no-compile: its syntax is not this Python's until it is translated
            client = ("--no-deps", "--no-compile", "--target", target, f"alauda=={version}")
            _run(python, "-m", "pip", "install", "--quiet", *client)
            _run(python, "-m", "fissix", "-w", "-n", "--no-diffs", str(folder / "client" / "alaudacli"))
            (folder / "made").touch()
    return folder


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout}{done.stderr}", pytrace=False)
