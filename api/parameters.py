"""What requests carry beside a service's spec, as models: paths, queries and the login."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field


class LoginRequest(BaseModel):
    """Any user name, and the admin token as password."""

    username: str = Field(min_length=1)
    password: str


def _blank(value: Any) -> Any:
    """`?x=` says nothing about x."""
    return None if value == "" else value


Flag = Annotated[bool | None, BeforeValidator(_blank)]
Seconds = Annotated[
    Annotated[int, Field(ge=0, le=9_000_000_000)] | None, BeforeValidator(_blank), Field(description="epoch seconds")
]


class NamespacePath(BaseModel):
    """A user or organization."""

    namespace: str


class ServicePath(NamespacePath):
    """A service."""

    name: str


class InstancePath(ServicePath):
    """An instance."""

    uuid: str


class OrphanPath(BaseModel):
    """An orphaned volume."""

    name: str


class StrictQuery(BaseModel):
    """How a body is judged."""

    strict: Flag = Field(None, description="unknown keys are errors instead of warnings")


class WriteQuery(StrictQuery):
    """How a declaration is judged, and whether it may take a domain from another service."""

    take_domain: Flag = Field(
        None, description="custom_domain_name may belong to another service, which loses it in the same write"
    )


class RollbackQuery(BaseModel):
    """Where to go back to."""

    to: Annotated[Annotated[int, Field(ge=1, le=2_000_000_000)] | None, BeforeValidator(_blank)] = Field(
        None, description="number of a kept revision; absent: the newest that differs from the present one"
    )


class DeleteQuery(BaseModel):
    """What becomes of the volumes, and of those that link to it."""

    delete_volumes: Flag = Field(None, description="remove the volumes too; else they are kept as orphans")
    force: Flag = Field(None, description="delete it also when others link to it")


class PageQuery(BaseModel):
    """Which services, and how many."""

    page: str | None = Field(None, description="from 1; `1?application=APP` is read as it was meant")
    page_size: Annotated[Annotated[int, Field(ge=1, le=200)] | None, BeforeValidator(_blank)] = None
    application: str | None = Field(None, description="only services of this application")


def _text(value: Any) -> Any:
    if isinstance(value, str) and "\x00" in value:
        raise ValueError("contains a NUL character, which is not allowed")
    return _blank(value)


class LineQuery(BaseModel):
    """Which lines of a log: a time range, both ends included (the last 15 minutes when absent), and what they hold."""

    start_time: Seconds = None
    end_time: Seconds = None
    stream: Annotated[Literal["stdout", "stderr", "skylark"] | None, BeforeValidator(_blank)] = Field(
        None, description='only lines of this stream; skylark: its own words in a log, such as "40 lines dropped"'
    )
    query: Annotated[Annotated[str, Field(max_length=500)] | None, BeforeValidator(_text)] = Field(
        None, description="only lines that hold this text, in capitals or not"
    )
    limit: Annotated[Annotated[int, Field(ge=1, le=10_000)] | None, BeforeValidator(_blank)] = Field(
        None,
        description="a page of at most so many lines, with a Link to the next one; absent: all, as a stream. When "
        "following: begin with so many of the newest",
    )
    newest: Flag = Field(None, description="true, with limit: the last lines of the range instead of the first")
    after: Annotated[Annotated[str, Field(max_length=200)] | None, BeforeValidator(_text)] = Field(
        None, description="go on behind this cursor: X-Next-Cursor of a page, or the id of an event when following"
    )
    follow: Flag = Field(
        None,
        description="true: server-sent events, first the lines from start_time on, then those that come; "
        "end_time is not allowed",
    )
    strict: Flag = Field(None, description="unknown parameters are errors instead of warnings")


class LogQuery(LineQuery):
    """Which lines of a service's log."""

    instance: Annotated[Annotated[str, Field(pattern="^[0-9a-fA-F-]{8,36}$")] | None, BeforeValidator(_blank)] = Field(
        None, description="only lines of this instance: its uuid, or the first 8 digits of it or more"
    )


class OwnLogQuery(LineQuery):
    """Which lines of Skylark's own log."""

    instance: Annotated[Literal["worker"] | None, BeforeValidator(_blank)] = Field(
        None, description="the process that wrote them"
    )


class DayPath(ServicePath):
    """A day of a service's log."""

    day: Annotated[str, Field(description="YYYYMMDD, in UTC")]


class DownloadPath(BaseModel):
    """A signed address."""

    service_uuid: str
    file: str


class DownloadQuery(BaseModel):
    """What makes an address a signed one."""

    expires: Annotated[int, Field(ge=0, le=9_000_000_000, description="epoch seconds")]
    signature: str


class TrafficQuery(BaseModel):
    """A time range, both ends included; the last hour when absent."""

    start_time: Seconds = None
    end_time: Seconds = None


class MetricQuery(BaseModel):
    """A time range, both ends included (the last 15 minutes when absent), and how far apart its points are."""

    start_time: Seconds = None
    end_time: Seconds = None
    point_per_period: Annotated[
        Literal["1s", "1m", "5m", "15m", "30m", "1h", "4h", "12h", "1d", "7d", "30d"] | None, BeforeValidator(_blank)
    ] = Field(
        None, description="1s: the samples; absent: 1m, or the next longer period that gives at most 11000 points"
    )


class InstanceMetricQuery(MetricQuery):
    """The same for one instance."""

    maxima: Flag = Field(None, description="two more columns: cpu_utilization_max, memory_usage_max")


class EventQuery(BaseModel):
    """Events after an id, or the newest ones."""

    after: Annotated[Annotated[int, Field(ge=0, le=2**62)] | None, BeforeValidator(_blank)] = Field(
        None, description="only events with a higher id, ascending; absent: the newest"
    )
    limit: Annotated[Annotated[int, Field(ge=1, le=1000)] | None, BeforeValidator(_blank)] = Field(
        None, description="at most so many; 100 when absent. When following without `after`: so many to begin with"
    )
    kind: Annotated[
        Annotated[str, Field(pattern="^[a-z_]+(,[a-z_]+)*$", max_length=500)] | None, BeforeValidator(_blank)
    ] = Field(None, description="only these kinds, separated by commas, such as instance_died,rolled_back")
    follow: Flag = Field(None, description="true: server-sent events, first those of the question, then what comes")
    strict: Flag = Field(None, description="unknown parameters are errors instead of warnings")
