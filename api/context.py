"""What every view needs, made once by `create_app` and found through the running application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, cast

from flask import current_app
from sqlalchemy.orm import Session

from orchestrator.logs.store import StoredLine
from orchestrator.settings import Settings
from orchestrator.spec import Rules

EXTENSION = "skylark"


class LogReader(Protocol):
    """The part of the log store that the API uses."""

    def read(
        self, service_uuid: str, start_ns: int, end_ns: int, *, instance_uuid: str | None = None
    ) -> Iterator[StoredLine]:
        """Lines of a service in [start_ns, end_ns], oldest first."""


@dataclass(frozen=True)
class Context:
    """Settings and connectors of one application. `session()` belongs to the request in hand."""

    settings: Settings
    session: Callable[[], Session]
    log_store: LogReader
    wake: Callable[[str], None]  # service uuid -> tell the worker to look now, best effort
    now: Callable[[], datetime]
    new_uuid: Callable[[], str]
    choose_port: Callable[[], int]

    @property
    def rules(self) -> Rules:
        """What this installation allows in a spec."""
        return Rules(tuple(self.settings.sizes), tuple(self.settings.regions), self.settings.default_region)


def context() -> Context:
    """The running application's context."""
    return cast(Context, current_app.extensions[EXTENSION])
