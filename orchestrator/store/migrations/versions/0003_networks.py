"""Subnets of namespaces, and the virtual addresses of services that others link to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "networks",
        sa.Column("subnet", sa.String(18), nullable=False),
        sa.Column("namespace", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("subnet"),
        sa.UniqueConstraint("namespace"),
    )
    op.create_table(
        "link_addresses",
        sa.Column("address", sa.String(15), nullable=False),
        sa.Column("service_key", sa.String(130), nullable=False),
        sa.PrimaryKeyConstraint("address"),
        sa.UniqueConstraint("service_key"),
    )


def downgrade() -> None:
    op.drop_table("link_addresses")
    op.drop_table("networks")
