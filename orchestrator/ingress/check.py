"""Lets `haproxy -c` judge a configuration, and finds the one part that it refuses so that the others go in."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.ingress.process import faults
from orchestrator.ingress.render import CONFIG, ProxySettings, render
from orchestrator.ingress.routes import Backend, RouteTable, without
from orchestrator.ingress.runtime import ProxyError

Check = Callable[[RouteTable], str]  # "" when accepted, else the reason

_CHECK_SECONDS = 30.0


def haproxy_check(settings: ProxySettings, folder: Path, program: str) -> Check:
    """A check by the real program, of files written beside those in use."""

    def check(table: RouteTable) -> str:
        draft = Path(tempfile.mkdtemp(prefix=".", dir=folder))
        try:
            for name, text in render(table, settings, str(draft)).files.items():
                (draft / name).write_text(text)
            done = subprocess.run(
                [program, "-c", "-f", str(draft / CONFIG)], capture_output=True, text=True, timeout=_CHECK_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProxyError(f"{program} can't check its configuration: {error}") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return "" if done.returncode == 0 else faults(done.stderr).replace(f"{draft}/", "")

    return check


def sift(table: RouteTable, check: Check) -> tuple[RouteTable, dict[str, str]]:
    """(the table without what is refused, backend key -> reason). One check when all is well.

    Halves are added to what was accepted before, so that one culprit of n costs about 2 log2(n) checks, and what is
    refused only in company is found too. A backend whose servers are the fault stays, without them: its host answers
    that nothing is ready. Raises ProxyError when even an empty table is refused.
    """
    whole = check(table)
    if not whole:
        return table, {}
    empty = check(RouteTable())
    if empty:
        raise ProxyError(f"the proxy refuses its own frame: {empty}")
    refused: dict[str, str] = {}
    accepted = _add((), table.backends, table, check, whole, refused)
    return _only(table, accepted), refused


def _add(
    accepted: tuple[Backend, ...],
    more: Sequence[Backend],
    table: RouteTable,
    check: Check,
    reason: str,
    refused: dict[str, str],
) -> tuple[Backend, ...]:
    """`accepted` and those of `more` that go with it; `reason`: why not all of them."""
    if len(more) == 1:
        refused[more[0].key] = reason
        bare = (*accepted, replace(more[0], servers=()))
        return bare if not check(_only(table, bare)) else accepted
    middle = len(more) // 2
    for half in (more[:middle], more[middle:]):
        reason = check(_only(table, (*accepted, *half)))
        accepted = _add(accepted, half, table, check, reason, refused) if reason else (*accepted, *half)
    return accepted


def _only(table: RouteTable, backends: tuple[Backend, ...]) -> RouteTable:
    """The table with these backends and the routes to them."""
    kept = {backend.key for backend in backends}
    rest = without(table, backends=[b.key for b in table.backends if b.key not in kept])
    return replace(rest, backends=tuple(sorted(backends, key=lambda b: b.key)))
