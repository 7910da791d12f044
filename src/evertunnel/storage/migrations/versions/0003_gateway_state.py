"""Whether a gateway answers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("gateways", sa.Column("state", sa.Text(), server_default="unknown", nullable=False))
    op.add_column("gateways", sa.Column("state_since", sa.BigInteger(), nullable=True))
    op.add_column("gateways", sa.Column("state_error", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("gateways", schema=None) as batch_op:
        batch_op.drop_column("state_error")
        batch_op.drop_column("state_since")
        batch_op.drop_column("state")
