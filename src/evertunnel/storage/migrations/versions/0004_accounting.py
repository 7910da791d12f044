"""What gateways count, and when they restarted."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "accounting",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("acct_session_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("remote_address", sa.Text(), nullable=False),
        sa.Column("virtual_addresses", sa.Text(), nullable=False),
        sa.Column("unique_id", sa.BigInteger(), nullable=True),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("end_cause", sa.Text(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounting")),
    )
    op.create_index("ix_accounting_gateway_id_acct_session_id", "accounting", ["gateway_id", "acct_session_id"])
    op.create_index("ix_accounting_session_id", "accounting", ["session_id"])
    op.create_index("ix_accounting_ended_at_updated_at", "accounting", ["ended_at", "updated_at"])
    op.create_table(
        "gateway_restarts",
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("authenticator", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("gateway_id", "authenticator", name=op.f("pk_gateway_restarts")),
    )


def downgrade() -> None:
    op.drop_table("gateway_restarts")
    op.drop_table("accounting")
