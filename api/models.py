"""Answers as models: they make the OpenAPI document, and the tests hold every answer against them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

Timestamp = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", examples=["2015-04-14T09:46:39.457Z"])
]
JsonText = Annotated[str, Field(description="a JSON object as text", examples=["{}"])]
Count = Annotated[int, Field(ge=0)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PortAnswer(_Answer):
    """An endpoint with its service port."""

    container_port: int
    protocol: str
    endpoint_type: str
    service_port: int
    default_domain: str
    ipaddress: str


class InstanceAnswer(_Answer):
    """An instance. `instance_ports` holds its direct endpoints; their service_port is the port of the host."""

    instance_name: str
    started_at: Timestamp
    uuid: str
    instance_ports: list[PortAnswer]
    phase: str
    health: str
    ready: bool
    unready_reason: str
    revision: int
    created_at: Timestamp
    finished_at: Timestamp | None
    exit_code: int | None
    reason: str


class ServiceVolumeAnswer(_Answer):
    """A declared path. `enforced`: every slot's size is really limited; `used_bytes`: of all slots together."""

    app_volume_dir: str
    size_gb: int
    enforced: bool
    used_bytes: int | None


class ServiceRegionAnswer(_Answer):
    """Where a service runs."""

    IaaS: str
    name: str


class ServiceAnswer(_Answer):
    """A service."""

    unique_name: str
    service_name: str
    namespace: str
    updated_at: Timestamp
    allocation_group: str | None
    target_state: Literal["STARTED", "STOPPED"]
    instance_envvars: JsonText
    started_at: Timestamp | None
    uuid: str
    linked_to_apps: JsonText
    stopped_at: Timestamp | None
    is_deploying: bool
    created_by: str
    autoscaling_config: JsonText
    instance_ports: list[PortAnswer] | dict[str, Any] = Field(description="{} when there are none")
    linked_to: JsonText
    run_command: str
    custom_domain_name: str
    deployment_preference: JsonText
    scaling_mode: Literal["MANUAL", "AUTO"]
    image_name: str
    image_tag: str
    instance_size: str
    linked_from_apps: JsonText
    target_num_instances: Count
    last_autoscaled_at: Timestamp | None
    current_num_instances: Count
    linked_from: JsonText
    staged_num_instances: Count
    started_num_instances: Count
    instances: list[InstanceAnswer]
    region: ServiceRegionAnswer
    created_at: Timestamp
    volumes: list[ServiceVolumeAnswer]
    default_domain_name: str
    resource_uri: str
    current_status: str = Field(description="Running, Deploying, Stopped, Error, StartError or PartialRunning")
    status_reason: str
    application: str | None
    app_name: str
    entrypoint: str
    exec_endpoint: str
    last_redeployed_at: Timestamp | None
    linked_services: JsonText
    linked_to_services: JsonText
    generation: int
    observed_generation: int
    revision: int


class ServiceWritten(ServiceAnswer):
    """A service after an accepted write, with what its user should hear about it."""

    warnings: list[str] = []


class ServicePage(_Answer):
    """A page of services, oldest first."""

    count: Count
    previous: str | None
    results: list[ServiceAnswer]
    next: str | None


class Instances(RootModel[list[InstanceAnswer]]):
    """The instances of a service that are there now."""


class LogLineAnswer(_Answer):
    """A line of a log; `instance_id` is the first 8 characters of the instance's uuid."""

    instance_id: str
    message: str
    time: int


class LogLines(RootModel[list[LogLineAnswer]]):
    """Lines of a log, oldest first."""


class LogDays(RootModel[list[str]]):
    """Days (YYYYMMDD, UTC) on which a service has lines, oldest first."""


class LogAddress(RootModel[str]):
    """Where a day's log can be fetched without a token, for 15 minutes."""


class TrafficAnswer(_Answer):
    """A minute's traffic through the proxy; `time`: epoch seconds of its beginning.

    `requests` counts connections where the endpoint is no HTTP one; `sessions_max`: open at once, sampled every ten
    seconds; `response_ms`: the instances' average time to answer, null without requests.
    """

    time: int
    requests: Count
    errors_5xx: Count
    bytes_in: Count
    bytes_out: Count
    sessions_max: Count
    response_ms: float | None


class TrafficMinutes(RootModel[list[TrafficAnswer]]):
    """Minutes with traffic, oldest first."""


class EventAnswer(_Answer):
    """Something that happened or was decided, and why."""

    id: int
    at: Timestamp
    kind: str
    reason: str
    service: str
    service_uuid: str | None
    instance_uuid: str | None
    data: dict[str, Any]


class EventsAnswer(_Answer):
    """Events, oldest first; ask again with `after` = `last_id` for those that come later."""

    results: list[EventAnswer]
    last_id: int


class RevisionAnswer(_Answer):
    """One version of what instances are made from."""

    number: int
    current: bool
    generation: int
    image: str
    image_id: str | None
    image_digest: str | None
    fingerprint: str | None
    reason: str
    created_at: Timestamp
    spec: dict[str, Any]


class Revisions(RootModel[list[RevisionAnswer]]):
    """The kept revisions, newest first."""


class VolumeAnswer(_Answer):
    """One slot's volume."""

    name: str
    app_volume_dir: str
    slot: int
    size_gb: int
    used_bytes: int | None
    used_at: Timestamp | None
    enforced: bool
    created_at: Timestamp


class Volumes(RootModel[list[VolumeAnswer]]):
    """The volumes of a service, slot by slot."""


class OrphanAnswer(VolumeAnswer):
    """A volume that outlived its service."""

    service: str
    service_uuid: str
    region: str
    orphaned_at: Timestamp
    remove_requested_at: Timestamp | None


class Orphans(RootModel[list[OrphanAnswer]]):
    """All orphaned volumes, longest ago first."""


class ActionAnswer(_Answer):
    """A step that the worker would do."""

    action: str
    slot: int | None
    instance: str | None
    image: str | None
    reason: str


class PlanAnswer(_Answer):
    """What would be done next, what waits and why, and the age of the observation it is based on."""

    actions: list[ActionAnswer]
    waiting: list[str]
    wake_at: Timestamp | None
    observed_at: Timestamp | None
    observation_age_seconds: float | None
    generation: int
    warnings: list[str] = []


class RegionAnswer(ServiceRegionAnswer):
    """A region services can run in; `default` is the one of requests that name none."""

    default: bool


class Regions(RootModel[list[RegionAnswer]]):
    """All regions."""


class TokenAnswer(_Answer):
    """The token for the Authorization header."""

    token: str
    username: str
    namespace: str
    email: str


class ProfileAnswer(_Answer):
    """The user behind a token."""

    id: int
    username: str
    email: str
    realname: str
    is_active: bool
    is_available: bool
    last_login: Timestamp | None
    joined_at: Timestamp | None
    currency: str
    account_type: int
    company: str
    api_revoked: Timestamp | None
    type: str


class HealthAnswer(_Answer):
    """Alive or ready, and if not, why."""

    status: Literal["ok", "unavailable"]
    reasons: list[str] = []


class _Fault(_Answer):
    code: str
    message: str
    fields: dict[str, list[str]]


class ErrorAnswer(_Answer):
    """Why a request was not served; `fields` maps a path in the body to what is wrong and what is allowed."""

    error: _Fault
