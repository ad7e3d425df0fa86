"""The `skylark` command: run everything, or one part of it, and show what one needs to get in."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import NoReturn

from sqlalchemy.exc import SQLAlchemyError

from orchestrator.ingress.machine import find_haproxy
from orchestrator.ingress.process import Master
from orchestrator.ingress.runtime import ProxyError
from orchestrator.settings import Settings, SettingsError, read_settings
from orchestrator.store import database
from orchestrator.store.lease import is_led
from worker.supervisor import say, supervise


class CliError(Exception):
    """Nothing can be run as things stand; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command's exit status: 0, 1 when it cannot run, 2 for wrong settings or arguments."""
    parser = argparse.ArgumentParser(prog="skylark", description="A container platform for one Docker host.")
    commands = parser.add_subparsers(title="commands", metavar="command", required=True)
    for function in (run, migrate, token, api, worker, stop_proxy, version):
        text = (function.__doc__ or "").splitlines()[0]
        name = function.__name__.replace("_", "-")
        commands.add_parser(name, help=text, description=text).set_defaults(function=function)
    function = parser.parse_args(argv).function
    try:
        return int(function())
    except SettingsError as error:
        say(f"wrong setting: {error}")
        return 2
    except (CliError, ProxyError, OSError) as error:
        say(str(error))
        return 1


def run() -> int:
    """Bring the database up to date, then run API and worker in the foreground."""
    settings = read_settings()
    address = _address(settings.api_bind)
    _check_free(address, settings.api_bind)
    _migrate(settings)
    say(f"installation {settings.installation}, state in {settings.home}")
    url = "http://{}:{}".format(*_reachable(address))
    return supervise(
        {"API": _api_command(settings), "worker": _worker_command()},
        ready=lambda: _connects(address),
        on_ready=lambda: _welcome(settings, url),
        what_stays=_what_stays(settings),
    )


def migrate() -> int:
    """Bring the database up to date."""
    _migrate(read_settings())
    say("the database is up to date")
    return 0


def token() -> int:
    """Print the admin token."""
    print(read_settings().admin_token)
    return 0


def api() -> int:
    """Run the API alone."""
    return _become(_api_command(read_settings()))


def worker() -> int:
    """Run the worker alone."""
    return _become(_worker_command())


def stop_proxy() -> int:
    """End the proxy that a stopped Skylark has left serving."""
    settings = read_settings()
    proxy = Master(settings.home / "haproxy", find_haproxy())
    if not proxy.processes():
        say("no proxy is running")
        return 0
    if _is_led(settings):
        raise CliError("a worker is running and would start the proxy again: stop Skylark first")
    proxy.end()
    say("the proxy has ended: nothing is routed until Skylark runs again")
    return 0


def version() -> int:
    """Print the version."""
    print(metadata.version("skylark"))
    return 0


def _welcome(settings: Settings, url: str) -> None:
    say(f"API on {url}/v1/ (documentation: {url}/docs); admin token {_token_place(settings)}")
    if settings.proxy == "haproxy":
        host = f"SERVICE-NAMESPACE.{settings.base_domain}"
        say(f"HTTP of your services on http://127.0.0.1:{settings.http_port}/ by host name ({host})")


def _what_stays(settings: Settings) -> str:
    if settings.proxy == "haproxy":
        return "the containers of your services and the proxy go on serving (`skylark stop-proxy` ends the proxy)"
    return "the containers of your services go on running"


def _is_led(settings: Settings) -> bool:
    engine = database.make_engine(settings.sqlalchemy_url)
    try:
        return is_led(database.make_sessions(engine), datetime.now(UTC))
    except SQLAlchemyError as error:
        raise CliError(f"whether a worker is running can't be known: {error}") from error
    finally:
        engine.dispose()


def _migrate(settings: Settings) -> None:
    try:
        database.migrate(settings.sqlalchemy_url)
    except SQLAlchemyError as error:
        raise CliError(f"cannot bring the database up to date: {error}") from error


def _api_command(settings: Settings) -> list[str]:
    server = [sys.executable, "-m", "gunicorn", "--config", "python:api.gunicorn_conf"]
    return [*server, "--bind", settings.api_bind, "api.wsgi:create()"]


def _worker_command() -> list[str]:
    return [sys.executable, "-m", "worker"]


def _become(command: list[str]) -> NoReturn:
    os.execv(command[0], command)


def _address(bind: str) -> tuple[str, int]:
    """`host:port` in two; the host of `[::1]:8000` is `::1`."""
    host, _, port = bind.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise SettingsError(f"SKYLARK_API_BIND: {bind!r} is not allowed; host:port")
    return host.strip("[]") or "0.0.0.0", int(port)


def _reachable(address: tuple[str, int]) -> tuple[str, int]:
    """Where a client on this machine reaches what listens on `address`."""
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return (f"[{host}]" if ":" in host else host), port


def _check_free(address: tuple[str, int], bind: str) -> None:
    """Raise CliError when something listens there already."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise CliError(
                f"cannot listen on {bind}: {error.strerror}. Is Skylark running already? "
                "SKYLARK_API_BIND=host:port chooses another address"
            ) from error


def _connects(address: tuple[str, int]) -> bool:
    host, port = _reachable(address)
    try:
        socket.create_connection((host.strip("[]"), port), timeout=1).close()
    except OSError:
        return False
    return True


def _token_place(settings: Settings) -> str:
    return "as SKYLARK_ADMIN_TOKEN says" if os.environ.get("SKYLARK_ADMIN_TOKEN") else f"in {settings.home}/admin_token"


if __name__ == "__main__":
    sys.exit(main())
