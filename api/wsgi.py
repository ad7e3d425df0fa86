"""The door for WSGI servers: `api.wsgi:create()`, or `api.wsgi:app` made when it is first asked for."""

from __future__ import annotations

import logging
import sys
from typing import Any

from flask import Flask

from api.app import create_app
from orchestrator.settings import read_settings


def create() -> Flask:
    """The application for the settings of the environment. Raises SettingsError."""
    settings = read_settings()
    logging.basicConfig(
        stream=sys.stderr, level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    return create_app(settings)


def __getattr__(name: str) -> Any:
    if name == "app":
        return create()
    raise AttributeError(name)
