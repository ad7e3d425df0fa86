"""AutoscalingConfig: when AUTO adds and takes away instances, as the model that validates and documents it. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_serializer,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from orchestrator import spec_text as read
from orchestrator.endpoints import HTTP, TCP
from orchestrator.spec_schema import FROZEN, NULL, number, words

USE_METRICS = ("CPU_UTILIZATION", "MEMORY_UTILIZATION")  # fractions of an instance's limits
PROXY_METRICS = ("REQUESTS_PER_SECOND", "CONNECTIONS")  # of each instance, as the proxy counts
STATISTICS = ("MEAN", "MAX", "MIN", "COUNT", "SUM")
_TOTALS = ("COUNT", "SUM")  # a total may be above 1
_OWN_KEYS = ("idle_seconds", "dry_run")  # not in the document: shown only where they were given

_Threshold = Annotated[
    str, WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}, mode="validation")
]
_Delta = Annotated[int, *number(1, 1000)]
_Switch: dict[str, Any] = {"anyOf": [{"type": "boolean"}, {"enum": ["true", "false", "1", "0", 1, 0]}, NULL]}


class AutoscalingConfig(BaseModel):
    """When AUTO adds and takes away instances.

    Thresholds are texts: fractions of the limit for CPU and memory ("0.6" is 60 %) with MEAN, MAX and MIN; any number
    from 0 on with SUM and COUNT, and for requests a second and connections, which are counted per instance.
    """

    model_config = FROZEN
    metric_name: Annotated[str, *words(*USE_METRICS, *PROXY_METRICS)] = "CPU_UTILIZATION"
    metric_stat: Annotated[str, *words(*STATISTICS)] = "MEAN"
    lower_threshold: _Threshold
    upper_threshold: _Threshold
    decrease_delta: _Delta = 1
    increase_delta: _Delta = 1
    minimum_num_instances: Annotated[int, *number(0, 1000)] = Field(description="0 only with an http-endpoint")
    maximum_num_instances: Annotated[int, *number(1, 1000)]
    wait_period: Annotated[int, *number(0, 86400)] = Field(30, description="seconds until the next look")
    idle_seconds: Annotated[int | None, *number(1, 86400, optional=True)] = Field(
        None, description="without a request for so long, a service with minimum 0 sleeps; absent: the installation's"
    )
    dry_run: Annotated[
        bool | None,
        BeforeValidator(lambda v: None if v is None else read.switch(v)),
        WithJsonSchema(_Switch, mode="validation"),
    ] = Field(None, description="say what would be done, and do nothing")

    @field_validator("lower_threshold", "upper_threshold", mode="before")
    @classmethod
    def _read_threshold(cls, value: Any, info: ValidationInfo) -> str:
        """A faulty metric or statistic is told by itself; the threshold is then judged as the wider kind."""
        metric, statistic = info.data.get("metric_name"), info.data.get("metric_stat")
        return read.threshold(value, fraction=metric in USE_METRICS and statistic not in (None, *_TOTALS))

    @field_validator("upper_threshold")
    @classmethod
    def _above_lower(cls, value: str, info: ValidationInfo) -> str:
        lower = info.data.get("lower_threshold")
        if lower is not None and float(value) <= float(lower):
            raise ValueError(f"{value} is not above lower_threshold {lower}; allowed: more than that")
        return value

    @field_validator("maximum_num_instances")
    @classmethod
    def _not_below_minimum(cls, value: int, info: ValidationInfo) -> int:
        minimum = info.data.get("minimum_num_instances", 1)
        if value < minimum:
            raise ValueError(f"{value} is below minimum_num_instances {minimum}; allowed: {minimum} to 1000")
        return value

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Keys of our own that nobody gave are left out: clients of the time read back what they sent."""
        return {key: value for key, value in handler(self).items() if value is not None or key not in _OWN_KEYS}


def check_endpoints(config: AutoscalingConfig, endpoint_types: Collection[str]) -> None:
    """Raise ValidationError, naming the field, when `config` needs an endpoint that the service does not have."""
    if config.metric_name in PROXY_METRICS and not {HTTP, TCP} & set(endpoint_types):
        _refuse(
            "metric_name",
            config.metric_name,
            f"{config.metric_name} is measured in the proxy and needs an {HTTP} or a {TCP} in instance_ports; "
            f"without one: {', '.join(USE_METRICS)}",
        )
    if config.minimum_num_instances == 0 and HTTP not in endpoint_types:
        _refuse(
            "minimum_num_instances",
            0,
            f"0 is allowed only with an {HTTP} in instance_ports, where a request can wake the service; else 1 to 1000",
        )


def _refuse(field: str, value: Any, said: str) -> None:
    fault = InitErrorDetails(
        type=PydanticCustomError("value_error", "{said}", {"said": said}), loc=(field,), input=value
    )
    raise ValidationError.from_exception_data("AutoscalingConfig", [fault])
