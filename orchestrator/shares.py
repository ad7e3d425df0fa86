"""A part of a pass - one service's, that of all engines, that of strays: its rows and jobs stand or fall together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from orchestrator.decision import Write
from orchestrator.jobs import Job
from orchestrator.status import Status
from orchestrator.store.pass_writes import PassWrites
from orchestrator.store.passes import Loaded, Unreadable

log = logging.getLogger("skylark.reconciler")


@dataclass
class Share:
    """What a pass writes, and what it does once that stands."""

    name: str
    writes: list[Write] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)

    def write(self, session: Session, writes: PassWrites) -> bool:
        """Whether all its rows stand; else none does."""
        return write_apart(session, self.name, partial(_write_all, self.writes, writes))


def write_apart(session: Session, name: str, write: Callable[[], None]) -> bool:
    """Whether `write` succeeded. A failing database fails the pass; any other fault costs this part only."""
    try:
        with session.begin_nested():
            write()
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("can't be recorded: %s", name)
        return False
    return True


def internal_error(fault: str) -> Status:
    """What a user reads of a service that can't be planned for."""
    return Status("Error", False, f"internal error, the worker's log tells more: {fault}")


def unplanned(service: Loaded | Unreadable, generation: int, fault: str, error: Exception | None = None) -> Share:
    """The share of a service that can't be planned for: its status and the log say so, once."""
    told = internal_error(fault)
    if service.shown == told and service.observed_generation == generation:
        return Share(service.full_name)
    log.error("planning failed: %s: %s", service.full_name, fault, exc_info=error)
    return Share(service.full_name, [lambda w: w.set_status(service.uuid, generation, told)])


def describe(error: Exception) -> str:
    """The fault in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _write_all(parts: list[Write], writes: PassWrites) -> None:
    for write in parts:
        write(writes)
