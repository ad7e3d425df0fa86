"""The connection to a Docker engine by its SDK: calls, long answers and faults, for many threads at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import docker.errors
import requests
import urllib3.exceptions
from docker import APIClient
from docker.constants import MINIMUM_DOCKER_API_VERSION
from docker.transport import UnixHTTPAdapter

from orchestrator.engine.docker_errors import readable, sort_answer, sort_connection
from orchestrator.engine.errors import EngineError, Fault

Sorter = Callable[[int, str], EngineError]


class _OnePoolAdapter(UnixHTTPAdapter):
    """One connection pool for the socket. The SDK keeps one per address, and so reuses next to no connection."""

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        return super().get_connection("http+docker://localhost", proxies)


class Connection:
    """Connects with the first call, so that it can be made while the engine is down."""

    def __init__(self, url: str, timeout_seconds: int, pool_size: int) -> None:
        self.url = url
        self.local = url.startswith("unix://")
        self._timeout_seconds = timeout_seconds
        self._pool_size = pool_size
        self._lock = threading.Lock()
        self._client: APIClient | None = None
        self._streams: set[requests.Response] = set()
        self._closed = threading.Event()

    def api(self) -> APIClient:
        """The client, made by the first call that reaches the engine: it learns the version to speak."""
        if self._client is None:
            probe = self._made(MINIMUM_DOCKER_API_VERSION)
            try:
                client = self._made(str(probe.version(api_version=False)["ApiVersion"]))
            finally:
                probe.close()
            with self._lock:  # not held while asking: an engine that hangs must not make threads wait in a row
                self._client = self._client or client
        return self._client

    def _made(self, version: str) -> APIClient:
        client = APIClient(self.url, version=version, timeout=self._timeout_seconds, max_pool_size=self._pool_size)
        client.trust_env = False  # no proxy and no CA bundle of the environment
        if self.local:
            socket = self.url.replace("unix://", "http+unix://", 1)
            adapter = _OnePoolAdapter(socket, self._timeout_seconds, max_pool_size=self._pool_size)
            client.mount("http+docker://", adapter)
        return client

    def stream(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        silence_seconds: float | None = -1,
        sort: Sorter = sort_answer,
    ) -> Iterator[bytes]:
        """The chunks of a long answer as they come; `silence_seconds` None: it may be silent for ever, -1: as usual."""
        silence = self._timeout_seconds if silence_seconds == -1 else silence_seconds
        response: requests.Response | None = None
        try:
            with self.faults(sort):
                api = self.api()
                response = api.request(
                    method,
                    f"{api.base_url}/v{api.api_version}{path}",
                    params=params,
                    headers=headers,
                    stream=True,
                    timeout=(self._timeout_seconds, silence),
                )
                if response.status_code >= 400:
                    raise sort(response.status_code, _message_of(response))
                with self._lock:
                    self._streams.add(response)
                if not self._closed.is_set():
                    yield from response.raw.stream(65536, decode_content=False)
        except EngineError:
            if not self._closed.is_set():  # else it is we who cut it off
                raise
        finally:
            if response is not None:
                with self._lock:
                    self._streams.discard(response)
                response.close()

    @contextlib.contextmanager
    def faults(self, sort: Sorter = sort_answer) -> Iterator[None]:
        """Everything the SDK and its connection raise, as EngineError."""
        try:
            yield
        except docker.errors.APIError as error:
            raise sort(error.status_code or 500, str(error.explanation or error)) from error
        except ValueError as error:  # requests' own for an answer that is no JSON is one of these too
            raise EngineError(Fault.ENGINE, readable(f"unusable answer of {self.url}: {error}")) from error
        except (OSError, docker.errors.DockerException, urllib3.exceptions.HTTPError) as error:
            raise sort_connection(self.url, error) from error

    def close(self) -> None:
        """Also ends the streams that other threads are reading."""
        self._closed.set()
        with self._lock:
            streams, client = set(self._streams), self._client
        for response in streams:
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                response.raw.shutdown()
        if client is not None:
            client.close()


def _message_of(response: requests.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.text or response.reason or str(response.status_code)
