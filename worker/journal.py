"""Log lines that an operator and a machine can both read: SKYLARK_LOG_FORMAT=text|json."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any


class TextFormat(logging.Formatter):
    """`2026-01-02T03:04:05.678Z INFO action service=ns/web instance=web.0 action=launch reason="..." ...`"""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback under it where there is one."""
        line = f"{_stamp(record)} {_said(record)}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormat(logging.Formatter):
    """One JSON object a line: at, level, logger, message, and the fields beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """Always one line."""
        entry = {
            "at": _stamp(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def one_line(record: logging.LogRecord) -> str:
    """The record as TextFormat has it, without its time; of a traceback only what it comes to in the end."""
    error = record.exc_info[1] if record.exc_info else None
    return _said(record) + (f" error={_quoted(f'{type(error).__name__}: {error}')}" if error else "")


def set_up(log_format: str, level: str) -> None:
    """Send all logs to standard error in this format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormat() if log_format == "json" else TextFormat())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return dict(getattr(record, "fields", {}))


def _said(record: logging.LogRecord) -> str:
    words = [record.levelname, _one_line(record.getMessage())]
    return " ".join(words + [f"{key}={_quoted(value)}" for key, value in _fields(record).items()])


def _stamp(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _quoted(value: Any) -> str:
    text = str(value)
    if text and text.isprintable() and not set(text) & set(' "='):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _one_line(text: str) -> str:
    """The text without anything that could end its line or move a terminal's cursor."""
    return text if text.isprintable() else json.dumps(text)[1:-1]
