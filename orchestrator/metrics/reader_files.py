"""Reads what containers use from the kernel's own files: for an engine on this machine, by far the cheapest way."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

from orchestrator.metrics.cgroups import Places, cpu_ns, memory_bytes, places, process_ids
from orchestrator.metrics.deltas import Look
from orchestrator.metrics.interfaces import Network, network_counters
from orchestrator.metrics.samples import Reading

_PART = 65536  # bytes
_TRIED_PIDS = 3


class CgroupReader:
    """`read` answers for those containers whose files are found; safe for one thread.

    Files are opened anew each time: kept ones would save 10 ms of CPU for 300 containers, but 1,500 descriptors,
    and an open net/dev keeps the network of an ended container alive.
    """

    def __init__(self, cgroups: Path = Path("/sys/fs/cgroup"), processes: Path = Path("/proc")) -> None:
        self._root = str(cgroups)
        self._processes = str(processes)
        self._places: dict[str, Places] = {}
        self._pids: dict[str, int] = {}  # a process of the container, as seen last time

    def read(self, container_ids: Collection[str]) -> dict[str, Look]:
        """By container id. Those that have no files, or are just ending, are left out."""
        self._places = {i: self._places[i] for i in container_ids if i in self._places}
        self._pids = {i: self._pids[i] for i in container_ids if i in self._pids}
        version = 2 if os.path.exists(f"{self._root}/cgroup.controllers") else 1
        found = {}
        for container_id in container_ids:
            look = self._look(container_id, version)
            if look is not None:
                found[container_id] = look
        return found

    def _look(self, container_id: str, version: int) -> Look | None:
        place = self._places.get(container_id)
        for candidate in (place,) if place else places(self._root, version, container_id):
            try:
                cpu = cpu_ns(candidate.version, _text(candidate.cpu))
                at_seconds, at_ms = time.monotonic(), time.time_ns() // 1_000_000
                usage, stat = _text(candidate.memory_usage), _text(candidate.memory_stat)
                memory = memory_bytes(candidate.version, usage, stat)
                network = self._network(container_id, candidate)
            except (OSError, ValueError):  # not there, or gone while it was read
                continue
            self._places[container_id] = candidate
            return Look(Reading(at_ms, cpu, memory, *network), at_seconds)
        self._places.pop(container_id, None)
        return None

    def _network(self, container_id: str, place: Places) -> Network:
        """The counters that a process of the container sees. Raises OSError when it has none any more.

        A number may have passed on to a process of somebody else: what was read counts only if the process is in
        the container's cgroup *after* the reading.
        """
        pid = self._pids.get(container_id)
        tried: list[int] = []
        if pid is None:
            pid = next(iter(self._members(place)), None)
        while pid is not None and len(tried) < _TRIED_PIDS:
            tried.append(pid)
            try:
                text = _text(f"{self._processes}/{pid}/net/dev")
            except OSError:
                text = b""
            members = self._members(place)
            if text and pid in members:
                self._pids[container_id] = pid
                return network_counters(text)
            pid = next((member for member in members if member not in tried), None)
        raise ProcessLookupError(f"no process of container {container_id[:12]} can be seen")

    def _members(self, place: Places) -> list[int]:
        """Its processes; where it made groups of its own (v2: a group has members or children) those of one of them."""
        members = process_ids(_text(f"{place.members}/cgroup.procs"))
        if members:
            return members
        for folder, _, files in os.walk(place.members):
            if folder != place.members and "cgroup.procs" in files:
                members = process_ids(_text(f"{folder}/cgroup.procs"))
                if members:
                    return members
        return []


def _text(path: str) -> bytes:
    """The whole file: the kernel may hand out a long table in several parts."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = b""
        while part := os.read(file, _PART):
            text += part
        return text
    finally:
        os.close(file)
