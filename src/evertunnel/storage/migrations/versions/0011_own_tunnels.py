"""Where something of a device's tunnels changed just now: user tunnels that demand them are decided again after it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "own_tunnel_changes",
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_own_tunnel_changes")),
    )


def downgrade() -> None:
    op.drop_table("own_tunnel_changes")
