"""The API's composition: settings and connectors in, a Flask application out. Nothing runs beside it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask
from flask_openapi3 import OpenAPI
from flask_sqlalchemy import SQLAlchemy

from api import auth, errors, openapi
from api.context import EXTENSION, Context
from api.event_questions import event_tail
from api.followers import Followers
from api.log_questions import log_tail
from api.models import ErrorAnswer
from api.routes import autoscaling, details, health, login, logs, metrics, operators, prometheus, services
from api.wakeup import Wakeup
from orchestrator.endpoints import SERVICE_PORTS
from orchestrator.logs.archive import LogArchive
from orchestrator.logs.lines import LogReader
from orchestrator.metrics.query_points import MetricReader
from orchestrator.metrics.store import MetricStore
from orchestrator.settings import Settings
from orchestrator.store.database import apply_sqlite_pragmas, make_sessions
from orchestrator.store.schema import Base

MAX_BODY_BYTES = 1024 * 1024


def create_app(
    settings: Settings,
    *,
    log_store: LogReader | None = None,
    wake: Callable[[str], None] | None = None,
    now: Callable[[], datetime] | None = None,
    choose_port: Callable[[], int] | None = None,
    followers: Followers | None = None,
    metric_store: MetricReader | None = None,
) -> Flask:
    """The application. The database must have its tables (`migrate`); the connectors default to the real ones."""
    app = OpenAPI(
        "skylark",
        info=openapi.INFO,
        security_schemes=openapi.SECURITY,
        validation_error_status=400,
        validation_error_model=ErrorAnswer,
        validation_error_callback=errors.refuse_parameters,
        doc_ui=False,
        static_folder=None,
    )
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_BODY_BYTES,
        SQLALCHEMY_DATABASE_URI=settings.sqlalchemy_url,
    )
    app.url_map.strict_slashes = False  # every path answers with and without a slash, and never redirects
    app.url_map.merge_slashes = False
    database = SQLAlchemy(app, metadata=Base.metadata, session_options={"expire_on_commit": False})
    with app.app_context():
        apply_sqlite_pragmas(database.engine)
        sessions = make_sessions(database.engine)  # for the thread that follows the events
    reader = log_store or LogArchive(settings.log_folder, max_bytes=None, service_max_bytes=None)
    app.extensions[EXTENSION] = Context(
        settings=settings,
        session=database.session,
        log_store=reader,
        log_tail=log_tail(reader),
        event_tail=event_tail(sessions),
        followers=followers or Followers(),
        metrics=metric_store or _metric_store(settings),
        wake=wake or Wakeup(settings.wake_socket),
        now=now or (lambda: datetime.now(UTC)),
        new_uuid=lambda: str(uuid.uuid4()),
        choose_port=choose_port or (lambda: random.choice(SERVICE_PORTS)),
    )
    app.before_request(auth.require_token)
    errors.install(app)
    for module in (services, autoscaling, details, logs, metrics, operators, login, health, prometheus):
        app.register_api(module.blueprint)
    openapi.install(app, settings)
    return app


def _metric_store(settings: Settings) -> MetricStore:
    return MetricStore(
        settings.metric_folder,
        raw_hours=settings.metric_raw_hours,
        rollup_days=settings.metric_rollup_days,
        max_bytes=settings.metric_max_mb * 1024 * 1024,
    )
