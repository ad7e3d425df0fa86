"""The shape of the house, read out of the source: who imports whom, what the deciders may know, what a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("orchestrator", "api", "worker")
MOST_LINES = 350
MOST_LINES_OF_A_TEST = 400  # tables of situations and golden values

# package: the packages it must not know
FOREIGN = {
    "orchestrator": ("api", "worker", "flask", "flask_openapi3", "flask_sqlalchemy", "apscheduler", "gunicorn"),
    "api": ("worker", "apscheduler", "docker", "orchestrator.engine.docker"),
    "worker": ("api", "flask", "flask_openapi3", "flask_sqlalchemy"),
}
# Deciders: the same arguments give the same answer, without the world.
DECIDERS = (
    "orchestrator/planner.py",
    "orchestrator/rollout.py",
    "orchestrator/autoscaler.py",
    "orchestrator/autoscaler_steps.py",
    "orchestrator/autoscaler_values.py",
    "orchestrator/autoscaler_window.py",
    "orchestrator/policy.py",
    "orchestrator/evaluation.py",
    "orchestrator/backoff.py",
    "orchestrator/status.py",
    "orchestrator/endpoints.py",
    "orchestrator/spec*.py",
    "orchestrator/actions.py",
    "orchestrator/state.py",
    "orchestrator/sizes.py",
    "orchestrator/engine/base.py",
    "orchestrator/engine/errors.py",
    "orchestrator/engine/container_config.py",
    "orchestrator/logs/resume.py",
    "orchestrator/links.py",
    "orchestrator/metrics/samples.py",
    "orchestrator/metrics/cgroups.py",
    "orchestrator/metrics/interfaces.py",
    "orchestrator/metrics/deltas.py",
    "orchestrator/metrics/subjects.py",
    "orchestrator/metrics/rollup_*.py",
    "orchestrator/metrics/query_*.py",
    "orchestrator/readiness.py",
    "orchestrator/ingress/routes.py",
    "orchestrator/ingress/render.py",
    "orchestrator/ingress/live.py",
)
WORLD = ("docker", "sqlalchemy", "flask", "os", "time", "random", "uuid", "secrets", "logging", "requests")
IMPORT_UNDER_AUDIT = """
import importlib, sys

def in_a_library():
    frame = sys._getframe(2)
    while frame and "/site-packages/" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None

def audit(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    starts = event in ("subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "_thread.start_new_thread")
    speaks = event in ("socket.connect", "socket.bind", "socket.sendto", "sqlite3.connect", "os.mkdir")
    if (writes or starts or speaks) and not in_a_library():
        print(f"while importing {name}: {event} {arguments}")

sys.addaudithook(audit)
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def sources(*packages: str) -> list[Path]:
    """The Python files of `packages`, relative to the project."""
    return sorted(path.relative_to(ROOT) for package in packages for path in (ROOT / package).rglob("*.py"))


def deciders() -> list[Path]:
    return sorted({path.relative_to(ROOT) for pattern in DECIDERS for path in ROOT.glob(pattern)})


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), filename=str(path))


def imports(path: Path) -> set[str]:
    """Full names of all modules `path` imports, wherever in the file, `from a import b` counting as `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.parent.parts[: len(path.parent.parts) - node.level + 1]
                base = ".".join([*package, *([base] if base else [])])
            found |= {base} | {f"{base}.{name.name}" for name in node.names}
    return found


def within(name: str, modules: tuple[str, ...]) -> bool:
    """Whether `name` is one of `modules` or inside one."""
    return any(name == module or name.startswith(module + ".") for module in modules)


def file_of(module: str) -> Path | None:
    path = Path(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if (ROOT / p).is_file()), None)


@pytest.mark.parametrize("package", PACKAGES)
def test_package_imports_only_what_it_may_know(package: str) -> None:
    wrong = [f"{path}: {name}" for path in sources(package) for name in imports(path) if within(name, FOREIGN[package])]

    assert not wrong


def test_docker_sdk_is_imported_by_the_engine_adapter_alone() -> None:
    wrong = [
        str(path)
        for path in sources(*PACKAGES)
        if any(within(name, ("docker",)) for name in imports(path)) and not path.match("orchestrator/engine/docker*.py")
    ]

    assert not wrong


def test_deciders_exist() -> None:
    """A renamed decider must not slip out of the rules below."""
    assert {Path("orchestrator/planner.py"), Path("orchestrator/spec.py"), Path("orchestrator/status.py")} <= set(
        deciders()
    )


@pytest.mark.parametrize("decider", deciders(), ids=str)
def test_decider_knows_nothing_of_the_world(decider: Path) -> None:
    """Neither by itself nor by any of our own modules it imports."""
    wrong: list[str] = []
    seen: set[Path] = set()
    open_ones = [decider]
    while open_ones:
        path = open_ones.pop()
        seen.add(path)
        for name in imports(path):
            if within(name, WORLD):
                wrong.append(f"{path}: {name}")
            own = file_of(name) if within(name, PACKAGES) else None
            if own is not None and own not in seen:
                open_ones.append(own)

    assert not wrong


def test_importing_everything_has_no_effects() -> None:
    """No file written, socket opened, process or thread started, nothing printed: the interpreter's own audit tells."""
    modules = [
        ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for path in sources(*PACKAGES)
        if path.name != "__main__.py" and not path.match("*/migrations/*") and not path.match("*/migrations/versions/*")
    ]
    result = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_UNDER_AUDIT, *modules], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("path", sources(*PACKAGES, "tests"), ids=str)
def test_file_fits_the_eye(path: Path) -> None:
    limit = MOST_LINES_OF_A_TEST if path.parts[0] == "tests" else MOST_LINES
    lines = len((ROOT / path).read_text().splitlines())

    assert lines < limit


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=str)
def test_module_says_its_job_and_public_names_their_use(path: Path) -> None:
    if not (ROOT / path).read_text().strip():
        return
    tree = tree_of(path)
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not path.match("orchestrator/store/migrations/versions/*")
    ]

    assert ast.get_docstring(tree), "the module does not say its job"
    assert not silent
