"""A steady load by wrk: a bounded rate, kept and fresh connections, and every failure counted."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# wrk's own summary; `delay` makes each connection wait between two requests, so that the load is steady, not full
_SCRIPT = """\
local pause = %d
function delay() return pause end
function done(s, latency, requests)
  local e = s.errors
  io.write(string.format('\\nJSON{"requests":%%d,"status":%%d,"connect":%%d,"read":%%d,"write":%%d,"timeout":%%d,' ..
    '"slowest_ms":%%.1f,"seconds":%%.3f}\\n', s.requests, e.status, e.connect, e.read, e.write, e.timeout,
    latency.max / 1000, s.duration / 1e6))
end
"""


@dataclass
class Answers:
    """What wrk saw. `failed`: answers of 400 and more, and every kind of broken or timed out connection."""

    requests: int = 0
    failed: int = 0
    slowest_ms: float = 0.0
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds if self.seconds else 0.0

    def take(self, text: str) -> None:
        """Add the summary of one wrk."""
        found = json.loads(text.rpartition("JSON")[2])
        self.requests += found["requests"]
        self.failed += sum(found[kind] for kind in ("status", "connect", "read", "write", "timeout"))
        self.slowest_ms = max(self.slowest_ms, found["slowest_ms"])
        self.seconds = max(self.seconds, found["seconds"])


def _wrk(folder: Path, url: str, host: str, connections: int, pause_ms: int, seconds: int, *header: str) -> list[str]:
    script = folder / f"wrk-{pause_ms}.lua"
    text = _SCRIPT % pause_ms
    script.write_text(text if pause_ms else text.replace("function delay() return pause end\n", ""))
    options = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s", "-s", str(script)]
    headers = [word for line in (f"Host: {host}", *header) for word in ("-H", line)]
    return ["wrk", *options, *headers, url]


@contextmanager
def steady(folder: Path, url: str, host: str) -> Iterator[Answers]:
    """About 1,000 requests/s while the block runs: 16 kept connections, and 4 that are new with each request."""
    answers = Answers()
    commands = [_wrk(folder, url, host, 16, 18, 600), _wrk(folder, url, host, 4, 20, 600, "Connection: close")]
    loads = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    try:
        time.sleep(1.0)
        yield answers
        time.sleep(1.0)
    finally:
        for load in loads:
            load.send_signal(signal.SIGINT)
        texts = [load.communicate(timeout=30)[0] for load in loads]
    for text in texts:
        answers.take(text)


def full(folder: Path, url: str, host: str, seconds: int, connections: int = 32) -> Answers:
    """As many requests as it gives."""
    answers = Answers()
    command = _wrk(folder, url, host, connections, 0, seconds)
    answers.take(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return answers
