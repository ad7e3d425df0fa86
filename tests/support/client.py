"""An HTTP client of Skylark's API for the tests: short calls, and waiting for what a user waits for."""

from __future__ import annotations

import time
from typing import Any

import requests

from tests.support.poll import eventually

NAMESPACE = "madams"
Json = dict[str, Any]


class RefusedError(AssertionError):
    """The API answered with an error. `status` and `error` are what it said."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"{response.request.method} {response.url}: {response.status_code} {response.text}")
        self.status = response.status_code
        self.error = response.json()["error"] if "json" in response.headers.get("Content-Type", "") else {}


class Client:
    """Calls in the namespace `madams`. What is not 2xx raises RefusedError."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Token {token}"

    def close(self) -> None:
        self._session.close()

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Any call, whatever it answers; `path` from the root."""
        return self._session.request(method, self.url + path, timeout=30, **options)

    def ask(self, method: str, path: str = "", **options: Any) -> Any:
        """The JSON that a call answers; `path` below the namespace's services. None for an empty answer."""
        response = self.call(method, f"/v1/services/{NAMESPACE}{path}", **options)
        if not response.ok:
            raise RefusedError(response)
        return response.json() if response.content else None

    def create(self, name: str, image: str, **fields: Any) -> Json:
        """POST. `image` is name:tag or name@sha256:...; further fields as the contract names them."""
        if "@" in image:
            image_name, image_tag = image, ""
        else:
            image_name, _, image_tag = image.rpartition(":")
        body: Json = {
            "service_name": name,
            "image_name": image_name,
            "image_tag": image_tag,
            "instance_size": "XS",
            "scaling_mode": "MANUAL",
            "target_state": "STARTED",
            "target_num_instances": 1,
        }
        return dict(self.ask("POST", json=body | fields))

    def service(self, name: str) -> Json:
        """GET of one service."""
        return dict(self.ask("GET", f"/{name}/"))

    def update(self, name: str, **fields: Any) -> Json:
        """PUT."""
        return dict(self.ask("PUT", f"/{name}/", json=fields))

    def stop(self, name: str) -> Json:
        return dict(self.ask("PUT", f"/{name}/stop/"))

    def start(self, name: str) -> Json:
        return dict(self.ask("PUT", f"/{name}/start/"))

    def delete(self, name: str, *, volumes: bool = False) -> None:
        self.ask("DELETE", f"/{name}/", params={"delete_volumes": "true"} if volumes else {})

    def events(self, name: str = "", **query: Any) -> list[Json]:
        """Events of a service, or of the whole installation, oldest first."""
        path = f"/v1/services/{NAMESPACE}/{name}/events" if name else "/v1/events"
        response = self.call("GET", path, params={"limit": 500} | query)
        if not response.ok:
            raise RefusedError(response)
        answer = response.json()
        found = answer["results"] if isinstance(answer, dict) else answer
        return sorted(found, key=lambda event: int(event["id"]))

    def kinds(self, name: str) -> list[str]:
        """The kinds of a service's events, oldest first."""
        return [event["kind"] for event in self.events(name)]

    def logs(self, name: str, instance: str = "") -> list[Json]:
        """The lines of the last hour, of a service or of one instance of it."""
        path = f"/{name}/instances/{instance}/logs" if instance else f"/{name}/logs"
        now = int(time.time())
        return list(self.ask("GET", path, params={"start_time": now - 3600, "end_time": now + 60}))

    def messages(self, name: str) -> list[str]:
        return [line["message"] for line in self.logs(name)]

    def status(self, name: str, word: str, seconds: float = 30) -> Json:
        """Wait until the service's current_status is `word`; the service then."""

        def check() -> Json:
            service = self.service(name)
            assert service["current_status"] == word, f"{service['current_status']}: {service['status_reason']}"
            return service

        return eventually(check, seconds)

    def running(self, name: str, count: int = 1, seconds: float = 30) -> Json:
        """Wait until the latest write is carried out and exactly `count` instances run; the service then."""

        def check() -> Json:
            service = self.service(name)
            told = {key: service[key] for key in ("current_status", "status_reason", "generation", "instances")}
            assert service["observed_generation"] == service["generation"], told
            assert service["current_status"] == "Running", told
            assert not service["is_deploying"], told
            assert service["started_num_instances"] == len(service["instances"]) == count, told
            return service

        return eventually(check, seconds)

    def event(self, name: str, kind: str, seconds: float = 30, after: int = 0, **data: Any) -> Json:
        """Wait for an event of that kind, with this data; the first such event."""

        def check() -> Json:
            found = [e for e in self.events(name, after=after) if e["kind"] == kind]
            fitting = [e for e in found if data.items() <= e["data"].items()]
            assert fitting, f"no {kind} with {data}, but {found}"
            return fitting[0]

        return eventually(check, seconds)

    def gone(self, name: str, seconds: float = 30) -> None:
        """Wait until nothing of a deleted service is left."""
        eventually(lambda: self.call("GET", f"/v1/services/{NAMESPACE}/{name}/").status_code == 404, seconds)
