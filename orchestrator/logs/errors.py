"""What can go wrong with the log store, in the collectors' and the API's words."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class LogStoreError(Exception):
    """The log store could not be written or read. Nothing of the batch was stored; it may be tried again as it is."""


class LogStoreFull(LogStoreError):
    """No room: the disk is full, or the store is above its `max_bytes` and upkeep does not come."""


def fault(error: sqlite3.Error | OSError) -> LogStoreError:
    """The database's or the file system's fault as ours."""
    if isinstance(error, OSError):
        kind = LogStoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else LogStoreError
        return kind(f"log store: {error.strerror}")
    code = getattr(error, "sqlite_errorcode", 0)
    full = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
    return (LogStoreFull if full else LogStoreError)(f"log store: {error}")


def is_damage(error: BaseException) -> bool:
    """Whether the file itself is broken, so that trying again is of no use."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


@contextmanager
def faults() -> Iterator[None]:
    """Whatever the database or the file system meets inside, as ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise fault(error) from error
