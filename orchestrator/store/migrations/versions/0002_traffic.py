"""Readiness of instances, and what a rollout needs to end: well, or back on the last good revision."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("ready_at", sa.DateTime(), nullable=True))
    op.add_column("instances", sa.Column("unready", sa.Text(), server_default="", nullable=False))
    op.add_column("services", sa.Column("good_revision", sa.Integer(), nullable=True))
    op.add_column("services", sa.Column("rollout_failure", sa.Text(), server_default="", nullable=False))
    op.add_column("revisions", sa.Column("resolved_at", sa.DateTime(), nullable=True))
    op.add_column("revisions", sa.Column("restart", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("revisions", "restart")
    op.drop_column("revisions", "resolved_at")
    op.drop_column("services", "rollout_failure")
    op.drop_column("services", "good_revision")
    op.drop_column("instances", "unready")
    op.drop_column("instances", "ready_at")
