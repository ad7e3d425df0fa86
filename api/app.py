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
from api.context import EXTENSION, Context, LogReader
from api.models import ErrorAnswer
from api.routes import details, health, login, operators, services
from api.wakeup import Wakeup
from orchestrator.endpoints import SERVICE_PORTS
from orchestrator.logs.store import LogStore
from orchestrator.settings import Settings
from orchestrator.store.database import apply_sqlite_pragmas
from orchestrator.store.schema import Base

MAX_BODY_BYTES = 1024 * 1024


def create_app(
    settings: Settings,
    *,
    log_store: LogReader | None = None,
    wake: Callable[[str], None] | None = None,
    now: Callable[[], datetime] | None = None,
    choose_port: Callable[[], int] | None = None,
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
    app.extensions[EXTENSION] = Context(
        settings=settings,
        session=database.session,
        log_store=log_store or LogStore(settings.log_store_path),
        wake=wake or Wakeup(settings.wake_socket),
        now=now or (lambda: datetime.now(UTC)),
        new_uuid=lambda: str(uuid.uuid4()),
        choose_port=choose_port or (lambda: random.choice(SERVICE_PORTS)),
    )
    app.before_request(auth.require_token)
    errors.install(app)
    for module in (services, details, operators, login, health):
        app.register_api(module.blueprint)
    openapi.install(app, settings)
    return app
