"""The proxy's files in their folder: the last good ones, each replaced at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from orchestrator.ingress.render import (
    CONFIG,
    ProxySettings,
    Rendered,
    render,
    tcp_listener,
    without_frontends,
)
from orchestrator.ingress.routes import Listener, RouteTable


class ProxyFiles:
    """haproxy.cfg and the maps and lists it names. They hold what HAProxy starts with; servers are in them too."""

    def __init__(self, folder: Path, settings: ProxySettings) -> None:
        self._folder = folder
        self._settings = settings

    def render(self, table: RouteTable) -> Rendered:
        """The files of a table."""
        return render(table, self._settings, str(self._folder))

    def ensure(self) -> None:
        """An empty table's files where there are none, or where they were made with other settings (ports, limits)."""
        self._folder.mkdir(parents=True, exist_ok=True)
        empty = self.render(RouteTable())
        frame = {line for line in empty.files[CONFIG].splitlines() if not line.startswith("    description ")}
        config = self._folder / CONFIG
        if not config.exists() or not frame <= set(config.read_text().splitlines()):
            self.write(empty)

    def listeners(self) -> list[Listener]:
        """What the kept configuration's TCP routes listen on."""
        names = re.findall(r"(?m)^frontend (\S+)", self.config())
        return [listener for listener in map(tcp_listener, names) if listener is not None]

    def leave_out(self, listeners: Iterable[Listener]) -> None:
        """Take these TCP routes out of the kept configuration."""
        self.write_config(without_frontends(self.config(), listeners))

    def config(self) -> str:
        """The kept configuration's text."""
        return (self._folder / CONFIG).read_text()

    def write_config(self, text: str) -> None:
        """Keep this configuration instead."""
        _write_atomically(self._folder / CONFIG, text)

    def write(self, rendered: Rendered) -> None:
        """Keep all of these; the configuration comes last, after what it names."""
        for name, text in rendered.files.items():
            _write_atomically(self._folder / name, text)
        for path in self._folder.glob("sources-*.acl"):
            if path.name not in rendered.files:
                path.unlink()


def _write_atomically(path: Path, text: str) -> None:
    """Nobody ever reads half a file; an equal one is left alone."""
    if path.exists() and path.read_text() == text:
        return
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
