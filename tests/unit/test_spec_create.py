"""What a create body may say, and how each fault is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.spec import ServiceSpec, SpecError, parse_create
from tests.unit.spec_samples import CONFIG, EXAMPLE, RULES, create, faults, short

PORT = {"container_port": 80}
DIGEST = "sha256:" + "a" * 64


def test_documents_example_is_accepted_as_it_stands() -> None:
    parsed = parse_create(EXAMPLE, RULES, namespace="madams")

    assert parsed.spec.target_num_instances == 2
    assert [p.endpoint_type for p in parsed.spec.instance_ports] == ["tcp-endpoint", "direct-endpoint"]
    assert [(v.app_volume_dir, v.size_gb) for v in parsed.spec.volumes] == [("/data1", 10), ("/data2", 20)]
    assert parsed.spec.autoscaling_config is not None
    assert parsed.spec.autoscaling_config.wait_period == 30
    assert parsed.spec.autoscaling_config.upper_threshold == "0.6"
    assert "my-own-domain.cn" in parsed.warnings[0]


def test_stored_form_reads_back_unchanged() -> None:
    spec = parse_create(EXAMPLE, RULES, namespace="madams").spec

    assert ServiceSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json")))) == spec


def test_two_keys_suffice_and_the_rest_has_defaults() -> None:
    spec = create().spec

    assert (spec.image_tag, spec.instance_size, spec.scaling_mode) == ("latest", "XS", "MANUAL")
    assert (spec.target_state, spec.target_num_instances) == ("STARTED", 1)
    assert (spec.region_name, spec.application, spec.custom_domain_name) == ("BEIJING1", None, "")
    assert (spec.instance_ports, spec.volumes, spec.autoscaling_config) == ((), (), None)


@pytest.mark.parametrize(
    ("field", "given", "read"),
    [
        ("target_num_instances", "3", 3),
        ("target_num_instances", 0, 0),
        ("target_num_instances", 1000, 1000),
        ("target_num_instances", 2.0, 2),
        ("application", None, None),
        ("application", "", None),
        ("application", "shop", "shop"),
        ("application", "商店", "商店"),
        ("image_name", "ubuntu", "ubuntu"),
        ("image_name", "localhost:5000/a/b_c--d.e", "localhost:5000/a/b_c--d.e"),
        ("image_name", f"reg.example/a@{DIGEST}", f"reg.example/a@{DIGEST}"),
        ("image_tag", "", "latest"),
        ("image_tag", None, "latest"),
        ("image_tag", "v1.2_x-Y", "v1.2_x-Y"),
        ("image_tag", DIGEST, DIGEST),
        ("image_tag", "@" + DIGEST, DIGEST),
        ("run_command", None, ""),
        ("run_command", "sh -c 'echo \"hi\"'", "sh -c 'echo \"hi\"'"),
        ("entrypoint", "/bin/sh -e", "/bin/sh -e"),
        ("instance_size", "XXS", "XXS"),
        ("target_state", "STOPPED", "STOPPED"),
        ("custom_domain_name", None, ""),
        ("custom_domain_name", "www.myname.com", "www.myname.com"),
        ("linked_to_apps", "{}", {}),
        ("linked_to_apps", None, {}),
        ("linked_to_apps", {"db": "DB", "cache": None}, {"db": "DB", "cache": "cache"}),
        ("linked_to_apps", '{"db": "DB"}', {"db": "DB"}),
        ("instance_envvars", '{"A": "1"}', {"A": "1"}),
        ("instance_envvars", "", {}),
        ("instance_envvars", {"A": None, "B": 1, "C": 1.5}, {"A": "", "B": "1", "C": "1.5"}),
        ("instance_envvars", {"D": True, "E": "ü"}, {"D": "true", "E": "ü"}),
        ("instance_envvars", {"__DEFAULT_DOMAIN_NAME__": "x", "MY-DB_PORT": "1"}, {"MY-DB_PORT": "1"}),
        ("instance_ports", {}, ()),
        ("instance_ports", "[]", ()),
        ("volumes", {}, ()),
        ("volumes", None, ()),
        ("autoscaling_config", {}, None),
        ("autoscaling_config", "{}", None),
        ("autoscaling_config", "", None),
        ("autoscaling_config", None, None),
        ("region_name", None, "BEIJING1"),
        ("region_name", "", "BEIJING1"),
        ("region_name", "SHANGHAI1", "SHANGHAI1"),
        ("deployment_preference", "{}", {}),
        ("deployment_preference", {"stop_grace_seconds": "30"}, {"stop_grace_seconds": 30}),
        ("deployment_preference", '{"health": {"path": "/"}}', {"health": {"path": "/"}}),
    ],
    ids=short,
)  # fmt: skip
def test_value_is_read_as_it_was_meant(field: str, given: Any, read: Any) -> None:
    assert getattr(create(**{field: given}).spec, field) == read


@pytest.mark.parametrize(
    ("field", "given", "said"),
    [
        ("service_name", "Web", "lowercase"),
        ("service_name", "-web", "no dash at the ends"),
        ("service_name", "web-", "no dash at the ends"),
        ("service_name", "we_b", "lowercase letters, digits and dashes"),
        ("service_name", "a" * 64, "at most 63"),
        ("service_name", "web\n", "lowercase"),
        ("service_name", 5, "is not a name"),
        ("service_name", "", "is not a name"),
        ("application", "a" * 65, "at most 64"),
        ("application", "a\x00", "NUL"),
        ("application", "a/b", "without '/'"),
        ("application", 5, "not a text"),
        ("image_name", "web:1", "write the tag into image_tag"),
        ("image_name", "Web", "not an image name"),
        ("image_name", "http://reg/web", "not an image name"),
        ("image_name", "web@sha256:12", "64 hex digits"),
        ("image_name", "", "not an image name"),
        ("image_name", 5, "not a text"),
        ("image_name", "a\ud800", "surrogate"),
        ("image_tag", ".x", "not an image tag"),
        ("image_tag", "a b", "not an image tag"),
        ("image_tag", "a" * 129, "at most 128"),
        ("image_tag", "sha256:12", "not an image tag"),
        ("image_tag", 1, "not an image tag"),
        ("run_command", "sh -c 'x", "quote as in a shell"),
        ("run_command", ["sh"], "not a text"),
        ("run_command", "a\x00b", "NUL"),
        ("run_command", "a\udfffb", "surrogate"),
        ("run_command", "a" * 40000, "at most 32768"),
        ("entrypoint", 'a "', "quote as in a shell"),
        ("instance_size", "XXL", "one of XXS, XS, S, M, L, XL"),
        ("instance_size", 5, "one of XXS"),
        ("scaling_mode", "auto", "one of MANUAL, AUTO"),
        ("target_state", "RUNNING", "one of STARTED, STOPPED"),
        ("target_num_instances", -1, "0 to 1000"),
        ("target_num_instances", 1001, "0 to 1000"),
        ("target_num_instances", "two", "not a whole number"),
        ("target_num_instances", 1.5, "not a whole number"),
        ("target_num_instances", True, "not a whole number"),
        ("target_num_instances", "٣", "not a whole number"),
        ("target_num_instances", "9" * 5000, "not a whole number"),
        ("custom_domain_name", "*.example.com", "no wildcard"),
        ("custom_domain_name", "example", "not a domain name"),
        ("custom_domain_name", "example.com.", "no trailing dot"),
        ("custom_domain_name", "example.com:80", "no port"),
        ("custom_domain_name", "a..b", "not a domain name"),
        ("custom_domain_name", "10.0.0.1", "not a domain name"),
        ("custom_domain_name", "a" * 64 + ".com", "not a domain name"),
        ("custom_domain_name", 5, "not a domain name"),
        ("linked_to_apps", ["db"], "not an object"),
        ("linked_to_apps", {"DB": "x"}, "lowercase"),
        ("linked_to_apps", {"db": "a b"}, "not an alias"),
        ("linked_to_apps", {"db": 5}, "not an alias"),
        ("linked_to_apps", {f"s{n}": "x" for n in range(101)}, "at most 100"),
        ("instance_envvars", "A=1", "holds no JSON"),
        ("instance_envvars", '["A"]', "not an object"),
        ("instance_envvars", '{"A": NaN}', "holds no JSON"),
        ("instance_envvars", {"": "x"}, "not a variable name"),
        ("instance_envvars", {"A=B": "x"}, "not a variable name"),
        ("instance_envvars", {"A B": "x"}, "not a variable name"),
        ("instance_envvars", {"A\x00": "x"}, "not a variable name"),
        ("instance_envvars", {"A": "x\x00"}, "NUL"),
        ("instance_envvars", {"A": "\ud800"}, "surrogate"),
        ("instance_envvars", {"A": {"b": 1}}, "texts, numbers, booleans and null"),
        ("instance_envvars", {"A": "x" * 100_000}, "at most"),
        ("instance_envvars", {f"A{n}": "x" for n in range(1001)}, "at most 1000"),
        ("instance_envvars", {f"A{n}": "x" * 90_000 for n in range(3)}, "too big"),
        ("instance_ports", "80", "not an array"),
        ("instance_ports", {"container_port": 80}, "not an array"),
        ("instance_ports", [{"container_port": n} for n in range(1, 102)], "at most 100"),
        ("instance_ports", [PORT, PORT], "each type at most once per port"),
        ("instance_ports", [PORT, {"container_port": 81, "endpoint_type": "http-endpoint"}], "at most one"),
        ("volumes", "x", "holds no JSON"),
        ("volumes", [{"app_volume_dir": "/a"}, {"app_volume_dir": "/a/"}], "at most once"),
        ("autoscaling_config", [], "not an object"),
        ("autoscaling_config", "[1]", "not an object"),
        ("autoscaling_config", "x", "holds no JSON"),
        ("region_name", "MARS1", "one of BEIJING1, HONGKONG1, SHANGHAI1"),
        ("region_name", 5, "one of BEIJING1"),
        ("deployment_preference", "x", "holds no JSON"),
        ("deployment_preference", {"health": 5}, "health: 5 is not an object"),
        ("deployment_preference", {"rollout": "x"}, "is not an object"),
        ("deployment_preference", {"stop_grace_seconds": 4000}, "0 to 3600"),
        ("deployment_preference", {"x": "y" * 20_000}, "at most 16384"),
        ("deployment_preference", {"x": ["\x00"]}, "NUL"),
        ("deployment_preference", '{"x": ' + "[" * 60 + "]" * 60 + "}", "nested too deeply"),
        ("deployment_preference", {"x": "\ud800"}, "surrogate"),
    ],
    ids=short,
)  # fmt: skip
def test_fault_is_named_with_what_is_allowed(field: str, given: Any, said: str) -> None:
    found = faults(**{field: given})

    assert list(found) == [field]
    assert said in found[field]


def test_two_digests_that_differ_are_refused() -> None:
    found = faults(image_name=f"web@{DIGEST}", image_tag="sha256:" + "b" * 64)

    assert "another digest" in found["image_tag"]


def test_all_faults_come_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        parse_create(
            {"image_name": "A", "target_num_instances": "x", "instance_ports": [{}], "region_name": "?"},
            RULES,
            namespace="ns",
        )

    fields = {"service_name", "image_name", "target_num_instances", "instance_ports.0.container_port", "region_name"}
    assert set(caught.value.fields) == fields


@pytest.mark.parametrize("body", [None, [], "x", 5, True], ids=short)
def test_body_that_is_no_object_is_refused(body: Any) -> None:
    with pytest.raises(SpecError, match="not an object"):
        parse_create(body, RULES)


def test_app_name_is_a_synonym() -> None:
    parsed = parse_create({"app_name": "web", "image_name": "a"}, RULES, namespace="ns")

    assert parsed.spec.service_name == "web"
    assert parsed.named == {"service_name", "image_name"}


def test_names_that_contradict_are_refused() -> None:
    found = faults(app_name="other", namespace="elsewhere")

    assert "called 'web'" in found["app_name"]
    assert "namespace in the address is 'ns'" in found["namespace"]


def test_name_that_does_not_fit_the_default_domain_is_refused() -> None:
    body = {"service_name": "a" * 40, "image_name": "a"}

    assert parse_create(body, RULES, namespace="n" * 22).spec.service_name == "a" * 40
    with pytest.raises(SpecError, match="64 characters; at most 63 are allowed, so at most 39"):
        parse_create(body, RULES, namespace="n" * 23)


@pytest.mark.parametrize(
    ("change", "path", "hint"),
    [
        ({"image_nam": 1}, "image_nam", "did you mean image_name?"),
        ({"zzz": 1}, "zzz", "known keys: app_name"),
        ({"instance_ports": [{"container_port": 1, "endpoint": "x"}]}, "instance_ports.0.endpoint", "endpoint_type"),
        ({"volumes": [{"app_volume_dir": "/a", "size": 1}]}, "volumes.0.size", "size_gb"),
        ({"autoscaling_config": CONFIG | {"waitperiod": 1}}, "autoscaling_config.waitperiod", "wait_period"),
        ({"deployment_preference": {"healthh": {}}}, "deployment_preference.healthh", "did you mean health?"),
    ],
    ids=short,
)
def test_unknown_key_is_a_warning_and_with_strict_a_fault(change: dict[str, Any], path: str, hint: str) -> None:
    (warning,) = create(**change).warnings
    with pytest.raises(SpecError) as caught:
        create(strict=True, **change)

    assert path in warning
    assert hint in warning
    assert hint in caught.value.fields[path][0]


def test_what_answers_carry_may_be_sent_back_without_a_word() -> None:
    answer = {
        "current_state": "x",
        "linked_from_apps": "{}",
        "space_name": "",
        "uuid": "u",
        "region": {},
        "instances": [],
    }
    ports = [{"container_port": 22, "service_port": 10022, "default_domain": "x", "ipaddress": "sharedip"}]

    assert create(strict=True, instance_ports=ports, **answer).warnings == ()


def test_custom_domain_with_an_http_endpoint_needs_no_warning() -> None:
    assert create(custom_domain_name="www.myname.com", instance_ports=[PORT]).warnings == ()
