"""What answers about metrics look like, as models beside those of models.py."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

Point = list[int | float | None]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class InstanceMetrics(_Answer):
    """What one instance used. Go by `columns`: samples have a sequence_number, longer periods have not."""

    name: str = Field(description="stats.<service uuid>.<instance uuid>, with underscores for dashes")
    columns: list[str]
    points: list[Point] = Field(description="newest first; what was not sampled has no point")


class ServiceMetrics(_Answer):
    """What all instances of a service used together, and what the proxy carried for it."""

    name: str = Field(description="stats.<service uuid>, with underscores for dashes")
    columns: list[str]
    points: list[Point] = Field(description="newest first; null for what nothing is known of")
