"""The engine interface on a real Docker engine, one call per method. The connection itself is in docker_connection."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from docker.utils import version_gte

from orchestrator.engine.base import (
    LABEL_INSTALLATION,
    ContainerConfig,
    ContainerDetail,
    ContainerFact,
    EngineEvent,
    LogLine,
    LogSource,
    NetworkConfig,
    RegistryAuth,
    ResolvedImage,
    VolumeConfig,
    VolumeFact,
)
from orchestrator.engine.docker_connection import Connection
from orchestrator.engine.docker_errors import sort_pull, sort_start
from orchestrator.engine.docker_logs import log_lines, log_source
from orchestrator.engine.docker_wire import (
    EVENT_ACTIONS,
    container_detail,
    container_fact,
    create_request,
    engine_event,
    json_lines,
    network_request,
    network_subnet,
    registry_host,
    split_reference,
    stats_reading,
    with_quota,
)
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.engine.loop_volumes import LoopVolumes, folder_usage_bytes
from orchestrator.metrics.samples import Reading

_EVENTS_SILENCE_SECONDS = 60.0  # the stream can die without a word: TIMEOUT then, and the listener asks anew
_PULL_SILENCE_SECONDS = 300.0  # a pull that says nothing for so long is given up


class DockerEngine:
    """`Engine` by one Docker engine at `url` (unix:///path or tcp://host:port), seeing only `installation`'s objects.

    Connects with the first call: it can be made while the engine is down. Safe for many threads.
    `loop_folder`: where volumes of mode loop keep their files; None: that mode falls back to plain.
    """

    def __init__(
        self,
        url: str,
        installation: str,
        *,
        timeout_seconds: int = 60,
        pool_size: int = 64,
        loop_folder: Path | None = None,
    ) -> None:
        self.url = url
        self.installation = installation
        self._making_network = threading.Lock()
        self._connection = Connection(url, timeout_seconds, pool_size)
        self._faults, self._api = self._connection.faults, self._connection.api
        self._loops = LoopVolumes(loop_folder) if loop_folder and self._connection.local else None

    def ping(self) -> None:
        with self._faults():
            self._api().ping()

    def list_containers(self) -> tuple[ContainerFact, ...]:
        with self._faults():
            return tuple(map(container_fact, self._api().containers(all=True, filters={"label": [self._label]})))

    def inspect_container(self, container_id: str) -> ContainerDetail:
        with self._faults():
            return container_detail(self._api().inspect_container(container_id))

    def pull(self, image_ref: str, auth: RegistryAuth | None = None) -> ResolvedImage:
        """Credentials are `auth` or none: never those of the Docker configuration of whoever runs Skylark."""
        name, tag = split_reference(image_ref)
        digest = ""
        for message in self._pull_messages(name, tag, auth):
            if "error" in message:
                raise sort_pull(200, (message.get("errorDetail") or {}).get("message") or message["error"])
            status = message.get("status") or ""
            if status.startswith("Digest: "):
                digest = status.removeprefix("Digest: ").strip()
        # By digest, not by tag: another pull may have moved the tag in the meantime
        exact = f"{name}@{digest}" if digest else image_ref
        with self._faults():
            image = self._api().inspect_image(exact)
        return ResolvedImage(image["Id"], exact if digest else next(iter(image.get("RepoDigests") or ()), None))

    def has_image(self, image_id: str) -> bool:
        try:
            with self._faults():
                self._api().inspect_image(image_id)
        except EngineError as error:
            if error.fault in (Fault.IMAGE_MISSING, Fault.NOT_FOUND):
                return False
            raise
        return True

    def create_container(self, config: ContainerConfig) -> str:
        request = create_request(config)
        try:
            return self._create(request, config.name)
        except EngineError as error:
            if error.fault is not Fault.INVALID or "range of cpus" not in error.message.lower():
                raise
            return self._create(with_quota(request, config.cpus), config.name)

    def _create(self, request: dict[str, Any], name: str) -> str:
        with self._faults():
            return str(self._api().create_container_from_config(request, name)["Id"])

    def start_container(self, container_id: str) -> None:
        with self._faults(sort_start):
            self._api().start(container_id)

    def stop_container(self, container_id: str, grace_seconds: int) -> None:
        """Waits for the grace and the client's timeout on top, so that a slow end is no timeout."""
        with self._forgiving(Fault.NOT_FOUND), self._faults():
            self._api().stop(container_id, timeout=grace_seconds)

    def remove_container(self, container_id: str) -> None:
        with self._forgiving(Fault.NOT_FOUND), self._faults():
            self._api().remove_container(container_id, v=False, force=True)

    def ensure_network(self, config: NetworkConfig) -> None:
        """Several threads may ask at once: whoever comes second finds what the first has made."""
        if self._has_network(config):
            return
        request = network_request(config)
        request["labels"][LABEL_INSTALLATION] = self.installation
        try:
            with self._making_network, self._faults():
                if not self._has_network(config):
                    self._api().create_network(**request)
        except EngineError as error:
            if "overlap" in error.message.lower():
                raise EngineError(
                    Fault.SUBNET_TAKEN, f"network {config.name}, {config.subnet}: {error.message}"
                ) from error
            raise

    def _has_network(self, config: NetworkConfig) -> bool:
        found = self._find_network(config.name)
        if found is None:
            return False
        if (found.get("Labels") or {}).get(LABEL_INSTALLATION) != self.installation:
            raise EngineError(Fault.INVALID, f"network {config.name} exists and is not of this installation")
        if network_subnet(found) != config.subnet:
            told = f"network {config.name} has {network_subnet(found)}, not {config.subnet}"
            raise EngineError(Fault.INVALID, f"{told}: remove it, to have it made anew")
        return True

    def _find_network(self, name: str) -> Mapping[str, Any] | None:
        try:
            with self._faults():
                return self._api().inspect_network(name)
        except EngineError as error:
            if error.fault is Fault.NOT_FOUND:
                return None
            raise

    def remove_network(self, name: str) -> None:
        found = self._find_network(name)
        if found is None or (found.get("Labels") or {}).get(LABEL_INSTALLATION) != self.installation:
            return
        try:
            with self._forgiving(Fault.NOT_FOUND), self._faults():
                self._api().remove_network(found["Id"])
        except EngineError as error:
            if "active endpoints" in error.message:
                raise EngineError(Fault.CONFLICT, error.message) from error
            raise

    def ensure_volume(self, config: VolumeConfig) -> VolumeFact:
        """One call for plain; two for quota and loop. An existing volume keeps the mode it was made with."""
        if config.mode == "quota":
            try:
                return self._create_volume(config, {"size": str(config.size_bytes)})
            except EngineError as error:
                if "quota" not in error.message.lower() and "size" not in error.message.lower():
                    raise
        elif config.mode == "loop" and self._loops is not None and self._loops.possible():
            found = self._find_volume(config.name)
            if found is None or self._loops.holds(found.get("Options") or {}):
                device = self._loops.ensure(config.name, config.size_bytes)
                return self._create_volume(config, {"type": "none", "o": "bind", "device": str(device)})
        return self._create_volume(config, {})

    def _create_volume(self, config: VolumeConfig, options: Mapping[str, str]) -> VolumeFact:
        labels = {**config.labels, LABEL_INSTALLATION: self.installation}
        with self._faults():
            answer = self._api().create_volume(config.name, driver="local", driver_opts=dict(options), labels=labels)
        if (answer.get("Labels") or {}).get(LABEL_INSTALLATION) != self.installation:
            raise EngineError(Fault.CONFLICT, f"volume {config.name} exists and is not of this installation")
        return self._volume_fact(answer)

    def _find_volume(self, name: str) -> Mapping[str, Any] | None:
        try:
            with self._faults():
                return self._api().inspect_volume(name)
        except EngineError as error:
            if error.fault is Fault.NOT_FOUND:
                return None
            raise

    def _volume_fact(self, answer: Mapping[str, Any]) -> VolumeFact:
        options = answer.get("Options") or {}
        enforced = "size" in options or (self._loops is not None and self._loops.enforced(options))
        where = options.get("device") if options.get("o") == "bind" else answer.get("Mountpoint")
        return VolumeFact(answer["Name"], answer.get("Labels") or {}, enforced, where or "")

    def remove_volume(self, name: str) -> None:
        """A loop-mounted one gives its file back too."""
        found = self._find_volume(name)
        if found is not None:
            with self._forgiving(Fault.NOT_FOUND), self._faults():
                self._api().remove_volume(name)
        if self._loops is not None and (found is None or self._loops.holds(found.get("Options") or {})):
            self._loops.remove(name)

    def list_volumes(self) -> tuple[VolumeFact, ...]:
        with self._faults():
            answer = self._api().volumes(filters={"label": [self._label]})
        return tuple(map(self._volume_fact, answer.get("Volumes") or ()))

    def volume_usage(self) -> Mapping[str, int]:
        """On a local engine by walking the files, else by the engine's own, slower account of all its volumes."""
        ours = self.list_volumes()
        if self._connection.local and all(Path(volume.mountpoint).is_dir() for volume in ours):
            return {volume.name: folder_usage_bytes(Path(volume.mountpoint)) for volume in ours}
        with self._faults():
            volumes = self._api().df().get("Volumes") or ()
        names = {volume.name for volume in ours}
        sizes = {v["Name"]: (v.get("UsageData") or {}).get("Size", -1) for v in volumes if v["Name"] in names}
        return {name: size for name, size in sizes.items() if size >= 0}

    def stats(self, container_id: str) -> Reading:
        """Engines before 20.10 know no one-shot answer, and take two seconds for it."""
        with self._faults():
            api = self._api()
            one_shot = True if version_gte(api.api_version, "1.41") else None
            answer = api.stats(container_id, stream=False, one_shot=one_shot)
        return stats_reading(answer, time.time_ns() // 1_000_000)

    def logs(self, container_id: str, *, since_seconds: int = 0, follow: bool = False) -> Iterator[LogLine]:
        """Bytes as the log driver kept them (json-file: invalid UTF-8 replaced).

        Lazy: the call is made, and NOT_FOUND raised, at the first line. A followed log may end before the engine
        hands out a last line without a line end: read it once more without `follow` to have all.
        """
        params = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow), "since": since_seconds}
        path = f"/containers/{container_id}/logs"
        yield from log_lines(self._connection.stream("GET", path, params, silence_seconds=None if follow else -1))

    def log_source(self, container_id: str) -> LogSource:
        with self._faults():
            source = log_source(self._api().inspect_container(container_id))
        if not self._connection.local or not os.access(os.path.dirname(source.path) or "-", os.R_OK | os.X_OK):
            return replace(source, path="")
        return source

    def events(self, since: float | None = None) -> Iterator[EngineEvent]:
        """Raises TIMEOUT after a minute without one, since a dead stream looks the same: ask anew with `since`."""
        filters = {"type": ["container"], "label": [self._label], "event": list(EVENT_ACTIONS)}
        params: dict[str, Any] = {"filters": json.dumps(filters)}
        if since is not None:
            params["since"] = f"{since:.9f}"
        for answer in json_lines(
            self._connection.stream("GET", "/events", params, silence_seconds=_EVENTS_SILENCE_SECONDS)
        ):
            yield engine_event(answer)

    def close(self) -> None:
        self._connection.close()

    @property
    def _label(self) -> str:
        return f"{LABEL_INSTALLATION}={self.installation}"

    def _pull_messages(self, name: str, tag: str, auth: RegistryAuth | None) -> Iterator[Mapping[str, Any]]:
        credentials: dict[str, str] = {}
        if auth is not None:
            credentials = {"username": auth.username, "password": auth.password, "serveraddress": registry_host(name)}
        headers = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(credentials).encode()).decode()}
        params = {"fromImage": name, "tag": tag}
        chunks = self._connection.stream("POST", "/images/create", params, headers, _PULL_SILENCE_SECONDS, sort_pull)
        return json_lines(chunks)

    @contextlib.contextmanager
    def _forgiving(self, fault: Fault) -> Iterator[None]:
        try:
            yield
        except EngineError as error:
            if error.fault is not fault:
                raise
