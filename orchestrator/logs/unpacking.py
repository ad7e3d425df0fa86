"""Unpacking what is stored: a chunk whose bytes were changed is told of once and left out, whoever meets it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from orchestrator.logs.chunks import Chunk

Unpack = Callable[[int, int, bytes, bytes | None], Chunk | None]  # `Unpacker.chunk` for one partition
_logger = logging.getLogger(__name__)


class Unpacker:
    """Unpacks an archive's chunks, for any number of threads. Remembers of which damaged ones it has told."""

    def __init__(self) -> None:
        self._told: set[tuple[Path, int]] = set()

    def chunk(self, path: Path, number: int, min_ns: int, head: bytes, text: bytes | None) -> Chunk | None:
        """Chunk `number` of the partition at `path`, with `text` None its head alone; None: it is damaged."""
        try:
            found = Chunk(min_ns, head, text or b"")
            if text is not None:
                found.text  # noqa: B018  (unpack now, where a fault is met)
            return found
        except Exception as error:  # whatever unpacking says of bytes that are not what was packed
            self._tell(path, number, error)
            return None

    def _tell(self, path: Path, number: int, error: Exception) -> None:
        if (path, number) not in self._told:
            self._told.add((path, number))
            _logger.error("log store: chunk %d of %s is damaged, its lines are left out: %s", number, path.name, error)
