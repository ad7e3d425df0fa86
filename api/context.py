"""What every view needs, made once by `create_app` and found through the running application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from flask import current_app
from sqlalchemy.orm import Session

from api.followers import Followers
from api.following import Tail
from orchestrator.logs.lines import LogReader, StoredLine
from orchestrator.metrics.query_points import MetricReader
from orchestrator.settings import Settings
from orchestrator.spec import Rules
from orchestrator.store.records import EventRecord

EXTENSION = "skylark"


@dataclass(frozen=True)
class Context:
    """Settings and connectors of one application. `session()` belongs to the request in hand."""

    settings: Settings
    session: Callable[[], Session]
    log_store: LogReader
    metrics: MetricReader
    log_tail: Tail[StoredLine]
    event_tail: Tail[EventRecord]
    followers: Followers
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
