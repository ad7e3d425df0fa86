"""Finding what a path names, and gathering what its answer is made from, in a handful of queries."""

from __future__ import annotations

import re
from collections.abc import Sequence

from api.context import Context
from api.errors import ApiError, not_found
from api.parameters import InstancePath
from api.wire import ServiceView
from orchestrator.spec_text import DNS_LABEL, LABEL_RULE, shown
from orchestrator.store.links import Links, links_in
from orchestrator.store.reads import Reads
from orchestrator.store.records import InstanceRecord, ServiceRecord


def find_service(ctx: Context, namespace: str, name: str) -> ServiceRecord | None:
    """The living service, or None; names that no service can have are not looked up."""
    if not (is_label(namespace) and is_label(name)):
        return None
    return Reads(ctx.session()).service(namespace, name)


def get_service(ctx: Context, namespace: str, name: str) -> ServiceRecord:
    """The living service. Raises ApiError 404."""
    record = find_service(ctx, namespace, name)
    if record is None:
        raise not_found(f"service {shown(name)} in namespace {shown(namespace)}")
    return record


def get_instance(ctx: Context, path: InstancePath) -> tuple[ServiceRecord, InstanceRecord]:
    """The service and one of its instances, living or past. Raises ApiError 404."""
    record = get_service(ctx, path.namespace, path.name)
    plausible = re.fullmatch(r"[0-9a-fA-F-]{1,36}", path.uuid) is not None
    found = Reads(ctx.session()).instance(record.uuid, path.uuid) if plausible else None
    if found is None:
        raise not_found(f"instance {shown(path.uuid)} of service {shown(path.name)}")
    return record, found


def views(ctx: Context, records: Sequence[ServiceRecord]) -> list[ServiceView]:
    """The records with their instances, ports, volumes and links; four queries however many."""
    reads, uuids = Reads(ctx.session()), [record.uuid for record in records]
    if not uuids:
        return []
    instances, ports, volumes = reads.instances(uuids), reads.ports(uuids), reads.volumes(uuids)
    links = links_in(ctx.session(), {record.namespace for record in records})
    return [
        ServiceView(r, instances[r.uuid], ports[r.uuid], volumes[r.uuid], links.get((r.namespace, r.name), Links()))
        for r in records
    ]


def is_label(text: str) -> bool:
    """Whether it can be a name of ours at all."""
    return len(text) <= 63 and re.fullmatch(DNS_LABEL, text) is not None


def check_namespace(namespace: str) -> None:
    """Raise ApiError 400 for a namespace that no service can live in."""
    if not is_label(namespace):
        fault = f"{shown(namespace)} is not a namespace; allowed: {LABEL_RULE}"
        raise ApiError(400, f"namespace: {fault}", fields={"namespace": [fault]})
