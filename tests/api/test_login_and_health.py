"""Tokens, profiles, and whether the API is alive and ready."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from api.models import HealthAnswer, ProfileAnswer, TokenAnswer
from api.wakeup import Wakeup
from orchestrator.store.lease import beat
from tests.api.conftest import NOW, TOKEN, Api


@pytest.mark.parametrize("header", [f"Token {TOKEN}", f"token  {TOKEN}", f" Token {TOKEN} "])
def test_right_token_opens(api: Api, header: str) -> None:
    assert api.client.get("/v1/regions", headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize(
    "header", [None, "", TOKEN, f"Bearer {TOKEN}", "Token", "Token wrong", "Token ü", f"Token {TOKEN}x"]
)
@pytest.mark.parametrize("path", ["/v1/regions", "/v1/services/ns", "/v1/services/ns/web/", "/nope"])
def test_missing_or_wrong_token_is_401(api: Api, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = api.client.get(path, token=None, headers=headers)

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Token"
    assert response.get_json()["error"]["code"] == "unauthorized"
    assert TOKEN not in response.text


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json", "/docs", "/docs/swagger/css/swagger-ui.css"])
def test_open_paths_need_no_token(api: Api, path: str) -> None:
    assert api.client.get(path, token=None).status_code == 200


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    "parts",
    [
        {"json": {"username": "ann", "password": TOKEN}},
        {"data": {"username": "ann", "password": TOKEN}},
        {"data": {"username": "ann", "password": TOKEN}, "content_type": "multipart/form-data"},
    ],
    ids=["json", "form", "multipart"],
)
def test_login_gives_the_token(api: Api, parts: dict[str, Any], slash: str) -> None:
    response = api.client.post(f"/v1/generate-api-token{slash}", token=None, **parts)
    answer = TokenAnswer.model_validate(response.get_json())

    assert (response.status_code, answer.token, answer.username) == (200, TOKEN, "ann")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"username": "ann", "password": "wrong"}, 401),
        ({"username": "ann", "password": "wröng"}, 401),
        ({"username": "", "password": TOKEN}, 400),
        ({"username": "ann"}, 400),
        ({"username": ["ann"], "password": 5}, 400),
        ({}, 400),
    ],
)
def test_login_that_fails_says_why(api: Api, body: dict[str, Any], status: int) -> None:
    assert api.client.post("/v1/generate-api-token", token=None, json=body).status_code == status


@pytest.mark.parametrize("path", ["/v1/auth/profile", "/v1/auth/madams/profile/"])
def test_profile_says_that_the_user_is_available(api: Api, path: str) -> None:
    profile = ProfileAnswer.model_validate(api.get(path))

    assert profile.is_available
    assert profile.username == ("madams" if "madams" in path else "admin")


def test_ready_while_the_worker_beats(api: Api) -> None:
    never = api.client.get("/readyz", token=None)
    with api.sessions.begin() as session:
        beat(session, "worker", NOW)
    fresh = api.client.get("/readyz/", token=None)
    api.later(16)
    stale = api.client.get("/readyz", token=None)

    assert (never.status_code, never.get_json()["reasons"]) == (503, ["the worker has never run"])
    assert (fresh.status_code, fresh.get_json()) == (200, {"status": "ok"})
    assert stale.status_code == 503
    assert "16 s old; at most 15 s" in HealthAnswer.model_validate(stale.get_json()).reasons[0]


def test_not_ready_without_the_tables_but_alive(api: Api) -> None:
    with api.sessions.begin() as session:
        session.connection().exec_driver_sql("DROP TABLE heartbeats")
    response = api.client.get("/readyz", token=None)

    assert response.status_code == 503
    assert "database" in response.get_json()["reasons"][0]
    assert api.client.get("/healthz", token=None).status_code == 200


def test_wakeup_reaches_a_listener_and_bears_its_absence(tmp_path: Path) -> None:
    path = tmp_path / "wake.sock"
    Wakeup(path)("nobody listens")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        Wakeup(path)("some-uuid")
        assert listener.recv(64) == b"some-uuid"
    Wakeup(path)("it has gone")
