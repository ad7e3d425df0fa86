"""The dry run: what the worker would do next for a service as it is, as it would be after a change, or for a new one.

The plan comes from the worker's own planner over what the worker last wrote down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from api.context import Context
from api.lookup import check_namespace
from api.writes import names_count, names_image
from orchestrator.actions import Plan
from orchestrator.planner import plan
from orchestrator.policy import count_after
from orchestrator.spec import Parsed, ServiceSpec, parse_create, parse_update
from orchestrator.state import Desired, Observed, Retry, Revision
from orchestrator.store.passes import PassReads
from orchestrator.store.reads import Reads
from orchestrator.store.records import ServiceRecord


@dataclass(frozen=True)
class Foresight:
    """A plan, the generation it is for, the time of the observation behind it, and the body's warnings."""

    plan: Plan
    generation: int
    observed_at: datetime | None
    warnings: tuple[str, ...] = ()


def plan_existing(ctx: Context, record: ServiceRecord, body: Mapping[str, Any] | None, *, strict: bool) -> Foresight:
    """The plan for a service, changed by `body` as a PUT would. Raises SpecError."""
    loaded = next(iter(PassReads(ctx.session()).load({record.uuid})))
    desired, observed = loaded.desired, loaded.observed
    warnings: tuple[str, ...] = ()
    if body is not None:
        parsed = parse_update(record.spec, body, ctx.rules, namespace=record.namespace, strict=strict)
        warnings = parsed.warnings
        desired, observed = _changed(desired, observed, record.spec, parsed)
    observed, observed_at = _seen(ctx, record.spec.region_name, observed)
    return Foresight(plan(desired, observed, ctx.now()), desired.generation, observed_at, warnings)


def plan_new(ctx: Context, namespace: str, name: str, body: Mapping[str, Any], *, strict: bool) -> Foresight:
    """The plan for a service that is not there yet; the body is that of a create. Raises ApiError, SpecError."""
    check_namespace(namespace)
    if "service_name" not in body and "app_name" not in body:
        body = {**body, "service_name": name}
    parsed = parse_create(body, ctx.rules, namespace=namespace, strict=strict)
    spec = parsed.spec
    desired = Desired(
        service_uuid="",
        name=spec.service_name,
        namespace=namespace,
        generation=1,
        started=spec.target_state == "STARTED",
        deleted=False,
        count=spec.target_num_instances,
        stateful=spec.stateful,
        revision=Revision(1, spec.image_ref),
    )
    observed, observed_at = _seen(ctx, spec.region_name, Observed())
    return Foresight(plan(desired, observed, ctx.now()), 1, observed_at, parsed.warnings)


def _changed(desired: Desired, observed: Observed, before: ServiceSpec, parsed: Parsed) -> tuple[Desired, Observed]:
    """What the store would make of an accepted update: a new revision only for a new template, and no back-off."""
    spec = parsed.spec
    redeploy = spec.template_hash() != before.template_hash()
    recheck = names_image(parsed, before)
    count = count_after(before, spec, desired.count, counted=names_count(parsed))
    if spec == before and count == desired.count and not recheck:
        return replace(desired, pull=Retry()), observed
    revision = desired.revision
    if redeploy:
        fallback = revision if revision.image_id else desired.fallback
        desired = replace(
            desired, revision=Revision(revision.number + 1, spec.image_ref), fallback=fallback, image_missing=False
        )
    if redeploy or recheck or spec.target_state != before.target_state:
        observed = replace(observed, slots={})
    desired = replace(
        desired,
        generation=desired.generation + 1,
        started=spec.target_state == "STARTED",
        count=count,
        stateful=spec.stateful,
        recheck_image=not redeploy and (recheck or desired.recheck_image) and desired.revision.image_id is not None,
        pull=Retry(),
    )
    return desired, observed


def _seen(ctx: Context, region_name: str, observed: Observed) -> tuple[Observed, datetime | None]:
    """The observation with the engine's trouble in it, and when the engine was last seen."""
    region = ctx.settings.regions.get(region_name)
    beat = Reads(ctx.session()).heartbeat(f"engine:{region.engine_url}") if region else None
    if beat is None:
        return observed, None
    if beat.trouble:
        observed = replace(observed, reachable=False, trouble=beat.trouble)
    return observed, beat.at
