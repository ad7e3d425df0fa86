"""ServiceSpec: what a user declares, as the one model that validates, documents and types it. Pure."""

from __future__ import annotations

import hashlib
import json
import shlex
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from orchestrator import spec_maps as maps
from orchestrator import spec_text as read
from orchestrator.endpoints import DIRECT, ENDPOINT_TYPES, HTTP, default_endpoint_type
from orchestrator.spec_scaling import AutoscalingConfig, check_endpoints
from orchestrator.spec_schema import FROZEN, NULL, Accepts, JsonSchema, number, words
from orchestrator.spec_text import shown


class Installation(Protocol):
    """What a body is checked against beside itself: given as the validation context, absent for stored specs."""

    @property
    def sizes(self) -> tuple[str, ...]: ...
    @property
    def regions(self) -> tuple[str, ...]: ...
    @property
    def default_region(self) -> str: ...
    @property
    def backups(self) -> frozenset[str]: ...


_JSON_TEXT: JsonSchema = {"type": "string", "contentMediaType": "application/json"}
_EMPTY: JsonSchema = {"type": "object", "maxProperties": 0}
_NAME: JsonSchema = {"type": "string", "pattern": f"^{read.DNS_LABEL}$", "maxLength": 63}
_SCALAR: JsonSchema = {"type": ["string", "number", "boolean", "null"]}

Name = Annotated[str, BeforeValidator(read.dns_label), WithJsonSchema(_NAME)]
Command = Annotated[str, BeforeValidator(read.command), Field(max_length=32 * 1024), Accepts(NULL)]
PortNumber = Annotated[int, *number(1, 65535)]


class _Part(BaseModel):
    model_config = FROZEN


class PortSpec(_Part):
    """A port of the container and how it is reached. Protocol `http` is written down as tcp; udp is direct only."""

    container_port: PortNumber
    protocol: Annotated[
        str, WithJsonSchema({"anyOf": [{"type": "string", "enum": ["tcp", "http", "udp"]}, NULL]}, mode="validation")
    ] = "tcp"
    endpoint_type: Annotated[
        str, WithJsonSchema({"anyOf": [{"type": "string", "enum": [*ENDPOINT_TYPES]}, NULL]}, mode="validation")
    ] = Field("", validate_default=True, description="absent: http-endpoint for 80, direct for udp, else tcp")

    @field_validator("protocol", mode="before")
    @classmethod
    def _read_protocol(cls, value: Any) -> str:
        if value is None or value == "":
            return "tcp"
        return {"http": "tcp"}.get(protocol := read.one_of("tcp", "http", "udp")(value), protocol)

    @field_validator("endpoint_type", mode="before")
    @classmethod
    def _read_type(cls, value: Any, info: ValidationInfo) -> str:
        protocol = info.data.get("protocol", "tcp")
        if value is None or value == "":
            return default_endpoint_type(info.data.get("container_port", 0), protocol)
        endpoint_type = read.one_of(*ENDPOINT_TYPES)(value)
        if protocol == "udp" and endpoint_type != DIRECT:
            raise ValueError(f"{endpoint_type} cannot carry udp; udp is allowed with {DIRECT} only")
        return endpoint_type


class VolumeSpec(_Part):
    """A folder kept per slot. `backup_id`: fill it from this backup when the service is made."""

    app_volume_dir: Annotated[str, BeforeValidator(read.volume_path), Field(min_length=2, max_length=255)]
    volume_type: Annotated[str, BeforeValidator(lambda v: read.word(32)(v or "EBS")), Accepts(NULL)] = "EBS"
    size_gb: Annotated[
        int,
        BeforeValidator(lambda v: read.whole(1, 1_000_000)(10 if v is None else v)),
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}, NULL]}, mode="validation"),
    ] = 10
    backup_id: Annotated[str | None, BeforeValidator(lambda v: None if v in (None, "") else read.word(128)(v))] = None

    @field_validator("backup_id")
    @classmethod
    def _known_backup(cls, value: str | None, info: ValidationInfo) -> str | None:
        rules: Installation | None = info.context
        if rules is not None and value is not None and value not in rules.backups:
            raise ValueError(f"{shown(value)} is not a backup of this installation; leave it out to start empty")
        return value


class ServiceSpec(_Part):
    """A service as its user declared it. Read-only to the system; a change is a new one.

    `volumes` and `autoscaling_config` stand before `scaling_mode` because AUTO is judged by them, `instance_ports`
    before both for the same reason.
    """

    service_name: Name
    application: Annotated[Annotated[str, Field(max_length=64)] | None, BeforeValidator(read.application)] = None
    image_name: Annotated[str, BeforeValidator(read.image_name), Field(min_length=1, max_length=512)]
    image_tag: Annotated[str, BeforeValidator(read.image_tag), Accepts(NULL)] = "latest"
    run_command: Command = ""
    entrypoint: Command = ""
    instance_size: str = Field("XS", description="XXS XS S M L XL")
    target_state: Annotated[str, *words("STARTED", "STOPPED")] = "STARTED"
    target_num_instances: Annotated[int, *number(0, 1000)] = 1
    custom_domain_name: Annotated[str, BeforeValidator(read.domain_name), Field(max_length=253), Accepts(NULL)] = ""
    linked_to_apps: Annotated[
        dict[str, str],
        BeforeValidator(maps.links),
        WithJsonSchema({"anyOf": [{"type": "object"}, _JSON_TEXT, NULL]}, mode="validation"),
    ] = {}
    instance_envvars: Annotated[
        dict[str, str],
        BeforeValidator(maps.variables),
        WithJsonSchema(
            {"anyOf": [{"type": "object", "additionalProperties": _SCALAR}, _JSON_TEXT, NULL]}, mode="validation"
        ),
    ] = {}
    instance_ports: Annotated[
        tuple[PortSpec, ...], BeforeValidator(maps.json_array), Accepts(_EMPTY, _JSON_TEXT, NULL)
    ] = ()
    volumes: Annotated[tuple[VolumeSpec, ...], BeforeValidator(maps.json_array), Accepts(_EMPTY, _JSON_TEXT, NULL)] = ()
    autoscaling_config: Annotated[
        AutoscalingConfig | None,
        BeforeValidator(lambda v: v if isinstance(v, AutoscalingConfig) else maps.json_object(v) or None),
        Accepts(_EMPTY, _JSON_TEXT),
    ] = None
    scaling_mode: Annotated[str, *words("MANUAL", "AUTO")] = "MANUAL"
    region_name: Annotated[str, Accepts(NULL)] = Field("", validate_default=True)
    deployment_preference: Annotated[
        dict[str, Any],
        BeforeValidator(maps.preference),
        WithJsonSchema({"anyOf": [{"type": "object"}, _JSON_TEXT, NULL]}, mode="validation"),
    ] = {}

    @field_validator("image_tag")
    @classmethod
    def _one_digest(cls, value: str, info: ValidationInfo) -> str:
        digest = info.data.get("image_name", "").partition("@")[2]
        if digest and value.startswith("sha256:") and value != digest:
            raise ValueError("names another digest than image_name does; give the digest once")
        return value

    @field_validator("instance_size", mode="before")
    @classmethod
    def _known_size(cls, value: Any, info: ValidationInfo) -> str:
        rules: Installation | None = info.context
        return read.one_of(*rules.sizes)(value) if rules is not None else read.text(value, 16)

    @field_validator("instance_ports")
    @classmethod
    def _distinct_ports(cls, value: tuple[PortSpec, ...]) -> tuple[PortSpec, ...]:
        seen: set[tuple[int, str, str]] = set()
        for port in value:
            key = (port.container_port, port.protocol, port.endpoint_type)
            if key in seen:
                raise ValueError(
                    f"port {port.container_port} has {port.endpoint_type} twice; each type at most once per port"
                )
            seen.add(key)
        if sum(port.endpoint_type == HTTP for port in value) > 1:
            raise ValueError(f"has more than one {HTTP}; at most one is allowed per service")
        return value

    @field_validator("volumes")
    @classmethod
    def _distinct_paths(cls, value: tuple[VolumeSpec, ...]) -> tuple[VolumeSpec, ...]:
        paths = [volume.app_volume_dir for volume in value]
        twice = sorted({path for path in paths if paths.count(path) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} given twice; each app_volume_dir at most once")
        return value

    @field_validator("autoscaling_config")
    @classmethod
    def _has_the_endpoints(cls, value: AutoscalingConfig | None, info: ValidationInfo) -> AutoscalingConfig | None:
        if value is not None and "instance_ports" in info.data:
            check_endpoints(value, {port.endpoint_type for port in info.data["instance_ports"]})
        return value

    @field_validator("scaling_mode")
    @classmethod
    def _auto_is_possible(cls, value: str, info: ValidationInfo) -> str:
        if value == "AUTO" and info.data.get("volumes"):
            raise ValueError(
                "AUTO is not allowed with volumes: each instance keeps its own data, so instances cannot come and go; "
                "use MANUAL or leave volumes out"
            )
        if value == "AUTO" and "autoscaling_config" in info.data and info.data["autoscaling_config"] is None:
            raise ValueError("AUTO needs an autoscaling_config; give one or use MANUAL")
        return value

    @field_validator("region_name", mode="before")
    @classmethod
    def _known_region(cls, value: Any, info: ValidationInfo) -> str:
        rules: Installation | None = info.context
        if rules is None:
            return read.text(value or "", 64)
        return read.one_of(*rules.regions)(value or rules.default_region)

    @property
    def stateful(self) -> bool:
        """Keeps data: replaced stop-first, slot by slot."""
        return bool(self.volumes)

    @property
    def image_ref(self) -> str:
        """What to pull: name:tag, or name@sha256:... when the name or the tag carries a digest."""
        if "@" in self.image_name:
            return self.image_name
        return f"{self.image_name}{'@' if self.image_tag.startswith('sha256:') else ':'}{self.image_tag}"

    @property
    def command_words(self) -> tuple[str, ...]:
        """run_command as words; empty: the image's own."""
        return tuple(shlex.split(self.run_command))

    @property
    def entrypoint_words(self) -> tuple[str, ...]:
        """entrypoint as words; empty: the image's own."""
        return tuple(shlex.split(self.entrypoint))

    def template_hash(self) -> str:
        """SHA-256 (hex) over what makes a container different: not the count, state, scaling, domain or application.

        The order of ports, volumes, links and variables does not matter.
        """
        parts = {
            "image": self.image_ref,
            "command": self.command_words,
            "entrypoint": self.entrypoint_words,
            "env": self.instance_envvars,
            "ports": sorted([p.container_port, p.protocol, p.endpoint_type] for p in self.instance_ports),
            "volumes": sorted([v.app_volume_dir, v.size_gb] for v in self.volumes),
            "size": self.instance_size,
            "links": self.linked_to_apps,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def fingerprint(template_hash: str, image_id: str, restart: int = 0) -> str:
    """12 hex digits naming one template on one resolved image; instances of another one are replaced.

    `restart` tells a rolling restart from what ran before, though nothing else differs.
    """
    again = f"\n{restart}" if restart else ""
    return hashlib.sha256(f"{template_hash}\n{image_id}{again}".encode()).hexdigest()[:12]
