"""Custom domains over HTTP: refused when taken, moved on request."""

from __future__ import annotations

from tests.api.conftest import Api

SHOP = {"custom_domain_name": "shop.example.com"}
PORTS = [{"container_port": 80, "endpoint_type": "http-endpoint"}]


def body(name: str, **changes: object) -> dict[str, object]:
    fields = {"service_name": name, "image_name": "registry.example/web", "instance_ports": PORTS}
    sized = {"image_tag": "1", "instance_size": "XS", "scaling_mode": "MANUAL", "target_num_instances": 1}
    return fields | sized | {"target_state": "STARTED"} | changes


def test_taken_domain_is_refused_by_create_and_update_and_moved_on_request(api: Api) -> None:
    assert api.client.post("/v1/services/madams", json=body("green", **SHOP)).status_code == 201
    assert api.client.post("/v1/services/madams", json=body("blue")).status_code == 201

    for refused in (
        api.client.post("/v1/services/others/", json=body("third", **SHOP)),
        api.client.put("/v1/services/madams/blue/", json=SHOP),
        api.client.put("/v1/services/madams/blue?take_domain=false", json=SHOP),
    ):
        assert refused.status_code == 409
        error = refused.get_json()["error"]
        assert error["code"] == "domain_taken"
        assert "service madams/green" in error["message"]
        assert "?take_domain=true" in error["fields"]["custom_domain_name"][0]
    assert api.client.get("/v1/services/others/third/").status_code == 404

    moved = api.client.put("/v1/services/madams/blue/?take_domain=true", json=SHOP)
    assert (moved.status_code, moved.get_json()["custom_domain_name"]) == (200, "shop.example.com")
    assert api.client.get("/v1/services/madams/green/").get_json()["custom_domain_name"] == ""
    created = api.client.post("/v1/services/others?take_domain=true", json=body("third", **SHOP))
    assert created.status_code == 201
    kinds = [e["kind"] for e in api.client.get("/v1/services/madams/blue/events").get_json()["results"]]
    assert kinds.count("domain_moved") == 2


def test_default_domain_of_a_neighbour_is_refused(api: Api) -> None:
    api.client.post("/v1/services/madams", json=body("green"))
    wanted = api.client.get("/v1/services/madams/green").get_json()["default_domain_name"]

    refused = api.client.post("/v1/services/madams?take_domain=true", json=body("blue", custom_domain_name=wanted))

    assert refused.status_code == 409
    assert "default domain of service madams/green" in refused.get_json()["error"]["message"]


def test_take_domain_stands_in_the_document(api: Api) -> None:
    paths = api.client.get("/openapi.json").get_json()["paths"]
    operations = (paths["/v1/services/{namespace}"]["post"], paths["/v1/services/{namespace}/{name}"]["put"])
    for operation in operations:
        assert "take_domain" in {parameter["name"] for parameter in operation["parameters"]}
        assert "409" in operation["responses"]
