"""Instance sizes: how much CPU and memory each word of the contract means."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Size:
    """Limits of one instance: `cpus` in cores, memory in bytes."""

    cpus: float
    memory_bytes: int


# API-CONTRACT section 0.10; an operator can change the numbers, never the words (a client crashes on unknown ones)
DEFAULT_SIZES = {
    "XXS": Size(0.125, 256 * MIB),
    "XS": Size(0.25, 512 * MIB),
    "S": Size(0.5, 1024 * MIB),
    "M": Size(1.0, 2048 * MIB),
    "L": Size(2.0, 4096 * MIB),
    "XL": Size(4.0, 8192 * MIB),
}
