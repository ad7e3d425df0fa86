"""What a request gets that cannot be served: one JSON object, in words, never a trace."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from api.models import ErrorAnswer
from orchestrator.logs.errors import LogStoreError
from orchestrator.store import ports, reads, services
from tests.api.conftest import Api

BODY = {"service_name": "web", "image_name": "a"}


def error_of(response: Any) -> dict[str, Any]:
    """The error of an answer, which must have its shape."""
    assert response.content_type == "application/json"
    ErrorAnswer.model_validate(response.get_json())
    error: dict[str, Any] = response.get_json()["error"]
    return error


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is empty"),
        (b'{"a":\n x}', "not JSON: Expecting value at line 2, column 2"),
        (b'{"a": NaN}', "NaN is not a JSON value"),
        (b'{"a": 1', "not JSON"),
        (b"\xff\xfe", "not UTF-8: byte 0"),
        (b"[]", "is not an object"),
        (b"null", "is not an object"),
        (b'"x"', "is not an object"),
        (b"5", "is not an object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"volumes": ' + b"[" * 900 + b"]" * 900 + b"}", "nested too deeply; at most 50"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize("method", ["post", "put"])
def test_malformed_body_is_refused_with_the_place(api: Api, method: str, body: bytes, said: str) -> None:
    path = "/v1/services/ns"
    if method == "put":
        api.create()
        path += "/web"
    response = api.client.open(path, method=method.upper(), data=body, content_type="application/json")

    assert response.status_code == 400
    assert said in error_of(response)["message"]


def test_invalid_body_names_every_field(api: Api) -> None:
    response = api.client.post("/v1/services/ns", json={"image_name": "A", "target_num_instances": "x"})
    error = error_of(response)

    assert (response.status_code, error["code"]) == (400, "invalid")
    assert set(error["fields"]) == {"service_name", "image_name", "target_num_instances"}
    assert "0 to 1000" in error["fields"]["target_num_instances"][0]


@pytest.mark.parametrize("text", ['"\\ud800"', '"a\\u0000b"'])
@pytest.mark.parametrize("key", ["service_name", "application", "run_command", "image_name", "custom_domain_name", "x"])
def test_text_no_database_can_hold_is_refused_readably(api: Api, key: str, text: str) -> None:
    raw = f'{{"image_name": "a", "service_name": "web", "{key}": {text}, {text}: 1}}'
    response = api.client.post("/v1/services/ns", data=raw)

    assert response.status_code in (201, 400)
    assert response.get_json()
    if key != "x":
        assert key in error_of(response)["fields"]


def test_repeated_keys_are_tolerated_the_last_one_counting(api: Api) -> None:
    raw = '{"service_name": "web", "namespace": "ns", "image_name": "a", "namespace": "ns", "image_name": "b"}'

    assert api.client.post("/v1/services/ns", data=raw).get_json()["image_name"] == "b"


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain", ""]
)
def test_json_is_read_whatever_old_clients_call_it(api: Api, kind: str) -> None:
    raw = '\ufeff{"service_name": "web", "image_name": "a"}'.encode()

    assert api.client.post("/v1/services/ns", data=raw, content_type=kind).status_code == 201


def test_body_of_another_kind_is_refused(api: Api) -> None:
    response = api.client.post("/v1/services/ns", data="<a/>", content_type="application/xml")

    assert response.status_code == 415
    assert "send application/json" in error_of(response)["message"]


def test_body_too_big_is_refused(api: Api) -> None:
    response = api.client.post("/v1/services/ns", data=b" " * (1024 * 1024 + 1))

    assert response.status_code == 413
    assert "1 MB" in error_of(response)["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/v1/services/ns/none",
        "/v1/services/ns/none/logs",
        "/v1/services/ns/none/instances",
        "/v1/services/ns/a%00b",
        "/v1/services/n%00s/web",
        "/v1/services/ns/%ED%A0%80",
        "/v1/services/ns/web/instances/nope",
        "/v1/services/ns/web/instances/a%00",
        "/v1//services/ns",
    ],
)
def test_what_is_not_there_is_404(api: Api, path: str) -> None:
    api.create()
    response = api.client.get(path)

    assert response.status_code == 404
    assert error_of(response)["code"] == "not_found"


def test_wrong_method_names_the_right_ones(api: Api) -> None:
    response = api.client.post("/v1/services/ns/web")

    assert response.status_code == 405
    assert "allowed: DELETE, GET" in error_of(response)["message"]
    assert "PUT" in response.headers["Allow"]


@pytest.mark.parametrize("namespace", ["Upper", "under_score", "-x", "a" * 64, "a%00b"])
def test_create_in_an_impossible_namespace_is_refused(api: Api, namespace: str) -> None:
    response = api.client.post(f"/v1/services/{namespace}", json=BODY)

    assert response.status_code == 400
    assert "namespace" in error_of(response)["fields"]


@pytest.mark.parametrize("query", ["strict=maybe", "delete_volumes=2"])
def test_flag_that_is_none_is_refused(api: Api, query: str) -> None:
    api.create()
    path = "/v1/services/ns/web?" + query
    response = api.client.delete(path) if "delete" in query else api.client.put(path, json={})

    assert response.status_code == 400
    assert query.split("=")[0] in error_of(response)["fields"]


def test_database_trouble_is_503_and_says_when_to_retry(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: object, **__: object) -> None:
        raise OperationalError("select 1", {}, Exception("database is locked"))

    monkeypatch.setattr(services.ServiceStore, "create", locked)
    response = api.client.post("/v1/services/ns", json=BODY)

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert "nothing was changed" in error_of(response)["message"]
    assert "select" not in response.text


def test_log_trouble_is_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise LogStoreError("disk is gone")
        yield

    api.create()
    monkeypatch.setattr(api.logs, "read", broken)

    assert api.client.get("/v1/services/ns/web/logs").status_code == 503


def test_no_port_left_is_507(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise ports.NoPortLeft("no free service port found")

    monkeypatch.setattr(ports, "_take_port", full)
    response = api.client.post("/v1/services/ns", json=BODY | {"instance_ports": [{"container_port": 22}]})

    assert (response.status_code, error_of(response)["code"]) == (507, "no_capacity")
    assert api.get("/v1/services/ns")["count"] == 0


def test_fault_of_ours_is_500_logged_and_without_a_trace(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(reads.Reads, "service", broken)
    response = api.client.get("/v1/services/ns/web")

    assert response.status_code == 500
    assert error_of(response)["code"] == "internal_error"
    assert "secret" not in response.text
    assert "secret detail" in caplog.text
