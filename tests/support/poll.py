"""Waiting for what must become true, with a deadline instead of a sleep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T], seconds: float = 15.0, every: float = 0.05) -> T:
    """The first truthy value of `check()`; AssertionError with the last value or exception after the deadline."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    last: object = None
    while True:
        try:
            value = check()
            if value:
                return value
            last = value
        except Exception as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {seconds} s; last: {last!r}")
        pause.wait(every)
