"""The kernel's control group files, versions 1 and 2: where a container's are, and what stands in them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# v1 mounts CPU accounting by itself or together with the scheduler; the engine follows whichever there is
_V1_CPU_FOLDERS = ("cpuacct", "cpu,cpuacct")


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one container. `members`: the folder whose cgroup.procs lists its processes."""

    version: int
    cpu: str
    memory_usage: str
    memory_stat: str
    members: str


def places(root: str, version: int, container_id: str) -> tuple[Places, ...]:
    """Where the engine may have put the container, by its cgroup driver: cgroupfs, then systemd.

    Example on v1: /sys/fs/cgroup/memory/docker/<id> or /sys/fs/cgroup/memory/system.slice/docker-<id>.scope.
    """
    names = (f"docker/{container_id}", f"system.slice/docker-{container_id}.scope")
    if version == 2:
        return tuple(_v2(f"{root}/{name}") for name in names)
    return tuple(_v1(f"{root}/{cpu}/{name}", f"{root}/memory/{name}") for cpu in _V1_CPU_FOLDERS for name in names)


def cpu_ns(version: int, text: bytes) -> int:
    """CPU time used so far. v1: cpuacct.usage, the number itself; v2: cpu.stat, `usage_usec`. Raises ValueError."""
    return int(text) if version == 1 else entry(text, b"usage_usec") * 1000


def memory_bytes(version: int, usage: bytes, stat: bytes) -> int:
    """Memory in use without the file cache that the kernel would give back first, as `docker stats` counts.

    Worked example: 90 MiB charged, of them 60 MiB of a file read once -> 30 MiB. The two files are read one after
    the other, so the cache may seem to be more than all there is: then it says nothing, and all counts.
    """
    charged = int(usage)
    cache = entry(stat, b"total_inactive_file" if version == 1 else b"inactive_file")
    return charged - cache if cache < charged else charged


def entry(text: bytes, name: bytes) -> int:
    """The number of a line `name number`. Raises ValueError when there is none."""
    at = 0 if text.startswith(name + b" ") else text.find(b"\n" + name + b" ") + 1
    if at == 0 and not text.startswith(name + b" "):
        raise ValueError(f"no {name.decode()} in {text[:60]!r}")
    return int(text[at + len(name) : at + len(name) + 24].split(None, 1)[0])


def process_ids(text: bytes) -> list[int]:
    """The processes of a cgroup.procs file. 0 is one that this process cannot see, and is left out."""
    return [pid for pid in map(int, text.split()) if pid]


def _v1(cpu: str, memory: str) -> Places:
    return Places(1, f"{cpu}/cpuacct.usage", f"{memory}/memory.usage_in_bytes", f"{memory}/memory.stat", cpu)


def _v2(folder: str) -> Places:
    return Places(2, f"{folder}/cpu.stat", f"{folder}/memory.current", f"{folder}/memory.stat", folder)
