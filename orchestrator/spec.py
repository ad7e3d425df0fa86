"""A declared service: its models, and the reading of what clients send. The one place to import them from."""

from __future__ import annotations

from orchestrator.spec_models import PortSpec, ServiceSpec, VolumeSpec, fingerprint
from orchestrator.spec_parse import Parsed, Rules, SpecError, parse_create, parse_update
from orchestrator.spec_scaling import AutoscalingConfig

__all__ = [
    "AutoscalingConfig",
    "Parsed",
    "PortSpec",
    "Rules",
    "ServiceSpec",
    "SpecError",
    "VolumeSpec",
    "fingerprint",
    "parse_create",
    "parse_update",
]
