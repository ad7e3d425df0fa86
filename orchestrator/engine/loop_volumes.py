"""Volumes with an enforced size: sparse ext4 files, loop-mounted. Needs root and a local engine.

<folder>/<name>.ext4   the file system, as large as the volume may grow
<folder>/<name>/       where it is mounted
<folder>/<name>/data/  what the container sees; it is not there when nothing is mounted, so that a start then
                       fails instead of filling the host's own disk
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from orchestrator.engine.errors import EngineError, Fault

_SMALLEST_BYTES = 16 * 1024 * 1024  # below that ext4 has no room for its own tables
_DETACH_SECONDS = 3.0
_TOOLS = ("mkfs.ext4", "mount", "umount", "losetup", "e2fsck", "resize2fs")


class LoopVolumes:
    """Loop-mounted volumes under one folder. All methods are idempotent and safe for threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._lock = threading.Lock()

    def possible(self) -> bool:
        """Whether this process may mount, and has the tools for it."""
        return os.geteuid() == 0 and all(shutil.which(tool) for tool in _TOOLS)

    def holds(self, options: Mapping[str, str]) -> bool:
        """Whether a volume's driver options name a place of ours."""
        return options.get("o") == "bind" and Path(options.get("device", "/")).is_relative_to(self._folder)

    def enforced(self, options: Mapping[str, str]) -> bool:
        """Whether it is ours and really mounted now."""
        return self.holds(options) and Path(options["device"]).parent.is_mount()

    def ensure(self, name: str, size_bytes: int) -> Path:
        """The folder for a container, of at least `size_bytes`; remounts after a reboot, grows, never shrinks.

        CONFLICT when it must grow while something uses it.
        """
        file, mountpoint = self._paths(name)
        wanted = max(size_bytes, _SMALLEST_BYTES)
        with self._lock:
            if not file.exists():
                self._make(file, wanted)
            mountpoint.mkdir(exist_ok=True)
            if file.stat().st_size < wanted:
                self._unmount(mountpoint)
                if self._detached(file):
                    os.truncate(file, wanted)
                else:
                    self._mount(file, mountpoint)
                    raise EngineError(Fault.CONFLICT, f"volume {name} is still in use and cannot grow now")
            if not mountpoint.is_mount():
                self._mount(file, mountpoint)
            data = mountpoint / "data"
            data.mkdir(exist_ok=True)
        return data

    def remove(self, name: str) -> None:
        """Unmount and delete. CONFLICT while something still uses it."""
        file, mountpoint = self._paths(name)
        with self._lock:
            self._unmount(mountpoint)
            if mountpoint.exists():
                mountpoint.rmdir()
            file.unlink(missing_ok=True)

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self._folder / f"{name}.ext4", self._folder / name

    def _make(self, file: Path, size_bytes: int) -> None:
        """Under another name first: a crash leaves no half-made file system under the right one."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        draft = file.with_suffix(".draft")
        with open(draft, "wb") as out:
            out.truncate(size_bytes)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", str(draft))
        draft.rename(file)

    def _mount(self, file: Path, mountpoint: Path) -> None:
        """Checked, and grown to its file first: nothing to do but after a crash or when its size was raised.

        Growing a mounted file system would need a privilege that not every root has.
        """
        if self._detached(file):
            _run("e2fsck", "-f", "-p", str(file), good=(0, 1))  # 1: faults found and mended
            _run("resize2fs", str(file))
        _run("mount", "-o", "loop,nodev,nosuid", str(file), str(mountpoint))

    def _detached(self, file: Path) -> bool:
        """Whether nothing has the file open as a disk. A mount namespace that is just ending may hold it for a moment.

        To write to the file meanwhile would break the file system that is still mounted from it.
        """
        deadline = time.monotonic() + _DETACH_SECONDS
        while _run("losetup", "--noheadings", "--output", "NAME", "--associated", str(file)).strip():
            if time.monotonic() > deadline:
                return False
            threading.Event().wait(0.02)
        return True

    def _unmount(self, mountpoint: Path) -> None:
        if mountpoint.is_mount():
            _run("umount", str(mountpoint))


def folder_usage_bytes(folder: Path) -> int:
    """Disk blocks really used below `folder`; files that vanish or forbid a look meanwhile count nothing."""
    total, seen, todo = 0, set[tuple[int, int]](), [folder]
    while todo:
        try:
            entries = list(os.scandir(todo.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                stat = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(Path(entry.path))
            except OSError:
                continue
            if (stat.st_dev, stat.st_ino) not in seen:  # a file with two names is stored once
                seen.add((stat.st_dev, stat.st_ino))
                total += stat.st_blocks * 512
    return total


def _run(*command: str, good: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode in good:
        return done.stdout
    complaint = (done.stderr or done.stdout).strip()
    if "No space left" in complaint:
        raise EngineError(Fault.NO_SPACE, complaint)
    if "busy" in complaint:
        raise EngineError(Fault.CONFLICT, complaint)
    raise EngineError(Fault.ENGINE, f"{command[0]}: {complaint}")
