"""The file systems that the test images stand on, made from the machine's own Debian mirror."""

from __future__ import annotations

import io
import os
import platform
import subprocess
import tarfile
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Where what takes long is kept between runs: SKYLARK_TEST_CACHE, or a folder of the user."""
    folder = Path(os.environ.get("SKYLARK_TEST_CACHE") or Path.home() / ".cache" / "skylark-tests")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def busybox_rootfs() -> bytes:
    """A tar of a root with a static busybox and a link for each of its commands; always the same bytes.

    The package is unpacked, not installed: it and Debian's other busybox push each other off the machine.
    """
    binary = cache_folder() / "busybox"
    if not binary.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            _run("apt-get", "download", "-o", "APT::Sandbox::User=root", "busybox-static", cwd=folder)
            package = next(Path(folder).glob("busybox-static*.deb"))
            _run("dpkg", "-x", str(package), folder)
            (Path(folder) / "bin" / "busybox").rename(binary)
    commands = subprocess.run([str(binary), "--list"], capture_output=True, text=True, check=True).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "etc", "tmp", "root"):
            tar.addfile(_entry(name, tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755))
        for name, text in {"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n"}.items():
            tar.addfile(_entry(name, size=len(text), mode=0o644), io.BytesIO(text.encode()))
        content = binary.read_bytes()
        tar.addfile(_entry("bin/busybox", size=len(content)), io.BytesIO(content))
        for command in commands:
            if command != "busybox":
                tar.addfile(_entry(f"bin/{command}", tarfile.SYMTYPE, link="busybox"))
    return out.getvalue()


def debian_rootfs() -> bytes:
    """A tar.gz of a small Debian with an SSH server and nginx. Takes half a minute or more once; needs root."""
    archive = cache_folder() / "debian-servers.tar.gz"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            root, draft = Path(folder) / "root", Path(folder) / "root.tar.gz"
            packages = "--include=openssh-server,nginx-light"
            _run("debootstrap", "--variant=minbase", packages, _codename(), str(root), _mirror())
            left_out = [
                f"--exclude=./{name}" for name in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "dev")
            ]
            _run("tar", "-C", str(root), *left_out, "-czf", str(draft), ".")
            draft.rename(archive)
    return archive.read_bytes()


def _codename() -> str:
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def _mirror() -> str:
    """The mirror that the machine's own package sources name."""
    wanted = "$(REPO_URI) $(CODENAME) $(CREATED_BY)"
    listed = subprocess.run(["apt-get", "indextargets", "--format", wanted], capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        address, codename, created_by = line.split(" ", 2)
        if codename == _codename() and created_by == "Packages":
            return address
    raise RuntimeError(f"no package source for {_codename()} is configured; apt-get update first")


def _entry(
    name: str, kind: bytes = tarfile.REGTYPE, *, size: int = 0, mode: int = 0o755, link: str = ""
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.mode, entry.linkname = kind, size, mode, link
    return entry


def _run(*command: str, cwd: str | None = None) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {(done.stderr or done.stdout)[-2000:]}")
