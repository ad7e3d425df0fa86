"""The worker's log lines: one a record, readable by people and by machines."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from worker.journal import JsonFormat, TextFormat, set_up

FIELDS = {
    "service": "ns/web",
    "instance": "web.0",
    "action": "launch",
    "reason": "slot 0 has no instance",
    "seconds": 0.25,
    "outcome": "ok",
}


def record(message: str = "action", **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("skylark.reconciler", logging.INFO, "x.py", 1, message, (), extra.pop("exc_info", None))
    made.created = 1767323045.678
    made.__dict__.update(extra)
    return made


def test_text_line_tells_the_fields_in_order() -> None:
    assert TextFormat().format(record(fields=FIELDS)) == (
        "2026-01-02T03:04:05.678Z INFO action service=ns/web instance=web.0 action=launch "
        'reason="slot 0 has no instance" seconds=0.25 outcome=ok'
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("two\nlines", '"two\\nlines"'),
        ("back\rwards", '"back\\rwards"'),
        ("\x1b[31mred", '"\\u001b[31mred"'),
        ("tab\there", '"tab\\there"'),
        ("Käse", "Käse"),
        (None, "None"),
    ],
)
def test_text_value_that_could_mislead_is_quoted(value: Any, written: str) -> None:
    assert TextFormat().format(record(fields={"reason": value})).endswith(f" action reason={written}")


def test_text_record_stays_one_line_whatever_its_message() -> None:
    assert "\n" not in TextFormat().format(record("two\nlines\r\x1b[0m"))


def test_traceback_follows_its_line() -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        text = TextFormat().format(record("failed", exc_info=sys.exc_info()))

    assert text.splitlines()[0].endswith("INFO failed")
    assert text.splitlines()[-1] == "ValueError: wrong"


def test_json_line_is_one_object_with_the_fields_beside_the_message() -> None:
    line = JsonFormat().format(record(fields=FIELDS))

    assert "\n" not in line
    assert json.loads(line) == {
        "at": "2026-01-02T03:04:05.678Z",
        "level": "INFO",
        "logger": "skylark.reconciler",
        "message": "action",
        **FIELDS,
    }


def test_json_line_takes_a_traceback_and_any_value_along() -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        line = JsonFormat().format(record("failed", fields={"path": object}, exc_info=sys.exc_info()))

    entry = json.loads(line)
    assert "ValueError: wrong" in entry["traceback"]
    assert "object" in entry["path"]


@pytest.mark.parametrize(("name", "kind"), [("text", TextFormat), ("json", JsonFormat)])
def test_setting_chooses_the_format(name: str, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    level = root.level
    set_up(name, "WARNING")
    formatter, new_level = root.handlers[0].formatter, root.level
    root.setLevel(level)

    assert isinstance(formatter, kind)
    assert new_level == logging.WARNING
