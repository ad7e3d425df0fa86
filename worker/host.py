"""What the worker knows of the hosts of its engines."""

from __future__ import annotations

from pathlib import Path

from orchestrator.capacity import memory_available

MEMINFO = Path("/proc/meminfo")


def free_memory(engine_url: str) -> int | None:
    """Bytes that the engine's host has available: of this host for an engine on a unix socket, else not known."""
    if not engine_url.startswith(("unix://", "http+unix://")):
        return None
    try:
        return memory_available(MEMINFO.read_text())
    except OSError:
        return None
