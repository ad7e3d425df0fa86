"""What went through the proxy, by service and minute."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "proxy_counters",
        sa.Column("service_uuid", sa.String(36), nullable=False),
        sa.Column("minute", sa.DateTime(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors_5xx", sa.BigInteger(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("sessions_max", sa.Integer(), nullable=False),
        sa.Column("response_ms_sum", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("service_uuid", "minute"),
    )
    op.create_index("ix_proxy_counters_minute", "proxy_counters", ["minute"])
    op.create_table(
        "proxy_readings",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("readings", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    op.drop_table("proxy_readings")
    op.drop_index("ix_proxy_counters_minute", "proxy_counters")
    op.drop_table("proxy_counters")
