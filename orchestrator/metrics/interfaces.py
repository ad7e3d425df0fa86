"""The counters of network interfaces, as /proc/<pid>/net/dev shows those of a process's network. Pure."""

from __future__ import annotations

from typing import NamedTuple

_RX_BYTES, _RX_ERRORS, _TX_BYTES, _TX_ERRORS = 0, 2, 8, 10  # columns behind the name


class Network(NamedTuple):
    """Counters over all interfaces but loopback."""

    rx_bytes: int = 0
    rx_errors: int = 0
    tx_bytes: int = 0
    tx_errors: int = 0


def network_counters(text: bytes) -> Network:
    """The sums of the table. Raises ValueError for what is no such table.

    The first two lines are its head. A large number may touch the name: `eth0:123456 7 ...`.
    """
    found = [0, 0, 0, 0]
    head, _, table = text.partition(b"\n")
    if b"Receive" not in head:
        raise ValueError(f"no table of interfaces: {text[:60]!r}")
    for line in table.splitlines()[1:]:
        name, colon, rest = line.partition(b":")
        if not colon or name.strip() == b"lo":
            continue
        columns = rest.split()
        if len(columns) <= _TX_ERRORS:
            raise ValueError(f"an interface without all its counters: {line!r}")
        for place, column in enumerate((_RX_BYTES, _RX_ERRORS, _TX_BYTES, _TX_ERRORS)):
            found[place] += int(columns[column])
    return Network(*found)
