"""What requests carry beside a service's spec, as models: paths, queries and the login."""

from __future__ import annotations

from typing import Annotated, Any

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


class LogQuery(BaseModel):
    """A time range, both ends included; the last 15 minutes when absent."""

    start_time: Seconds = None
    end_time: Seconds = None


class TrafficQuery(BaseModel):
    """A time range, both ends included; the last hour when absent."""

    start_time: Seconds = None
    end_time: Seconds = None


class EventQuery(BaseModel):
    """Events after an id, or the newest ones."""

    after: Annotated[Annotated[int, Field(ge=0, le=2**62)] | None, BeforeValidator(_blank)] = None
    limit: Annotated[Annotated[int, Field(ge=1, le=1000)] | None, BeforeValidator(_blank)] = None
