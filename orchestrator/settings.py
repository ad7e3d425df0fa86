"""Settings: SKYLARK_* variables and the optional configuration file (TOML), read once into one value."""

from __future__ import annotations

import math
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from orchestrator.engine.base import RegistryAuth
from orchestrator.sizes import DEFAULT_SIZES, MIB, Size

LOCAL_ENGINE = "unix:///var/run/docker.sock"


class SettingsError(ValueError):
    """A setting is wrong; the message names it, the fault and what is allowed."""


@dataclass(frozen=True)
class Region:
    """A place services run in: the name clients use, the label they print, and the engine behind it."""

    name: str
    iaas: str
    engine_url: str = LOCAL_ENGINE


DEFAULT_REGIONS = {
    name: Region(name, "DOCKER") for name in ("BEIJING1", "HONGKONG1", "SHANGHAI1")
}  # the names the document allows


@dataclass(frozen=True)
class Settings:
    """All settings with their defaults. The table in docs/operations.md explains each."""

    home: Path
    installation: str
    api_bind: str = "127.0.0.1:8000"
    database_url: str = field(default="", repr=False)  # "": SQLite in home; may hold a password
    admin_token: str = field(default="", repr=False)
    tick_seconds: float = 5.0
    base_domain: str = "skylark.local"
    log_format: str = "text"
    log_level: str = "INFO"
    legacy_empty_answers: bool = False
    launch_parallelism: int = 4
    stop_grace_seconds: int = 10
    proxy: str = "haproxy"  # haproxy, or none: nothing is routed
    http_port: int = 8080
    drain_seconds: int = 10
    network_pool: str = "10.208.0.0/12"  # subnets of namespaces
    link_pool: str = "10.224.0.0/16"  # virtual addresses of linked services
    lease_seconds: float = 6.0
    log_retention_days: int = 7
    event_retention_days: int = 30
    volume_mode: str = "plain"  # plain quota loop
    volume_usage_seconds: float = 60.0
    pids_limit: int = 1024
    container_log_driver: str = "json-file"
    container_log_max_size: str = "20m"
    container_log_max_file: int = 5
    log_max_mb: int = 10_240  # of all stored log lines
    log_service_max_mb: int = 2_048  # of one service's
    log_lines_per_second: int = 20_000  # of one service; more are counted, not kept
    metric_seconds: float = 5.0
    metric_raw_hours: int = 24
    metric_rollup_days: int = 30
    metric_max_mb: int = 2_048
    autoscaling_window_seconds: float = 30.0
    autoscaling_warmup_seconds: float = 15.0
    autoscaling_idle_seconds: float = 300.0
    autoscaling_dry_run: bool = False
    capacity_instances: int = 1_000  # living at once, on one engine
    capacity_memory_mb: int | None = None  # of the sizes of all instances together; None: what the host has free
    capacity_reserve_mb: int = 256  # the host's own
    regions: Mapping[str, Region] = field(default_factory=lambda: DEFAULT_REGIONS)
    sizes: Mapping[str, Size] = field(default_factory=lambda: DEFAULT_SIZES)
    registries: Mapping[str, RegistryAuth] = field(default_factory=dict)  # by host[:port]

    @property
    def default_region(self) -> str:
        """The first region of the configuration serves requests that name none."""
        return next(iter(self.regions))

    @property
    def sqlalchemy_url(self) -> str:
        """The database as SQLAlchemy names it; `postgresql://` means psycopg 3."""
        if not self.database_url:
            return f"sqlite:///{self.home / 'skylark.sqlite'}"
        return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", self.database_url)

    @property
    def wake_socket(self) -> Path:
        """Unix datagram socket by which the API tells the worker to look now."""
        return self.home / "wake.sock"

    @property
    def log_folder(self) -> Path:
        """The log store: a SQLite file for each day."""
        return self.home / "logs"

    @property
    def metric_folder(self) -> Path:
        """The metric store, and what the worker tells Prometheus."""
        return self.home / "metrics"

    @property
    def figures_path(self) -> Path:
        """What the worker last told Prometheus; the API hands it on."""
        return self.metric_folder / "worker.prom"


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings out of the environment and the file that SKYLARK_CONFIG names. Raises SettingsError.

    Creates the home folder, and in it the installation's name and the admin token if they are not there.
    """
    env = dict(os.environ if environ is None else environ)
    home = Path(env.get("SKYLARK_HOME") or Path.home() / ".skylark").absolute()
    home.mkdir(parents=True, exist_ok=True)
    file = _read_file(env.get("SKYLARK_CONFIG", ""))
    plain: dict[str, Any] = {}
    for name, kind in _VARIABLES.items():
        text = env.get(f"SKYLARK_{name.upper()}")
        if text is not None and text != "":
            plain[name] = _convert(name, text, kind)
    installation = env.get("SKYLARK_INSTALLATION") or _kept(
        home / "installation", lambda: f"skylark-{secrets.token_hex(4)}", 0o644
    )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", installation):
        raise SettingsError(
            f"SKYLARK_INSTALLATION: {installation!r} is not allowed; letters, digits, '_', '.', '-', at most 63"
        )
    pools = [IPv4Network(plain.get(f"{name}_pool", getattr(Settings, f"{name}_pool"))) for name in ("network", "link")]
    if pools[0].overlaps(pools[1]):
        raise SettingsError(f"SKYLARK_LINK_POOL: {pools[1]} is not allowed; it lies in SKYLARK_NETWORK_POOL {pools[0]}")
    token = plain.pop("admin_token", "") or _kept(home / "admin_token", lambda: secrets.token_hex(20), 0o600)
    return Settings(home=home, installation=installation, admin_token=token, **plain, **file)


_VARIABLES: dict[str, type | tuple[str, ...]] = {
    "api_bind": str,
    "database_url": str,
    "admin_token": str,
    "tick_seconds": float,
    "base_domain": str,
    "log_format": ("text", "json"),
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR"),
    "legacy_empty_answers": bool,
    "launch_parallelism": int,
    "stop_grace_seconds": int,
    "proxy": ("haproxy", "none"),
    "http_port": int,
    "drain_seconds": int,
    "network_pool": IPv4Network,
    "link_pool": IPv4Network,
    "lease_seconds": float,
    "log_retention_days": int,
    "event_retention_days": int,
    "volume_mode": ("plain", "quota", "loop"),
    "volume_usage_seconds": float,
    "pids_limit": int,
    "container_log_driver": ("json-file", "local"),
    "container_log_max_size": str,
    "container_log_max_file": int,
    "log_max_mb": int,
    "log_service_max_mb": int,
    "log_lines_per_second": int,
    "metric_seconds": float,
    "metric_raw_hours": int,
    "metric_rollup_days": int,
    "metric_max_mb": int,
    "autoscaling_window_seconds": float,
    "autoscaling_warmup_seconds": float,
    "autoscaling_idle_seconds": float,
    "autoscaling_dry_run": bool,
    "capacity_instances": int,
    "capacity_memory_mb": int,
    "capacity_reserve_mb": int,
}


def _convert(name: str, text: str, kind: type | tuple[str, ...]) -> Any:
    variable = f"SKYLARK_{name.upper()}"
    if isinstance(kind, tuple):
        if text not in kind:
            raise SettingsError(f"{variable}: {text!r} is not allowed; one of {', '.join(kind)}")
        return text
    if kind is bool:
        if text.lower() not in ("0", "1", "true", "false"):
            raise SettingsError(f"{variable}: {text!r} is not allowed; 0 or 1")
        return text.lower() in ("1", "true")
    if kind is IPv4Network:
        try:
            return str(IPv4Network(text))
        except ValueError as error:
            raise SettingsError(f"{variable}: {text!r} is not a network such as 10.208.0.0/12: {error}") from None
    try:
        value = kind(text)
    except ValueError:
        raise SettingsError(f"{variable}: {text!r} is not a number") from None
    if kind in (int, float) and not 0 < value < math.inf:
        raise SettingsError(f"{variable}: {text} is not allowed; a number above 0")
    return value


def _kept(path: Path, make: Callable[[], str], mode: int) -> str:
    """The text kept in `path`; made once, and linked in whole so that no other process reads half of it."""
    if not path.exists():
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                os.fchmod(handle, mode)
                file.write(make() + "\n")
            os.link(draft, path)
        except FileExistsError:
            pass  # another process came first: its text is the one that counts
        finally:
            os.unlink(draft)
    text = path.read_text().strip()
    if not text:
        raise SettingsError(f"{path} is empty; write the value into it, or remove it to have a new one made")
    return text


def _read_file(path: str) -> dict[str, Any]:
    """Regions, sizes and registries out of the configuration file; what it leaves out keeps its default."""
    if not path:
        return {}
    try:
        with open(path, "rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"SKYLARK_CONFIG: cannot read {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"SKYLARK_CONFIG: {path} is not TOML: {error}") from error
    unknown = set(data) - {"regions", "sizes", "registries"}
    if unknown:
        raise SettingsError(
            f"SKYLARK_CONFIG: unknown table {sorted(unknown)[0]!r} in {path}; one of regions, sizes, registries"
        )
    found: dict[str, Any] = {}
    try:
        if "regions" in data:
            found["regions"] = {
                name: Region(name, str(r.get("iaas", "DOCKER")), str(r.get("engine_url", LOCAL_ENGINE)))
                for name, r in data["regions"].items()
            }
        if "sizes" in data:
            found["sizes"] = dict(DEFAULT_SIZES) | {name: _size(name, s) for name, s in data["sizes"].items()}
        if "registries" in data:
            found["registries"] = {
                host: RegistryAuth(str(r["username"]), str(r["password"])) for host, r in data["registries"].items()
            }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(
            f"SKYLARK_CONFIG: {path}: {error!r}; a size has cpus and memory_mb, a registry username and password, "
            "a region iaas and engine_url"
        ) from error
    if found.get("regions") == {}:
        raise SettingsError(f"SKYLARK_CONFIG: {path}: [regions] is empty; name at least one")
    return found


def _size(name: str, table: Mapping[str, Any]) -> Size:
    """A size's new numbers. Raises ValueError for a word that clients do not know, and for what is no amount."""
    cpus, memory_mb = float(table["cpus"]), int(table["memory_mb"])
    if name not in DEFAULT_SIZES:
        raise ValueError(f"size {name} is not allowed; one of {', '.join(DEFAULT_SIZES)}")
    if not (0 < cpus < math.inf and memory_mb > 0):
        raise ValueError(f"size {name}: cpus and memory_mb must be above 0")
    return Size(cpus, memory_mb * MIB)
