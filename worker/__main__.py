"""The worker process: `python -m worker`. SIGTERM and SIGINT finish what is in hand and end it."""

from __future__ import annotations

import logging
import os
import signal
import sys

from orchestrator.ingress.runtime import ProxyError
from orchestrator.settings import SettingsError, read_settings
from orchestrator.store.database import migrate
from worker import journal
from worker.compose import EngineFactory, Worker, docker_engine


def main(engine_factory: EngineFactory = docker_engine) -> int:
    """Exit status 0 after a stop, 2 for wrong settings."""
    try:
        settings = read_settings()
    except SettingsError as error:
        print(f"wrong setting: {error}", file=sys.stderr)
        return 2
    journal.set_up(settings.log_format, settings.log_level)
    migrate(settings.sqlalchemy_url)
    try:
        worker = Worker(settings, engine_factory)
    except ProxyError as error:
        print(f"wrong setting: {error}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    worker.run()
    # All is recorded. A thread that still waits for a long pull or stop in the engine must not hold the process.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
