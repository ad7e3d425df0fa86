"""Whether a host takes another instance: the operator's limits, and the memory that the host has left. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What the operator allows on one engine. `memory_bytes`: of the sizes of all instances together; None: no limit.

    `reserve_bytes`: what the host itself keeps, whatever instances want.
    """

    instances: int
    memory_bytes: int | None
    reserve_bytes: int


@dataclass(frozen=True)
class Occupied:
    """What is taken on one engine: living instances, and the memory that their sizes allow them together."""

    instances: int = 0
    memory_bytes: int = 0

    def with_one(self, size_bytes: int) -> Occupied:
        """One instance more."""
        return Occupied(self.instances + 1, self.memory_bytes + size_bytes)


def room(
    limits: Limits, occupied: Occupied, size_bytes: int, free_bytes: int | None, need_bytes: int = 0
) -> tuple[int, str]:
    """How many more instances of `size_bytes` there is room for, and what limits it, as an operator reads it.

    `free_bytes`: memory that the host has available, None where it can't be known. `need_bytes`: what such an instance
    is expected to use at once; its size is only what it may use at most, and most use a fraction of it, so a host is
    not full when the sizes add up to more than it has - unless its operator says so by `memory_bytes`.

    Worked example: 10 instances allowed and 8 there, 1 GiB free, 256 MiB of it reserved, 500 MiB expected for each:
    the limit leaves 2, the memory 1 (768 // 500), so the answer is 1, "the host has 1024 MB free, ...".
    """
    found = [
        (
            limits.instances - occupied.instances,
            f"{occupied.instances} of {limits.instances} instances are there (SKYLARK_CAPACITY_INSTANCES)",
        )
    ]
    if limits.memory_bytes is not None:
        left = limits.memory_bytes - occupied.memory_bytes
        reason = (
            f"sizes add up to {_mb(occupied.memory_bytes)} of {_mb(limits.memory_bytes)}, and another takes "
            f"{_mb(size_bytes)} (SKYLARK_CAPACITY_MEMORY_MB)"
        )
        found.append((left // size_bytes, reason))
    if free_bytes is not None:
        left = free_bytes - limits.reserve_bytes
        needs = f", and another needs about {_mb(need_bytes)}" if need_bytes else ""
        reason = f"the host has {_mb(free_bytes)} of memory free, {_mb(limits.reserve_bytes)} are its own{needs}"
        # without an expectation there is room as long as the reserve is untouched: one at a time, and looked at again
        found.append((left // need_bytes if need_bytes else int(left > 0) * limits.instances, reason))
    number, reason = min(found, key=lambda each: each[0])
    return max(0, number), reason


def memory_available(meminfo: str) -> int | None:
    """Bytes that processes can still get, out of the text of /proc/meminfo; None when it does not tell."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


class Tally:
    """Grants places of one engine within one pass, so that what is granted to one service is taken for the next."""

    def __init__(self, limits: Limits, occupied: Occupied, free_bytes: int | None) -> None:
        self._limits = limits
        self._occupied = occupied
        self._free_bytes = free_bytes

    def grant(self, size_bytes: int) -> str:
        """ "" when there is room for one more, which is taken now; else why not."""
        number, reason = room(self._limits, self._occupied, size_bytes, self._free_bytes)
        if number < 1:
            return f"limited by capacity: {reason}"
        self._occupied = self._occupied.with_one(size_bytes)
        return ""


def add_up(sizes: Mapping[str, int], counts: Mapping[str, int], fallback_bytes: int) -> Occupied:
    """What so many instances of these sizes take. `sizes`: bytes by name; `counts`: instances by name.

    A size that the operator has taken out of the table since counts as `fallback_bytes`.
    """
    memory = sum(sizes.get(name, fallback_bytes) * number for name, number in counts.items())
    return Occupied(sum(counts.values()), memory)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes // MIB} MB"
