"""Accepted writes: parse, store, wake the worker. Concurrent partial updates never lose a field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from api.auth import caller
from api.context import Context
from api.errors import ApiError
from api.lookup import check_namespace, get_service
from orchestrator.spec import Parsed, ServiceSpec, parse_create, parse_update
from orchestrator.spec_text import shown
from orchestrator.store.reads import Reads
from orchestrator.store.records import ServiceRecord
from orchestrator.store.services import ServiceStore, Stale

_TRIES = 20  # each lost race means that another write was accepted meanwhile


def create_service(
    ctx: Context, namespace: str, body: Mapping[str, Any], *, strict: bool, take_domain: bool
) -> tuple[ServiceRecord, tuple[str, ...]]:
    """A new service and its warnings. Raises ApiError, SpecError, NameTaken, DomainTaken, NoPortLeft."""
    check_namespace(namespace)
    parsed = parse_create(body, ctx.rules, namespace=namespace, strict=strict)
    warnings = parsed.warnings + link_warnings(ctx, namespace, parsed.spec)
    record = ServiceStore(ctx.session(), ctx.settings.base_domain).create(
        namespace,
        parsed.spec,
        uuid=ctx.new_uuid(),
        created_by=caller(),
        now=ctx.now(),
        choose_port=ctx.choose_port,
        take_domain=take_domain,
    )
    ctx.wake(record.uuid)
    return record, warnings


def update_service(
    ctx: Context, namespace: str, name: str, body: Mapping[str, Any], *, strict: bool, take_domain: bool
) -> tuple[ServiceRecord, tuple[str, ...]]:
    """The service after a partial update, and its warnings.

    Raises ApiError, SpecError, Gone, DomainTaken, NoPortLeft.
    """

    def change(record: ServiceRecord) -> Parsed:
        return parse_update(record.spec, body, ctx.rules, namespace=namespace, strict=strict)

    record, parsed = _replace(ctx, namespace, name, change, reason="", take_domain=take_domain)
    return record, parsed.warnings + link_warnings(ctx, namespace, parsed.spec)


def set_target_state(ctx: Context, namespace: str, name: str, state: str) -> ServiceRecord:
    """Start or stop; doing it twice is as doing it once. Raises ApiError, Gone."""

    def change(record: ServiceRecord) -> Parsed:
        return Parsed(record.spec.model_copy(update={"target_state": state}))

    return _replace(ctx, namespace, name, change, reason="start" if state == "STARTED" else "stop")[0]


def delete_service(ctx: Context, namespace: str, name: str, *, delete_volumes: bool, force: bool) -> None:
    """Delete it; the name is free at once. Raises ApiError, Gone, and LinkedFrom without `force`."""
    record = get_service(ctx, namespace, name)
    ServiceStore(ctx.session()).delete(record.uuid, delete_volumes=delete_volumes, now=ctx.now(), force=force)
    ctx.wake(record.uuid)


def restart_service(ctx: Context, namespace: str, name: str) -> ServiceRecord:
    """All instances replaced by equal ones, rolling. Raises ApiError, Gone, NoRevision."""
    record = ServiceStore(ctx.session()).restart(get_service(ctx, namespace, name).uuid, now=ctx.now())
    ctx.wake(record.uuid)
    return record


def roll_back_service(ctx: Context, namespace: str, name: str, to: int | None) -> ServiceRecord:
    """Revision `to` again, as a new one. Raises ApiError, Gone, NoRevision."""
    record = ServiceStore(ctx.session()).roll_back(get_service(ctx, namespace, name).uuid, to=to, now=ctx.now())
    ctx.wake(record.uuid)
    return record


def names_image(parsed: Parsed, before: ServiceSpec) -> bool:
    """Whether the write deploys the same tag again, so that the worker must look whether it moved."""
    deploys = bool(parsed.named & {"image_name", "image_tag"})
    return deploys and "@" not in parsed.spec.image_ref and parsed.spec.template_hash() == before.template_hash()


def names_count(parsed: Parsed) -> bool:
    """Whether the write names the number of instances, which then wins over the autoscaler's."""
    return "target_num_instances" in parsed.named


def _replace(
    ctx: Context,
    namespace: str,
    name: str,
    change: Callable[[ServiceRecord], Parsed],
    *,
    reason: str,
    take_domain: bool = False,
) -> tuple[ServiceRecord, Parsed]:
    """Apply `change` to what is there now; when somebody else wrote in between, to what he left."""
    for _ in range(_TRIES):
        record = get_service(ctx, namespace, name)
        parsed = change(record)
        try:
            written = ServiceStore(ctx.session(), ctx.settings.base_domain).replace_spec(
                record.uuid,
                parsed.spec,
                now=ctx.now(),
                expected_generation=record.generation,
                recheck_image=names_image(parsed, record.spec),
                reason=reason,
                choose_port=ctx.choose_port,
                take_domain=take_domain,
                counted=names_count(parsed),
            )
        except Stale:
            continue
        ctx.wake(written.uuid)
        return written, parsed
    raise ApiError(409, f"service {shown(name)} is being changed by others all the time; nothing was changed")


def link_warnings(ctx: Context, namespace: str, spec: ServiceSpec) -> tuple[str, ...]:
    """One for each linked service that is not there (yet)."""
    reads = Reads(ctx.session())
    return tuple(
        f"linked_to_apps: there is no service {target} in {namespace} yet"
        for target in spec.linked_to_apps
        if target != spec.service_name and reads.service(namespace, target) is None
    )
