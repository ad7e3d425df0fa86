"""The tables as of the first version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("service_uuid", sa.String(length=36), nullable=True),
        sa.Column("service_name", sa.String(length=130), nullable=False),
        sa.Column("instance_uuid", sa.String(length=36), nullable=True),
        sa.Column("kind", sa.String(length=48), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_at", "events", ["at"])
    op.create_index("ix_events_service", "events", ["service_uuid", "id"])

    op.create_table(
        "heartbeats",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.Column("lag_seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "instances",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("service_uuid", sa.String(length=36), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=12), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("health", sa.String(length=16), nullable=False),
        sa.Column("container_id", sa.String(length=64), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("ports", sa.JSON(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("oom_killed", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=True),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.Column("gone_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("uuid"),
    )
    op.create_index("ix_instances_gone", "instances", ["gone_at"])
    op.create_index("ix_instances_service", "instances", ["service_uuid", "gone_at"])

    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("acquired_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "ports",
        sa.Column("service_port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("service_uuid", sa.String(length=36), nullable=False),
        sa.Column("container_port", sa.Integer(), nullable=False),
        sa.Column("endpoint_type", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("service_port"),
        sa.UniqueConstraint("service_uuid", "container_port", "endpoint_type"),
    )
    op.create_table(
        "revisions",
        sa.Column("service_uuid", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("template_hash", sa.String(length=64), nullable=False),
        sa.Column("image_ref", sa.Text(), nullable=False),
        sa.Column("image_id", sa.String(length=80), nullable=True),
        sa.Column("image_digest", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.String(length=12), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("service_uuid", "number"),
    )
    op.create_table(
        "services",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("namespace", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("name_key", sa.String(length=130), nullable=True),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("application", sa.String(length=64), nullable=True),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("observed_generation", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("scale_target", sa.Integer(), nullable=True),
        sa.Column("recheck_image", sa.Boolean(), nullable=False),
        sa.Column("image_missing", sa.Boolean(), nullable=False),
        sa.Column("pull_failures", sa.Integer(), nullable=False),
        sa.Column("pull_retry_at", sa.DateTime(), nullable=True),
        sa.Column("pull_reason", sa.Text(), nullable=False),
        sa.Column("current_status", sa.String(length=32), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=False),
        sa.Column("is_deploying", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=True),
        sa.Column("stopped_at", sa.DateTime(), nullable=True),
        sa.Column("last_redeployed_at", sa.DateTime(), nullable=True),
        sa.Column("last_autoscaled_at", sa.DateTime(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(), nullable=True),
        sa.Column("delete_volumes", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("uuid"),
        sa.UniqueConstraint("name_key"),
    )
    op.create_index("ix_services_list", "services", ["namespace", "created_at"])

    op.create_table(
        "slots",
        sa.Column("service_uuid", sa.String(length=36), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", sa.DateTime(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("service_uuid", "slot"),
    )
    op.create_table(
        "volumes",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("service_uuid", sa.String(length=36), nullable=False),
        sa.Column("service_name", sa.String(length=130), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size_gb", sa.Integer(), nullable=False),
        sa.Column("enforced", sa.Boolean(), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=True),
        sa.Column("used_at", sa.DateTime(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("orphaned_at", sa.DateTime(), nullable=True),
        sa.Column("remove_requested_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("ix_volumes_service_uuid", "volumes", ["service_uuid"])


def downgrade() -> None:
    op.drop_table("volumes")
    op.drop_table("slots")
    op.drop_table("services")
    op.drop_table("revisions")
    op.drop_table("ports")
    op.drop_table("leases")
    op.drop_table("instances")
    op.drop_table("heartbeats")
    op.drop_table("events")
