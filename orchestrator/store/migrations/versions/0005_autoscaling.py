"""Where wait periods begin, what the autoscaler found last, and a target for every service that scales by itself."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("services", sa.Column("scaled_at", sa.DateTime(), nullable=True))
    op.add_column("services", sa.Column("scaling_by", sa.String(16), nullable=False, server_default=""))
    op.create_index("ix_services_scale_target", "services", ["scale_target"])
    op.create_table(
        "autoscaler_rounds",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("evaluations", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    _give_targets()


def downgrade() -> None:
    op.drop_table("autoscaler_rounds")
    op.drop_index("ix_services_scale_target", "services")
    op.drop_column("services", "scaling_by")
    op.drop_column("services", "scaled_at")


def _give_targets() -> None:
    """AUTO was stored before and had no target: the declared number."""
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT uuid, spec FROM services WHERE scale_target IS NULL")).all()
    for uuid, stored in rows:
        spec = json.loads(stored) if isinstance(stored, str) else stored
        if spec.get("scaling_mode") == "AUTO":
            connection.execute(
                sa.text("UPDATE services SET scale_target = :target WHERE uuid = :uuid"),
                {"target": int(spec["target_num_instances"]), "uuid": uuid},
            )
